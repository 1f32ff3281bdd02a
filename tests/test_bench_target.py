"""Finding out which requests a server accepts, and starting a server of our own."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from typing import Any

import pytest

from app.bench.client import Client
from app.bench.outcome import BenchError
from app.bench.own_server import own_server, serve_command
from app.bench.prompts import TextPrompts, TokenIdPrompts
from app.bench.target import Target, connect
from app.bench.workload import PlannedRequest
from tests.scripted_engine import MODEL, ScriptedEngine, listening, make_app
from tests.test_bench_client import EVENT_STREAM, WHOLE, Canned, answer_json, chunked, events

STANDARD = {"model", "prompt", "messages", "stream", "stream_options", "temperature", "max_tokens"}


class Server(Canned):
    """A server that takes only certain fields and forms of prompts, and counts two tokens for each word."""

    def __init__(
        self,
        *,
        fields: Collection[str] = STANDARD,
        token_ids: bool = True,
        routes: Collection[str] = ("/v1/completions", "/v1/chat/completions"),
        vocab_size: int = 1_000_000,
        models: Any = None,
    ) -> None:
        super().__init__(self._answer)
        self._fields, self._token_ids, self._routes, self._vocab_size = fields, token_ids, routes, vocab_size
        self._models = models or [{"id": "m", "owned_by": "someone", "max_model_len": 512}]

    def _answer(self, path: str, body: Any) -> bytes:
        if path == "/v1/models":
            return answer_json({"data": self._models})
        if path == "/props":
            return answer_json({"build_info": "b1234"})
        if path not in self._routes:
            return answer_json({"error": {"message": "no such route"}}, "404 Not Found")
        if unknown := set(body) - set(self._fields):
            return answer_json({"error": {"message": f"unknown: {min(unknown)}"}}, "400 Bad Request")
        prompt = body.get("prompt", body.get("messages"))
        if isinstance(prompt, list) and isinstance(prompt[0], dict):
            prompt = prompt[0]["content"]
        if isinstance(prompt, list) and (not self._token_ids or max(prompt) >= self._vocab_size):
            return answer_json({"error": {"message": "a prompt is a string"}}, "422 Unprocessable Entity")
        return EVENT_STREAM + chunked(*events(WHOLE, *self._usage(prompt, body)))

    def _usage(self, prompt: str | list[int], body: Any) -> list[Any]:
        if "stream_options" not in body:
            return []
        count = len(prompt) if isinstance(prompt, list) else 5 + 2 * len(prompt.split())
        return [{"choices": [], "usage": {"prompt_tokens": count, "completion_tokens": 2}}]


async def found(server: Server, **options: Any) -> Target:
    async with server.listening() as url:
        client = Client(url)
        target = await connect(client, **options)
        client.close()
        return target


async def test_our_server_accepts_exact_prompts_and_exact_outputs() -> None:
    engine = ScriptedEngine(script=list(b"abcdefgh"))
    async with listening(make_app(engine)) as (url, _):
        client = Client(url)
        target = await connect(client)
        outcome = await target.ask(PlannedRequest("x", 20, 6))
        client.close()
    assert (target.about.model, target.about.version, target.about.software) == (MODEL, "1.2.3", "millrace")
    assert target.about.max_model_len == 64
    assert target.dialect.describe() == ("/v1/completions, ignore_eos and min_tokens accepted, usage from the stream")
    assert target.prompts == TokenIdPrompts(100, 250), "its vocabulary has 260 entries"
    assert (outcome.num_prompt_tokens, outcome.num_output_tokens) == (20, 6)
    assert engine.submissions[-1].params.min_tokens == 6
    assert engine.submissions[-1].prompt_token_ids == target.prompts.make(PlannedRequest("x", 20, 6))


async def test_a_server_that_refuses_unknown_fields_gets_standard_ones_only() -> None:
    server = Server()
    target = await found(server)
    assert target.dialect.describe() == "/v1/completions, standard fields only, usage from the stream"
    assert target.prompts == TokenIdPrompts(100, 30_000)
    assert set(server.asked[-1][1]) <= STANDARD


async def test_a_server_that_accepts_some_of_the_fields_gets_those() -> None:
    target = await found(Server(fields={*STANDARD, "ignore_eos"}))
    assert target.dialect.length_fields == ("ignore_eos",)


async def test_a_server_that_only_accepts_text_gets_words_according_to_its_counts() -> None:
    target = await found(Server(token_ids=False))
    assert target.prompts == TextPrompts(tokens_per_word=2.0, fixed_tokens=5.0)
    assert "lengths are approximate" in target.prompts.describe()


async def test_a_server_that_only_has_chat_is_used_with_chat() -> None:
    target = await found(Server(routes=["/v1/chat/completions"]))
    assert target.dialect.path == "/v1/chat/completions"
    body = json.loads(target.message(PlannedRequest("x", 25, 4)).partition(b"\r\n\r\n")[2])
    assert len(body["messages"][0]["content"].split()) == 10
    assert (body["max_tokens"], body["model"]) == (4, "m")


async def test_chat_can_be_requested() -> None:
    assert (await found(Server(), chat=True)).dialect.chat


async def test_the_newer_name_of_the_limit_is_found() -> None:
    fields = {*STANDARD, "max_completion_tokens"} - {"max_tokens"}
    target = await found(Server(fields=fields, routes=["/v1/chat/completions"]))
    assert target.dialect.limit_field == "max_completion_tokens"


async def test_without_usage_events_are_counted_and_the_report_says_so() -> None:
    target = await found(Server(fields=STANDARD - {"stream_options"}))
    assert not target.dialect.include_usage
    assert "no usage" in target.dialect.describe()
    assert target.prompts == TextPrompts()


async def test_the_range_of_ids_is_the_largest_accepted_one_or_the_given_one() -> None:
    assert (await found(Server(vocab_size=3072))).prompts == TokenIdPrompts(100, 2000)
    assert (await found(Server(vocab_size=3072), id_range=(5, 50))).prompts == TokenIdPrompts(5, 50)
    reported = Server(models=[{"id": "m", "meta": {"n_vocab": 900}}])
    assert (await found(reported)).prompts == TokenIdPrompts(100, 899)


async def test_what_a_server_reports_about_itself_is_recorded() -> None:
    about = (await found(Server())).about
    assert about.describe() == f"someone b1234, model m, 512 tokens at most, {about.url}"


async def test_a_model_must_be_chosen_where_there_are_several() -> None:
    models = [{"id": "one"}, {"id": "two", "max_model_len": 77}]
    with pytest.raises(BenchError, match="--model: one, two"):
        await found(Server(models=models))
    chosen = (await found(Server(models=models), model="two")).about
    assert (chosen.model, chosen.max_model_len) == ("two", 77)


async def test_a_server_that_accepts_nothing_is_an_error_that_quotes_it() -> None:
    with pytest.raises(BenchError, match=r"cannot be measured: HTTP 404: no such route"):
        await found(Server(routes=[]))


async def test_a_server_that_requires_a_key_is_not_probed_repeatedly() -> None:
    server = Canned(lambda *_: answer_json({"error": {"message": "who are you?"}}, "401 Unauthorized"))
    async with server.listening() as url:
        with pytest.raises(BenchError, match="HTTP 401: who are you"):
            await connect(Client(url))
    assert [path for path, _ in server.asked].count("/v1/completions") == 1


# A server of our own

LISTENING = """
import http.server, signal, sys
class Answer(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Answer.asked += 1
        self.send_response(200 if Answer.asked > 1 else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *ignored):
        pass
signal.signal(signal.SIGTERM, lambda *ignored: sys.exit(0))
server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
print(f"INFO: Uvicorn running on http://127.0.0.1:{server.server_port} (Press CTRL+C to quit)", flush=True)
server.serve_forever()
"""


def test_our_server_listens_on_a_free_port_of_this_machine_only() -> None:
    command = serve_command("./my-model", "--max-num-seqs 8 --port 1")
    assert command[1:5] == ["-m", "app", "serve", "./my-model"]
    assert command[-6:-2] == ["--host", "127.0.0.1", "--port", "0"], "the last one given wins"


async def test_a_server_is_started_awaited_and_ended() -> None:
    async with own_server([sys.executable, "-c", LISTENING]) as url:
        client = Client(url)
        assert (await client.get("/ready")).status == 200
        client.close()
    with pytest.raises(BenchError, match="no answer"):
        await Client(url).get("/ready")


async def test_a_server_is_ended_when_the_benchmark_fails() -> None:
    with pytest.raises(BenchError, match="of no use"):
        async with own_server([sys.executable, "-c", LISTENING]) as url:
            raise BenchError("of no use")
    with pytest.raises(BenchError, match="no answer"):
        await Client(url).get("/ready")


async def test_a_server_that_cannot_start_is_an_error_with_what_it_printed() -> None:
    with pytest.raises(BenchError, match=r"ended with 3:\nno such model"):
        async with own_server([sys.executable, "-c", "print('no such model'); raise SystemExit(3)"]):
            pass

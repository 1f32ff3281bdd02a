"""A server under test: what it is, which requests it accepts, and sending planned requests to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.bench.client import Client
from app.bench.dialect import Dialect, ladder
from app.bench.events import StreamReply
from app.bench.outcome import BenchError, Outcome
from app.bench.prompts import Prompts, TextPrompts, TokenIdPrompts
from app.bench.workload import PlannedRequest

REFUSED = {400, 404, 405, 415, 422, 500, 501}
PROBE_IDS = TokenIdPrompts(100, 250)
ID_RANGES = ((100, 30_000), (100, 2_000))
SURPLUS_TOKENS = 2
"""How many tokens a server may add to a prompt of token ids, such as a beginning-of-text token."""


@dataclass(frozen=True, slots=True)
class ServerAbout:
    """What a server reports about itself; None for what it does not."""

    url: str
    model: str | None
    version: str | None
    software: str | None
    max_model_len: int | None
    vocab_size: int | None = None

    def describe(self) -> str:
        version = f" {self.version}" if self.version else ", version unknown"
        length = f", {self.max_model_len} tokens at most" if self.max_model_len else ""
        return f"{self.software or 'unknown software'}{version}, model {self.model or 'unknown'}{length}, {self.url}"


@dataclass(frozen=True, slots=True)
class Target:
    """A server whose dialect has been determined. `name` is A or B."""

    name: str
    client: Client
    about: ServerAbout
    dialect: Dialect
    prompts: Prompts
    temperature: float = 0.0

    def message(self, planned: PlannedRequest) -> bytes:
        """The bytes of a request. They are built before it is due, because the prompt may be long."""
        prompt = self.prompts.make(planned)
        body = self.dialect.body(prompt, planned.num_output_tokens, self.about.model, self.temperature)
        return self.client.message(self.dialect.path, body)

    async def send(self, message: bytes, reply: StreamReply) -> None:
        await self.client.send(message, reply)

    async def ask(self, planned: PlannedRequest) -> Outcome:
        outcome = Outcome(planned)
        await self.client.stream(self.message(planned), outcome)
        return outcome


async def connect(
    client: Client,
    name: str = "A",
    model: str | None = None,
    temperature: float = 0.0,
    id_range: tuple[int, int] | None = None,
    chat: bool = False,
) -> Target:
    """Probe a server with a few small requests. Raises BenchError if it accepts none of them."""
    about = await learn_about(client, model)
    refusals: list[str] = []
    for dialect in ladder():
        if chat and not dialect.chat:
            continue
        prompts: Prompts = PROBE_IDS if dialect.token_ids else TextPrompts()
        target = Target(name, client, about, dialect, prompts, temperature)
        outcome = await target.ask(PlannedRequest("probe", 8, 2))
        if outcome.ok and _counts_agree(outcome, dialect):
            return replace(target, prompts=await _choose_prompts(target, id_range))
        refusals.append(outcome.error or "the server did not read the prompt as token ids")
        if not outcome.ok and outcome.status not in REFUSED:
            break
    raise BenchError(f"{client.url} cannot be measured: {refusals[-1]}")


async def learn_about(client: Client, model: str | None) -> ServerAbout:
    """Query the routes that servers have for this; only a failed connection is an error."""
    models = await client.get("/v1/models")
    listed = models.json()
    entries = listed.get("data") or [] if isinstance(listed, dict) else []
    entry = next((one for one in entries if one.get("id") == model), None)
    if model is None:
        if len(entries) > 1:
            names = ", ".join(str(one.get("id")) for one in entries)
            raise BenchError(f"{client.url} has several models; choose one with --model: {names}")
        entry = entries[0] if entries else None
    entry = entry or {}
    meta = entry.get("meta") or {}
    return ServerAbout(
        url=client.url,
        model=model or entry.get("id"),
        version=await _version(client),
        software=entry.get("owned_by") or models.headers.get("server"),
        max_model_len=entry.get("max_model_len"),
        vocab_size=meta.get("n_vocab"),
    )


async def _version(client: Client) -> str | None:
    """The server's version: vLLM and Millrace have /version, llama.cpp reports its build in /props."""
    for path, name in (("/version", "version"), ("/props", "build_info")):
        answer = (await client.get(path)).json()
        if isinstance(answer, dict) and answer.get(name):
            return str(answer[name])
    return None


def _counts_agree(outcome: Outcome, dialect: Dialect) -> bool:
    """Whether the server counted the token ids that it was sent; one that reads them as text does not."""
    counted = outcome.num_prompt_tokens
    if not dialect.token_ids or counted is None:
        return True
    return 0 <= counted - outcome.planned.num_prompt_tokens <= SURPLUS_TOKENS


async def _choose_prompts(target: Target, id_range: tuple[int, int] | None) -> Prompts:
    if not target.dialect.token_ids:
        return await _measure_words(target)
    if id_range is not None:
        return TokenIdPrompts(*id_range)
    if target.about.vocab_size is not None:
        return TokenIdPrompts(100, min(target.about.vocab_size - 1, ID_RANGES[0][1]))
    for low, high in ID_RANGES:
        highest = replace(target, prompts=TokenIdPrompts(high - 1, high))
        if (await highest.ask(PlannedRequest("probe", 2, 1))).ok:
            return TokenIdPrompts(low, high)
    return PROBE_IDS


async def _measure_words(target: Target) -> TextPrompts:
    """Fit a line through the token counts that the server reports for two prompts with known numbers of words."""
    few, many = 32, 160
    counts = [(await target.ask(PlannedRequest("words", words, 1))).num_prompt_tokens for words in (few, many)]
    if counts[0] is None or counts[1] is None or counts[1] <= counts[0]:
        return TextPrompts()
    per_word = (counts[1] - counts[0]) / (many - few)
    return TextPrompts(per_word, counts[0] - few * per_word)

"""A server with a script in place of the model: real token streams, a byte for a token, and no waiting."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from collections.abc import Sequence as Seq
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from math import inf
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend
from transformers import PreTrainedTokenizerFast

from app.api.app import create_app
from app.api.gate.access import AccessRules
from app.api.request_limits import RequestLimits
from app.api.service import Service
from app.api.telemetry.tracing import Telemetry
from app.api.wire.certificate import Certificate
from app.api.wire.open_files import MAX_OPEN_FILES
from app.api.wire.server import Server, server_config
from app.engine.health import EngineHealth, EngineState, Overloaded
from app.engine.stream import EndReason, EngineDied, TokenStream
from app.messages import Constraint, EngineReady, FinishReason, SamplingParams, TokenLogprobs
from app.metrics import Metrics
from app.statistics.collector import StatisticsCollector
from app.text.tokenizer import Tokenizer

EOS = 256
VOCAB_SIZE = 260
MODEL = "tiny"
READY = EngineReady(
    max_model_len=64,
    vocab_size=VOCAB_SIZE,
    block_size=8,
    num_blocks=100,
    device="cpu",
    dtype="float32",
    backend="sdpa",
    quantization="none",
    num_threads=1,
    num_parameters=1,
    model_bytes=4,
    kv_cache_bytes=4,
    phases={},
)
HEALTHY = EngineHealth(EngineState.READY, "", "", 1.0, 0, 0, 0, None, False)
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m.content == 'refuse me' %}{{ raise_exception('no') }}{% endif %}"
    "{{ (m.name + '/' if m.name is defined else '') + m.role + ':' + m.content }}|{% endfor %}"
    "{% if add_generation_prompt %}{{ opening | default('assistant:') }}{% endif %}"
)


def byte_backend() -> Backend:
    """Token i is byte i, in any order: there is no text, and no broken one, that it cannot spell."""
    alphabet = [chr(byte) for byte in (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))]
    printable = {ord(char): char for char in alphabet}
    others = (byte for byte in range(256) if byte not in printable)
    printable |= {byte: chr(256 + number) for number, byte in enumerate(others)}
    backend = Backend(models.BPE(vocab={char: byte for byte, char in printable.items()}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return backend


@cache
def byte_tokenizer(chat_template: str | None = CHAT_TEMPLATE) -> Tokenizer:
    """`byte_backend`, and 256 is the end: text is easy to count in."""
    backend = byte_backend()
    backend.add_special_tokens([AddedToken("<eos>", special=True)])
    return Tokenizer(PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>", chat_template=chat_template))


def ids(text: str) -> list[int]:
    return list(text.encode())


def scored(token_id: int, num_top: int | None) -> TokenLogprobs | None:
    """A made-up logprob, the same for the same token: -1 for the chosen one, and neighbours better than it."""
    if num_top is None:
        return None
    return TokenLogprobs(
        token_id, -1.0, tuple(((token_id + rank) % 256, -0.1 * rank) for rank in range(1, num_top + 1))
    )


@dataclass(frozen=True, slots=True)
class Submission:
    """What the API asked of the engine."""

    prompt_token_ids: list[int]
    params: SamplingParams
    priority: int
    cache_salt: str
    stream: TokenStream
    owner: str = ""
    precedence: int | None = None
    constraint: Constraint | None = None


@dataclass
class ScriptedEngine:
    """Plays `script` to every sequence, one token a turn of the loop; without one, the test writes the streams.

    Every sequence ends with `ending` if its `max_tokens` do not come first.
    """

    script: Seq[int] | None = None
    ending: EndReason = FinishReason.STOP
    ready: EngineReady | None = READY
    health: EngineHealth = HEALTHY
    room: float = inf
    refusals: dict[int, Exception] = field(default_factory=dict)
    submissions: list[Submission] = field(default_factory=list)
    closed: list[TokenStream] = field(default_factory=list)
    drained: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        self._changed.set()

    async def stop(self, drain_seconds: float) -> None:
        """What still runs ends as the real client ends it when its time to drain is over."""
        self.drained.append(drain_seconds)
        for submission in self.submissions:
            if submission.stream.finish_reason is None:
                submission.stream.end(FinishReason.ABORT)
                submission.stream.wake()

    def check_room(self, num_sequences: int, owner: str = "") -> None:
        if num_sequences > self.room:
            raise Overloaded(f"there is room for {self.room}", 1)

    def generate(
        self,
        prompt_token_ids: Seq[int],
        params: SamplingParams,
        priority: int = 0,
        cache_salt: str = "",
        owner: str = "",
        precedence: int | None = None,
        constraint: Constraint | None = None,
    ) -> TokenStream:
        if error := self.refusals.get(len(self.submissions)):
            raise error
        stream = TokenStream(len(self.submissions), len(prompt_token_ids), time.monotonic(), self._close)
        stream.num_cached_tokens = len(prompt_token_ids) // 2
        if params.prompt_logprobs is not None:
            rest = (scored(token_id, params.prompt_logprobs) for token_id in prompt_token_ids[1:])
            stream.prompt_logprobs = [token for token in rest if token is not None]
        asked = Submission(list(prompt_token_ids), params, priority, cache_salt, stream, owner, precedence, constraint)
        self.submissions.append(asked)
        self._changed.set()
        if self.script is not None:
            asyncio.get_running_loop().call_soon(self._play, self.submissions[-1], 0)
        return stream

    def write(self, text: str, index: int = 0) -> None:
        """Push the tokens of `text` to a sequence."""
        submission = self.submissions[index]
        for token_id in ids(text):
            submission.stream.push(token_id, scored(token_id, submission.params.logprobs), time.monotonic())
            submission.stream.wake()

    def end(self, reason: FinishReason = FinishReason.LENGTH, index: int = 0) -> None:
        self.submissions[index].stream.end(reason)
        self.submissions[index].stream.wake()

    def die(self, error: EngineDied | None = None) -> None:
        for submission in self.submissions:
            death = error or EngineDied("the engine process ended")
            submission.stream.end(death.finish_reason, death)
            submission.stream.wake()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that was submitted or closed makes `condition` true; fail if it never does."""
        async with asyncio.timeout(30):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def _close(self, stream: TokenStream) -> None:
        self.closed.append(stream)
        self._changed.set()

    def _play(self, submission: Submission, position: int) -> None:
        stream, params = submission.stream, submission.params
        assert self.script is not None
        if stream.finish_reason is not None:
            return
        if position == len(self.script):
            stream.end(self.ending)
            stream.wake()
            return
        if position == 0:
            stream.times.scheduled = time.monotonic()
        token_id = self.script[position]
        stream.push(token_id, scored(token_id, params.logprobs), time.monotonic())
        if token_id in params.stop_token_ids:
            stream.end(FinishReason.STOP)
        elif position + 1 == params.max_tokens:
            stream.end(FinishReason.LENGTH)
        stream.wake()
        asyncio.get_running_loop().call_soon(self._play, submission, position + 1)


def make_app(
    engine: ScriptedEngine,
    *,
    load_tokenizer: Callable[[], Tokenizer] = byte_tokenizer,
    limits: RequestLimits | None = None,
    metrics: Metrics | None = None,
    access: AccessRules | None = None,
    collector: StatisticsCollector | None = None,
    telemetry: Telemetry | None = None,
    log_prompts: bool = False,
    clock: Callable[[], float] = time.monotonic,
    cors_origins: Seq[str] = (),
    hosts: Seq[str] = (),
) -> FastAPI:
    service = Service(
        engine=engine,
        load_tokenizer=load_tokenizer,
        model_name=MODEL,
        version="1.2.3",
        metrics=metrics or Metrics(),
        collector=collector or StatisticsCollector(MODEL),
        limits=limits or RequestLimits(),
        seeds=random.Random(0),
        on_failed=engine.failures.append,
    )
    return create_app(
        service,
        drain_seconds=7.0,
        access=access or AccessRules(),
        telemetry=telemetry,
        log_prompts=log_prompts,
        cors_origins=cors_origins,
        hosts=hosts,
        clock=clock,
    )


@asynccontextmanager
async def started(app: FastAPI, *, when_loaded: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, in this process; it sees whole responses only."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        if when_loaded:
            await app.state.service.loading
        yield client


async def nothing_to_drain() -> None:
    """The lifespan stops the engine anyway."""


@asynccontextmanager
async def listening(
    app: FastAPI,
    drain: Callable[[], Awaitable[None]] = nothing_to_drain,
    reload: Callable[[], None] | None = None,
    *,
    stall_seconds: float = 30.0,
    certificate: Certificate | None = None,
    num_files: int = MAX_OPEN_FILES,
) -> AsyncIterator[tuple[str, asyncio.Task[None]]]:
    """The application behind uvicorn on a free port: its address, and the server while it runs."""

    async def drain_and_close() -> None:
        await drain()
        app.state.service.broadcast.close()

    config = server_config(app, "127.0.0.1", 0, stall_seconds, certificate, num_files)
    server = SignallingServer(config, drain_and_close, reload)
    serving = asyncio.create_task(server.serve())
    await server.up.wait()
    await app.state.service.loading
    try:
        yield server.address, serving
    finally:
        server.should_exit = True
        await serving


class SignallingServer(Server):
    """Tells when it listens, and where."""

    def __init__(
        self, config: uvicorn.Config, drain: Callable[[], Awaitable[None]], reload: Callable[[], None] | None
    ) -> None:
        super().__init__(config, drain, reload)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @property
    def address(self) -> str:
        host, port = self.servers[0].sockets[0].getsockname()
        return f"{'https' if self.config.ssl else 'http'}://{host}:{port}"


def data_of(stream: str) -> list[Any]:
    """What an event stream carries; `[DONE]` as it stands. Comments are left out."""
    events = [event for event in stream.split("\n\n") if event and not event.startswith(":")]
    data = [event.removeprefix("data: ") for event in events]
    return [item if item == "[DONE]" else json.loads(item) for item in data]


def small(**changes: Any) -> EngineReady:
    """A loaded model that is smaller still."""
    return replace(READY, **changes)

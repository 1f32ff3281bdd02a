"""The API's handle on the engine: requests in, token streams out, and what is owed to them when the engine dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import replace
from functools import partial

from app.config import Config
from app.engine.child import EngineProcess
from app.engine.dispatch import dispatch_tokens, report_progress
from app.engine.health import EngineHealth, EngineObserver, EngineState, Unavailable
from app.engine.queue_quota import QueueQuota
from app.engine.recovery import Recovery
from app.engine.stream import EngineDied, KillsEngine, TokenStream
from app.engine.supervisor import Supervisor
from app.engine.wake_ups import WakeUpCoalescer
from app.messages import (
    Abort,
    EngineReady,
    Event,
    FinishReason,
    Generate,
    SamplingParams,
    SequencesBegan,
    StepOutput,
)

logger = logging.getLogger("millrace.supervisor")

LOADING_RETRY_AFTER = 2


class EngineClient:
    """Owns the supervisor of the engine process, and every open stream. All methods belong to one event loop.

    When the process dies it is started again, and open streams go on where they were: the same tokens follow, which
    depend on nothing but the tokens before them and the parameters. A stream ends with `KillsEngine` if its sequence is
    what kills the engine, and with `EngineDied` if no other engine takes it up. When there will be no other engine at
    all, `on_failed` is told why.
    """

    def __init__(self, config: Config, observer: EngineObserver, on_failed: Callable[[str], None]) -> None:
        self.ready: EngineReady | None = None
        self._config = config
        self._observer = observer
        self._on_failed = on_failed
        self._supervisor = Supervisor(partial(EngineProcess, config), config.step_timeout, self)
        self._streams: dict[int, TokenStream] = {}
        self._recovery = Recovery()
        self._coalescer = WakeUpCoalescer()
        self._quota = QueueQuota(config.max_num_seqs + config.max_queue)
        self._num_created = 0
        self._last_step: StepOutput | None = None
        self._last_activity = time.monotonic()
        self._is_draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def health(self) -> EngineHealth:
        stats = self._last_step.stats if self._last_step else None
        age = time.monotonic() - self._last_activity
        is_serving = self._supervisor.state is EngineState.READY
        return EngineHealth(
            state=self._state,
            reason=self._reason,
            phase=self._supervisor.start_up.current.phase,
            progress=self._supervisor.start_up.current.fraction,
            num_running=stats.num_running if stats else 0,
            num_waiting=stats.num_waiting if stats else 0,
            num_restarts=self._supervisor.num_restarts,
            last_step_age=age if stats else None,
            step_overdue=bool(self._streams) and is_serving and age > self._config.step_timeout,
        )

    @property
    def num_open_streams(self) -> int:
        return len(self._streams)

    @property
    def engine_pid(self) -> int | None:
        return self._supervisor.pid

    @property
    def last_sign(self) -> float | None:
        """When the engine last reported a step, or had to begin with one; None if nothing is asked of it."""
        return self._last_activity if self._streams else None

    @property
    def _state(self) -> EngineState:
        """Whether an engine that is up takes new sequences depends on us."""
        state = self._supervisor.state
        return EngineState.DRAINING if self._is_draining and state is EngineState.READY else state

    @property
    def _reason(self) -> str:
        return "the server is shutting down" if self._state is EngineState.DRAINING else self._supervisor.reason

    async def start(self) -> None:
        """Start the process and return; the model loads while the API already answers."""
        self._supervisor.start()

    def check_room(self, num_sequences: int, owner: str = "") -> None:
        """Raise Unavailable or Overloaded unless so many sequences of this owner can be submitted now."""
        if self._state is not EngineState.READY:
            reason = self._reason or self._supervisor.start_up.current.phase
            raise Unavailable(f"the engine is {self._state}: {reason}", LOADING_RETRY_AFTER)
        self._quota.check(owner if self._config.fair_sharing else "", num_sequences)

    def generate(
        self,
        prompt_token_ids: Seq[int],
        params: SamplingParams,
        priority: int = 0,
        cache_salt: str = "",
        owner: str = "",
        precedence: int | None = None,
    ) -> TokenStream:
        """Submit a sequence that the caller has checked against `ready`. Raises Unavailable or Overloaded."""
        self.check_room(1, owner)
        precedence = priority if precedence is None else precedence
        if not self._config.fair_sharing:  # one queue for all, where a priority counts as far as it does between keys
            owner, priority = "", max(priority, precedence)
            precedence = priority
        if not self._streams:
            self._last_activity = time.monotonic()
        self._num_created += 1
        stream = TokenStream(
            self._num_created,
            len(prompt_token_ids),
            time.monotonic(),
            on_close=self._close,
            on_read=self._observer.sequence_finished,
        )
        self._streams[stream.seq_id] = stream
        self._idle.clear()
        self._quota.opened(stream.seq_id, owner)
        deadline = stream.times.arrived + self._config.queue_timeout
        command = Generate(
            stream.seq_id, prompt_token_ids, params, priority, cache_salt, (), owner, deadline, precedence
        )
        self._recovery.opened(command)
        self._submit_due()
        return stream

    async def drain(self, seconds: float) -> None:
        """Accept nothing more and let open streams finish; after `seconds` the rest ends with ABORT."""
        self._is_draining = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)
        for stream in list(self._streams.values()):
            stream.cut(FinishReason.ABORT)

    async def stop(self, drain_seconds: float) -> None:
        """Drain, then end the process."""
        await self.drain(drain_seconds)
        await self._supervisor.stop()

    def receive(self, event: Event) -> None:
        """What the engine reports."""
        match event:
            case StepOutput():
                self._take(event)
            case SequencesBegan():
                self._recovery.began(event.seq_ids)
            case EngineReady():
                self.ready = replace(event, phases=self._supervisor.start_up.seconds)
                self._last_activity = time.monotonic()
                self._coalescer.engine_runs_on(event.device)
                self._observer.engine_ready(self.ready)
                self._submit_due()

    def engine_died(self, reason: str, has_served: bool) -> bool:
        """Everything the process was given is lost. Returns whether another is to be started."""
        self._last_step = None
        if has_served and (killer := self._recovery.engine_died()) is not None:
            self._give_up(killer, KillsEngine(f"This request kills the engine each time: {reason}. Do not repeat it."))
        if self._streams:
            logger.warning("%d open streams will go on", len(self._streams))
        return bool(self._streams) or not self._is_draining

    def engine_restarted(self) -> None:
        self._observer.engine_restarted()

    def engine_failed(self, reason: str) -> None:
        """There will be no other process."""
        for seq_id in list(self._streams):
            self._give_up(seq_id, EngineDied(f"The engine does not come back: {reason}"))
        self._on_failed(reason)

    def _take(self, output: StepOutput) -> None:
        """Hand out one step's tokens to the streams that still want them."""
        now = time.monotonic()
        self._last_step, self._last_activity = output, now
        report_progress(output, self._streams, self._observer, now)
        grown = dispatch_tokens(output, self._streams, self._observer, now)
        ended = [self._streams[seq_id] for seq_id in output.finished if seq_id in self._streams]
        for stream in ended:
            stream.end(output.finished[stream.seq_id])
            self._forget(stream)
        # Nobody is woken before every end is known: one reader may read several sequences.
        self._coalescer.notify(grown, now)
        for stream in ended:
            stream.wake()
        self._recovery.grew(output.seq_ids)
        self._submit_due()
        self._observer.step_taken(output)

    def _close(self, stream: TokenStream) -> None:
        """A stream is ended before the engine ended it."""
        if stream.seq_id in self._streams:
            self._forget(stream)
            self._supervisor.send(Abort((stream.seq_id,)))
            if self._supervisor.state is EngineState.READY:
                self._submit_due()

    def _forget(self, stream: TokenStream) -> None:
        del self._streams[stream.seq_id]
        self._recovery.ended(stream.seq_id)
        self._quota.ended(stream.seq_id)
        stream.times.finished = time.monotonic()
        if not self._streams:
            self._idle.set()

    def _give_up(self, seq_id: int, error: EngineDied) -> None:
        if stream := self._streams.get(seq_id):  # whose reader may close others
            stream.fail(error)
            self._forget(stream)

    def _submit_due(self) -> None:
        """Give the engine what it is to have now: what is new, and what another engine lost when it died."""
        while commands := self._recovery.due():
            for command in commands:
                if stream := self._streams.get(command.seq_id):
                    self._submit(command, stream)

    def _submit(self, command: Generate, stream: TokenStream) -> None:
        assert self.ready is not None, "nothing is submitted before the engine is ready"
        num_tokens, limit = len(command.prompt_token_ids) + command.params.max_tokens, self.ready.max_total_tokens
        if num_tokens > limit:
            lack = f"The engine came back with less memory: this may have {num_tokens} tokens in all, {limit} fit now."
            self._give_up(command.seq_id, EngineDied(lack))
            return
        if self._recovery.is_returning(command.seq_id):
            command = stream.taken_up(command)
            self._observer.sequence_recovered()
        self._supervisor.send(command)

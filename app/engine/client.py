"""The API's handle on the engine: sequences in, streams of tokens out, which survive the death of an engine process."""

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
from app.engine.dispatch import dispatch
from app.engine.health import EngineHealth, EngineObserver, EngineState, Unavailable
from app.engine.queue_quota import QueueQuota
from app.engine.recovery import Recovery
from app.engine.stream import EngineDied, KillsEngine, TokenStream
from app.engine.supervisor import Supervisor
from app.engine.wake_ups import WakeUpCoalescer
from app.messages import (
    Abort,
    Constraint,
    EngineReady,
    Event,
    FinishReason,
    Generate,
    SamplingParams,
    SequencesBegan,
    StepOutput,
    StepStats,
)

logger = logging.getLogger("millrace.supervisor")

LOADING_RETRY_AFTER = 2  # seconds


class EngineClient:
    """Owns the supervisor of the engine process and all open streams. All methods belong to one event loop.

    When the process dies it is restarted, and open streams continue where they were, with the tokens that would have
    come anyway: those depend only on the tokens before them and on the parameters. A stream ends with `KillsEngine` if
    its sequence is what crashes the engine, and with `EngineDied` if no other engine takes it up. If there will be no
    other engine at all, `on_failed` is called with the reason.
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
        self._stats: StepStats | None = None
        self._last_activity = time.monotonic()
        self._is_draining = False
        self._has_no_streams = asyncio.Event()
        self._has_no_streams.set()

    @property
    def health(self) -> EngineHealth:
        stats, age = self._stats, time.monotonic() - self._last_activity
        is_serving = self._supervisor.state is EngineState.READY
        return EngineHealth(
            state=self._state,
            reason=self._reason,
            phase=self._supervisor.start_up.current.describe(),
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
        """When the engine last reported a step, or was given its first work; None if there are no open streams."""
        return self._last_activity if self._streams else None

    @property
    def _state(self) -> EngineState:
        """The supervisor's state, except that only this client knows that the server is draining."""
        state = self._supervisor.state
        return EngineState.DRAINING if self._is_draining and state is EngineState.READY else state

    @property
    def _reason(self) -> str:
        return "the server is shutting down" if self._state is EngineState.DRAINING else self._supervisor.reason

    async def start(self) -> None:
        """Start the process and return; the model loads while the API already answers."""
        self._supervisor.start()

    def check_room(self, num_sequences: int, owner: str = "") -> None:
        """Raise Unavailable or Overloaded unless this many sequences of this owner can be submitted now."""
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
        constraint: Constraint | None = None,
    ) -> TokenStream:
        """Submit a sequence, as in `Generate`, that fits `ready`. Raises Unavailable or Overloaded."""
        self.check_room(1, owner)
        precedence = priority if precedence is None else precedence
        if not self._config.fair_sharing:  # one queue for all, in which a priority counts as much as between owners
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
        self._has_no_streams.clear()
        self._quota.opened(stream.seq_id, owner)
        deadline = stream.times.arrived + self._config.queue_timeout
        self._recovery.opened(
            Generate(
                stream.seq_id,
                prompt_token_ids,
                params,
                priority,
                cache_salt,
                (),
                owner,
                deadline,
                precedence,
                constraint,
            )
        )
        self._submit_due()
        return stream

    async def drain(self, seconds: float) -> None:
        """Accept no more sequences and let open streams finish; after `seconds` the remaining ones end with ABORT."""
        self._is_draining = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._has_no_streams.wait(), seconds)
        for stream in list(self._streams.values()):
            stream.end(FinishReason.ABORT)
            stream.wake()

    async def stop(self, drain_seconds: float) -> None:
        """Drain, then end the process."""
        await self.drain(drain_seconds)
        await self._supervisor.stop()

    def receive(self, event: Event) -> None:
        """Handle an event of the engine process."""
        match event:
            case StepOutput():
                self._on_step(event)
            case SequencesBegan():
                self._recovery.began(event.seq_ids)
            case EngineReady():
                self.ready = replace(event, phases=self._supervisor.start_up.seconds)
                self._last_activity = time.monotonic()
                self._coalescer.engine_runs_on(event.device)
                self._observer.engine_ready(self.ready)
                self._submit_due()

    def engine_died(self, reason: str, has_served: bool) -> bool:
        """All work that the process had been given is lost. Returns whether to start another process."""
        self._stats = None
        if has_served and (killer := self._recovery.engine_died()) is not None:
            self._give_up(killer, KillsEngine(f"This request crashes the engine: {reason}. Do not send it again."))
        if self._streams:
            logger.warning("%d open streams will continue after the restart", len(self._streams))
        return bool(self._streams) or not self._is_draining

    def engine_restarted(self) -> None:
        self._observer.engine_restarted()

    def engine_failed(self, reason: str) -> None:
        """No other process will be started."""
        for seq_id in list(self._streams):
            self._give_up(seq_id, EngineDied(f"The engine cannot be restarted: {reason}"))
        self._on_failed(reason)

    def _on_step(self, output: StepOutput) -> None:
        now = time.monotonic()
        self._stats, self._last_activity = output.stats, now
        grown, ended = dispatch(output, self._streams, self._observer, now)
        for stream in ended:
            self._forget(stream)
        # No reader is woken before all ends are known, because one reader may read several sequences.
        self._coalescer.notify(grown, now)
        for stream in ended:
            stream.wake()
        self._recovery.grew(output.seq_ids)
        self._submit_due()
        self._observer.step_taken(output)

    def _close(self, stream: TokenStream) -> None:
        """A stream ended before the engine ended its sequence."""
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
            self._has_no_streams.set()

    def _give_up(self, seq_id: int, error: EngineDied) -> None:
        if stream := self._streams.get(seq_id):  # it may be gone: the reader of another stream can close it
            stream.end(error.finish_reason, error)
            stream.wake()
            self._forget(stream)

    def _submit_due(self) -> None:
        """Submit the sequences that are due: new ones, and those that were lost when an engine died."""
        while commands := self._recovery.due():
            for command in commands:
                if stream := self._streams.get(command.seq_id):
                    self._submit(command, stream)

    def _submit(self, command: Generate, stream: TokenStream) -> None:
        assert self.ready is not None, "nothing is submitted before the engine is ready"
        num_tokens = len(command.prompt_token_ids) + command.params.max_tokens
        if num_tokens > (limit := self.ready.max_total_tokens):
            message = f"The restarted engine has less memory: {limit} tokens fit, this request may need {num_tokens}."
            self._give_up(command.seq_id, EngineDied(message))
            return
        if self._recovery.is_returning(command.seq_id):
            command = stream.resume_command(command)
            self._observer.sequence_recovered()
        self._supervisor.send(command)

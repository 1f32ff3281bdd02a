"""The API's handle on the engine: requests in, token streams out, and the supervisor of the engine process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import replace
from math import inf

from app.config import Config
from app.engine.child import EngineProcess
from app.engine.handout import hand_out_tokens, tell_progress
from app.engine.health import EngineHealth, EngineObserver, EngineState, Unavailable
from app.engine.loading import StartUp
from app.engine.recovery import MOST_DEATHS, Recovery
from app.engine.rounds import Rounds
from app.engine.shares import Shares
from app.engine.stream import EngineDied, TokenStream
from app.messages import (
    Abort,
    Command,
    EngineFailed,
    EngineLoading,
    EngineReady,
    Event,
    FinishReason,
    Generate,
    SamplingParams,
    StepOutput,
)

logger = logging.getLogger("millrace.supervisor")

LOADING_RETRY_AFTER = 2
LONGEST_RESTART_DELAY = 30.0


class EngineClient:
    """Owns the engine process and every open stream. All methods belong to one event loop.

    When the process dies it is started again, at once at first and then after delays that double, and open streams go
    on where they were: the same tokens follow, since they depend on nothing but the tokens before them and the
    parameters. Streams end with `EngineDied` if they may be what kills it, or if it dies before it is ready again. When
    it reports that it cannot serve this model at all, it stays down and `on_failed` is told.
    """

    def __init__(self, config: Config, observer: EngineObserver, on_failed: Callable[[str], None]) -> None:
        self.ready: EngineReady | None = None
        self._config = config
        self._observer = observer
        self._on_failed = on_failed
        self._state = EngineState.STOPPED
        self._reason = ""
        self._start_up = StartUp()
        self._streams: dict[int, TokenStream] = {}
        self._recovery = Recovery()
        self._rounds = Rounds()
        self._shares = Shares(config.max_num_seqs + config.max_queue)
        self._num_created = 0
        self._num_restarts = 0
        self._num_failed_starts = 0
        self._last_step: StepOutput | None = None
        self._last_activity = time.monotonic()
        self._process: EngineProcess | None = None
        self._restart: asyncio.Task[None] | None = None
        self._is_draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def health(self) -> EngineHealth:
        stats = self._last_step.stats if self._last_step else None
        age = time.monotonic() - self._last_activity
        return EngineHealth(
            state=self._state,
            reason=self._reason,
            phase=self._start_up.current.phase,
            progress=self._start_up.current.fraction,
            num_running=stats.num_running if stats else 0,
            num_waiting=stats.num_waiting if stats else 0,
            num_restarts=self._num_restarts,
            last_step_age=age if stats else None,
            step_overdue=bool(self._streams) and self._is_serving and age > self._config.step_timeout,
        )

    @property
    def num_open_streams(self) -> int:
        return len(self._streams)

    @property
    def engine_pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def _is_serving(self) -> bool:
        return self._state in (EngineState.READY, EngineState.DRAINING)

    async def start(self) -> None:
        """Start the process and return; the model loads while the API already answers."""
        self._state = EngineState.LOADING
        self._spawn()

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
        if not self._config.fair_sharing:
            owner, precedence = "", None
        if self._state is not EngineState.READY:
            reason = self._reason or self._start_up.current.phase
            raise Unavailable(f"the engine is {self._state}: {reason}", LOADING_RETRY_AFTER)
        self._shares.check(owner)
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
        self._shares.opened(stream.seq_id, owner)
        deadline = stream.times.arrived + self._config.queue_timeout
        command = Generate(
            stream.seq_id, prompt_token_ids, params, priority, cache_salt, (), owner, deadline, precedence
        )
        self._recovery.opened(command)
        self._submit(command)
        return stream

    async def drain(self, seconds: float) -> None:
        """Accept nothing more and let open streams finish; after `seconds` the rest ends with ABORT."""
        self._is_draining = True
        if self._state is EngineState.READY:
            self._be_ready()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)
        for stream in list(self._streams.values()):
            stream.cut(FinishReason.ABORT)

    async def stop(self, drain_seconds: float) -> None:
        """Drain, then end the process."""
        await self.drain(drain_seconds)
        self._state = EngineState.STOPPED
        if self._restart is not None:
            self._restart.cancel()
        if self._process is not None:
            await asyncio.to_thread(self._process.end)

    def _spawn(self) -> None:
        self._process = EngineProcess(self._config, self._receive, self._lost)

    def _receive(self, event: Event) -> None:
        match event:
            case StepOutput():
                self._take(event)
            case EngineLoading():
                self._start_up.enter(event)
            case EngineReady():
                self._start_up.end_phase()
                logger.info("%s", self._start_up.report())
                self.ready = replace(event, phases=self._start_up.seconds)
                self._num_failed_starts = 0
                self._rounds.engine_is_on(event.device)
                self._observer.engine_ready(self.ready)
                self._be_ready()
                self._resubmit()
            case EngineFailed():
                self._state, self._reason = EngineState.FAILED, event.reason

    def _be_ready(self) -> None:
        """The engine is up; whether it takes new sequences depends on us."""
        if self._is_draining:
            self._state, self._reason = EngineState.DRAINING, "the server is shutting down"
        else:
            self._state, self._reason = EngineState.READY, ""

    def _take(self, output: StepOutput) -> None:
        """Hand out one step's tokens to the streams that still want them."""
        now = time.monotonic()
        self._last_step, self._last_activity = output, now
        tell_progress(output, self._streams, self._observer, now)
        grown = hand_out_tokens(output, self._streams, self._observer, now)
        ended = [self._streams[seq_id] for seq_id in output.finished if seq_id in self._streams]
        for stream in ended:
            stream.end(output.finished[stream.seq_id])
            self._forget(stream)
        # Nobody is woken before every end is known: one reader may read several sequences.
        self._rounds.tell(grown, now)
        for stream in ended:
            stream.wake()
        self._recovery.progressed(output.seq_ids)
        self._resubmit()
        self._observer.step_taken(output)

    def _close(self, stream: TokenStream) -> None:
        """A stream is ended before the engine ended it."""
        if stream.seq_id in self._streams:
            self._forget(stream)
            self._submit(Abort((stream.seq_id,)))

    def _forget(self, stream: TokenStream) -> None:
        del self._streams[stream.seq_id]
        self._recovery.ended(stream.seq_id)
        self._shares.ended(stream.seq_id)
        stream.times.finished = time.monotonic()
        if not self._streams:
            self._idle.set()

    def _submit(self, command: Command) -> None:
        assert self._process is not None, "nothing is submitted before the start"
        self._process.send(command)

    def _lost(self) -> None:
        """The process has ended, whether it was told to or not."""
        if self._state is EngineState.STOPPED or self._process is None:
            return
        exit_code = self._process.wait()
        if self._state is EngineState.FAILED:
            logger.error("%s", self._reason)
            self._on_failed(self._reason)
            return
        self._reason = f"the engine process ended with code {exit_code}"
        logger.error("%s", self._reason)
        self._last_step = None
        running = [stream.seq_id for stream in self._streams.values() if stream.times.scheduled is not None]
        if self._is_serving:
            guilty = self._recovery.engine_died(running)
            self._give_up(guilty, f"{self._reason}, as it did {MOST_DEATHS} times while it worked on this request")
        else:
            self._give_up(list(self._streams), f"{self._reason} before it was ready again; the request may be repeated")
        if self._streams or not self._is_draining:
            logger.warning("starting the engine process again; %d open streams will go on", len(self._streams))
            self._state = EngineState.RESTARTING
            self._restart = asyncio.get_running_loop().create_task(self._start_again())

    def _give_up(self, seq_ids: list[int], message: str) -> None:
        for seq_id in seq_ids:
            if stream := self._streams.get(seq_id):  # whose reader may close others
                stream.fail(EngineDied(message))
                self._forget(stream)

    def _resubmit(self) -> None:
        """Give the engine what it lost when it died, as far as it is due, each sequence with the tokens it has."""
        for command in self._recovery.due():
            stream = self._streams[command.seq_id]
            if stream.times.scheduled is not None:
                command = replace(command, deadline=inf)
            if stream.output_token_ids:
                params = replace(command.params, prompt_logprobs=None)
                command = replace(command, params=params, output_token_ids=tuple(stream.output_token_ids))
            else:
                stream.prompt_logprobs.clear()
            self._submit(command)
            self._observer.sequence_recovered()

    async def _start_again(self) -> None:
        self._num_restarts += 1
        self._num_failed_starts += 1
        self._observer.engine_restarted()
        if self._num_failed_starts > 1:
            await asyncio.sleep(min(2.0 ** (self._num_failed_starts - 2), LONGEST_RESTART_DELAY))
        self._start_up = StartUp()
        self._spawn()

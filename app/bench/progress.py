"""A live progress bar on a terminal: tokens received, running streams, requests that ended and that failed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from app.bench.events import StreamReply
from app.bench.workload import Stage

if TYPE_CHECKING:
    from tqdm import tqdm

REFRESH_SECONDS = 0.2


@dataclass(slots=True)
class Board:
    """The state of a stage, for the progress bar. Keeping it costs the streams nothing."""

    live: set[StreamReply] = field(default_factory=set)
    num_ended: int = 0
    num_failed: int = 0
    ended_tokens: int = 0
    """Planned output tokens of the requests that have ended."""

    def begin(self, reply: StreamReply) -> None:
        self.live.add(reply)

    def end(self, reply: StreamReply) -> None:
        self.live.discard(reply)
        self.num_ended += 1
        self.num_failed += reply.failed
        self.ended_tokens += reply.outcome.planned.num_output_tokens

    @property
    def tokens(self) -> int:
        """Output tokens received or no longer expected, out of those that the stage plans."""
        return self.ended_tokens + sum(reply.num_events for reply in self.live)


class Progress:
    """Shows boards while their stages run. If `shown` is None, only on a terminal."""

    def __init__(self, shown: bool | None = None) -> None:
        self._shown = sys.stderr.isatty() if shown is None else shown
        self._noted = ""
        if self._shown:
            import_module("tqdm")  # now, not in the middle of a measurement

    def note(self, message: str) -> None:
        """Print a line on stderr, like the bar, so that stdout has only the report. Skips an immediate repetition."""
        if self._shown and message != self._noted:
            print(message, file=sys.stderr, flush=True)
        self._noted = message

    @contextmanager
    def count(self, title: str, total: int, unit: str) -> Iterator[Callable[[int], object]]:
        """Show a bar for something that is counted. Yields a function to call with how many more are done."""
        if not self._shown:
            yield int
            return
        from tqdm import tqdm

        with tqdm(total=total, desc=title, unit=unit, dynamic_ncols=True, leave=False) as bar:
            yield bar.update

    @asynccontextmanager
    async def watch(self, title: str, stage: Stage) -> AsyncIterator[Board]:
        board = Board()
        showing = asyncio.ensure_future(_show(title, stage, board)) if self._shown else None
        try:
            yield board
        finally:
            if showing is not None:
                showing.cancel()
                await asyncio.gather(showing, return_exceptions=True)


async def _show(title: str, stage: Stage, board: Board) -> None:
    from tqdm import tqdm

    planned = sum(planned.num_output_tokens for planned in stage.requests)
    with tqdm(total=planned, desc=title, unit="tok", dynamic_ncols=True, leave=False) as bar:
        try:
            while True:
                _update(bar, board, len(stage.requests))
                await asyncio.sleep(REFRESH_SECONDS)
        finally:
            _update(bar, board, len(stage.requests))


def _update(bar: tqdm[NoReturn], board: Board, num_requests: int) -> None:
    bar.n = min(board.tokens, bar.total or 0)
    failed = f", {board.num_failed} failed" if board.num_failed else ""
    bar.set_postfix_str(f"{len(board.live)} running, {board.num_ended}/{num_requests} ended{failed}")

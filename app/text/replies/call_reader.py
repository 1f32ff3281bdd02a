"""What all readers of calls have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum, auto

from app.text.replies.format import CallFormat
from app.text.replies.parts import CallArguments, CallBegins, Part, Tools


class Outcome(Enum):
    """What a call that is being read has turned out to be.

    MORE: it goes on. NO_CALL: none of an offered tool; nothing of it has been passed on. BROKEN: one whose arguments
    cannot go on like this. DONE: complete, as are all that followed it in the same markup.
    """

    MORE = auto()
    NO_CALL = auto()
    BROKEN = auto()
    DONE = auto()


class CallReader(ABC):
    """Reads the calls that follow an opening. Its `held` is the text that it has not consumed."""

    def __init__(self, calls: CallFormat, tools: Tools, opening: str = "") -> None:
        """The `opening` has been read: one of `calls.openings`, or nothing."""
        self.held = ""
        self.is_in_head = True
        """Whether nothing of the present call has been passed on."""
        self.is_in_arguments = False
        self.num_calls = 0
        self._calls = calls
        self._tools = tools
        self._opening = opening
        self._skipped = ""  # of the present head, which comes back if it is no call
        self._outcome = Outcome.MORE
        self._parts: list[Part] = []
        self._state: Callable[[], bool] = self._read_first

    def feed(self, text: str) -> Outcome:
        self.held += text
        while self._state():
            pass
        return self._outcome

    def take_parts(self) -> list[Part]:
        """What became known since the last time."""
        parts, self._parts = self._parts, []
        return parts

    def finish(self) -> str:
        """The JSON text of what is held of the arguments, as it looks so far."""
        return self.held

    @abstractmethod
    def _read_first(self) -> bool:
        """The first state. States consume what they can, and return whether another one goes on with the rest."""

    def _go_on(self, state: Callable[[], bool], rest: str) -> bool:
        self._state, self.held = state, rest
        return True

    def _begin(self, name: str, state: Callable[[], bool], rest: str) -> bool:
        self.is_in_head, self.is_in_arguments, self._skipped = False, True, ""
        self.num_calls += 1
        self._parts.append(CallBegins(name))
        return self._go_on(state, rest)

    def _give(self, arguments: str) -> None:
        if arguments:
            self._parts.append(CallArguments(arguments))

    def _end(self, outcome: Outcome) -> bool:
        """Stop reading calls. What is held is read as something else."""
        self._outcome = outcome
        self.is_in_arguments = False
        if outcome is Outcome.NO_CALL:
            self.held, self._skipped = self._skipped + self.held, ""
        return False

    @property
    def head(self) -> str:
        """All of the present head so far, behind the opening."""
        return self._skipped + self.held

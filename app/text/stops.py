"""Finds stop strings in a text that arrives in parts."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class StopMatcher:
    """Holds back what could still become a stop string, and finds the first one that is complete.

    This is the automaton of Aho and Corasick ("Efficient string matching", 1975): its state is the longest suffix of
    the text that is a prefix of a stop string, which is exactly what has to be held back. The stop string that is
    complete first wins; of several that complete at the same character, the longest. A character costs amortised
    constant time, regardless of the number and length of the stop strings and of how the text is divided into parts.
    """

    __slots__ = ("_depths", "_edges", "_fails", "_found", "_held", "_state", "matched")

    def __init__(self, stops: Sequence[str]) -> None:
        """Raises ValueError for an empty stop string: it would match before any text."""
        self.matched: str | None = None
        self._held = ""
        self._state = 0
        self._edges: list[dict[str, int]] = [{}]
        self._depths = [0]
        self._fails = [0]
        self._found: list[str | None] = [None]
        for stop in stops:
            self._insert(stop)
        self._connect()

    def feed(self, text: str) -> str:
        """Add the next part of the text. Returns what can no longer belong to a stop string.

        If a stop string is complete, the result ends where it begins, `matched` is set, and the rest of `text` is
        dropped.
        """
        edges, fails, found, state = self._edges, self._fails, self._found, self._state
        for index, char in enumerate(text):
            while state and char not in edges[state]:
                state = fails[state]
            state = edges[state].get(char, 0)
            if (stop := found[state]) is not None:
                self.matched = stop
                return (self._held + text[: index + 1])[: -len(stop)]
        self._state = state
        window = self._held + text
        cut = len(window) - self._depths[state]
        self._held = window[cut:]
        return window[:cut]

    def release(self) -> str:
        """End the text. Returns what was held back, since it can no longer become a stop string."""
        held, self._held, self._state = self._held, "", 0
        return held

    def _insert(self, stop: str) -> None:
        if not stop:
            raise ValueError("A stop string must not be empty.")
        state = 0
        for char in stop:
            if char not in self._edges[state]:
                self._edges[state][char] = len(self._edges)
                self._edges.append({})
                self._depths.append(self._depths[state] + 1)
                self._fails.append(0)
                self._found.append(None)
            state = self._edges[state][char]
        self._found[state] = stop

    def _connect(self) -> None:
        """Link each state, breadth first, to its longest proper suffix that is also a state."""
        waiting = deque(self._edges[0].values())
        while waiting:
            state = waiting.popleft()
            for char, child in self._edges[state].items():
                fail = self._fails[state]
                while fail and char not in self._edges[fail]:
                    fail = self._fails[fail]
                self._fails[child] = self._edges[fail].get(char, 0)
                waiting.append(child)
            # A state's own stop string is longer than any that one of its suffixes completes.
            self._found[state] = self._found[state] or self._found[self._fails[state]]

"""Completions streamed over plain sockets, with the moment of every event: the client must cost next to nothing."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

PREFIX = b"data: "


class StreamFailed(RuntimeError):
    """The server answered with an error, at once or in the middle."""


@dataclass(slots=True)
class Timeline:
    """Moments in seconds of `perf_counter`. Tokens that the server sends together arrive at one moment.

    `events` are kept as they came: reading them is not the measurement's time.
    """

    sent: float
    arrivals: list[float] = field(default_factory=list)
    num_tokens: int = 0
    events: list[bytes] = field(default_factory=list)

    @property
    def text(self) -> str:
        choices = (choice for event in self.events for choice in json.loads(event)["choices"])
        return "".join(choice["text"] for choice in choices)

    @property
    def time_to_first_token(self) -> float:
        return self.arrivals[0] - self.sent

    def longest_gap(self, begin: float, end: float) -> float:
        """The longest time without a token that touches the given span."""
        return max(after - before for before, after in pairwise(self.arrivals) if after > begin and before < end)


class Client:
    """Streams from one server. Every prompt it makes is random, so that no two have a block in common."""

    def __init__(self, url: str, vocab_size: int, seed: int, key: str = "none") -> None:
        self._key = key
        self._host, self._port = urlsplit(url).hostname, urlsplit(url).port
        self._vocab_size = vocab_size
        self._choice = random.Random(seed)

    def make_body(self, num_prompt_tokens: int, num_output_tokens: int) -> dict[str, Any]:
        return {
            "prompt": self._choice.choices(range(self._vocab_size), k=num_prompt_tokens),
            "max_tokens": num_output_tokens,
            "ignore_eos": True,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    async def stream(self, body: dict[str, Any], on_token: Callable[[Timeline], None] | None = None) -> Timeline:
        """Read one stream to its end. Cancelled, it closes the connection."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        with closing(writer):
            timeline = Timeline(perf_counter())
            writer.write(self._message(json.dumps(body).encode()))
            if b" 200 " not in await reader.readline():
                raise StreamFailed((await reader.read()).decode(errors="replace"))
            event = b""
            async for line in reader:
                if not line.startswith(PREFIX):
                    continue
                if line.startswith(b"data: [DONE]"):
                    break
                event = line.removeprefix(PREFIX)
                timeline.events.append(event)
                if b'"text":"' in line and b'"text":""' not in line:
                    timeline.arrivals.append(perf_counter())
                    if on_token is not None:
                        on_token(timeline)
            timeline.num_tokens = _num_tokens(event)
        return timeline

    def _message(self, body: bytes) -> bytes:
        head = [
            "POST /v1/completions HTTP/1.1",
            f"Host: {self._host}:{self._port}",
            "Content-Type: application/json",
            f"Authorization: Bearer {self._key}",
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        return "\r\n".join([*head, "", ""]).encode() + body


def _num_tokens(last_event: bytes) -> int:
    """Output tokens, as the usage in the last event before the end counts them."""
    event = json.loads(last_event or b"{}")
    if "usage" not in event:
        raise StreamFailed(f"the stream ended with {event}")
    return int(event["usage"]["completion_tokens"])

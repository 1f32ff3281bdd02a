"""An engine process that cannot read its commands any more exits."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.connection import Connection

import pytest

from app.engine.pipe import encode
from app.engine.process import Inbox
from app.messages import Abort

SECONDS = 60
UNREADABLE = b"\x00\x00\x00\x03abc"
"""A whole message by its length, and none by its content."""


def listen(commands: Connection) -> None:
    """Takes one command, and then waits for ever."""
    inbox = Inbox(commands)
    assert list(inbox.drain(wait=True)) == [Abort((1,))]
    list(inbox.drain(wait=True))


@pytest.mark.parametrize(("content", "code"), [(b"", 0), (UNREADABLE, 1)], ids=["the end of the pipe", "an error"])
def test_a_process_that_cannot_read_its_commands_ends(content: bytes, code: int) -> None:
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=listen, args=(reader,), daemon=True)
    process.start()
    reader.close()
    os.write(writer.fileno(), encode(Abort((1,))) + content)
    if not content:
        writer.close()
    process.join(SECONDS)
    assert process.exitcode == code
    process.close()
    writer.close()

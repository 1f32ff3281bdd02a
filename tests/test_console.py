"""What a start shows on a terminal, and what becomes of it in a log."""

from __future__ import annotations

import logging
from io import StringIO

import pytest

from app.api.start_report import farewell, reachable_url, ready_line, watch_drain
from app.api.wire.sockets import listen
from app.console import Log, StartProgress, Terminal
from app.logs import ERASE
from tests.scripted_engine import small


def test_a_terminal_shows_one_line_that_is_never_wider_than_it() -> None:
    screen = StringIO()
    terminal = Terminal(screen, "a-model-with-a-name-that-is-longer-than-a-terminal-of-eighty-columns-is-wide")
    terminal.show("loading the weights", 0.43, 3.2)
    terminal.clear()
    line, after = screen.getvalue().removeprefix(ERASE).split(ERASE)
    assert (len(line), line[-1], after) == (79, "…", "")


def test_a_message_stays_in_place_of_what_was_shown_and_is_wrapped_between_words() -> None:
    screen = StringIO()
    terminal = Terminal(screen, "miller")
    terminal.show("loading the weights", 0.434, 3.2)
    terminal.say("http://127.0.0.1:8000 " + "serves " * 20)
    shown, said = screen.getvalue().removeprefix(ERASE).split(ERASE)
    assert shown == "Loading miller: loading the weights, 43%, 3 s"
    assert said.endswith("\n")
    assert all(len(line) < 80 for line in said.splitlines())
    assert said.split() == ["http://127.0.0.1:8000", *["serves"] * 20]


def test_a_log_has_a_line_for_each_phase_and_another_where_one_takes_long(caplog: pytest.LogCaptureFixture) -> None:
    log = Log("miller")
    with caplog.at_level(logging.INFO):
        for phase, fraction, seconds in [
            ("importing torch", 0.02, 0.1),
            ("importing torch", 0.02, 5.0),
            ("downloading the model", 0.1, 6.0),
            ("downloading the model", 0.15, 15.9),
            ("downloading the model", 0.2, 16.0),
        ]:
            log.show(phase, fraction, seconds)
        log.clear()
    assert caplog.messages == [
        "Loading miller: importing torch, 2%",
        "Loading miller: downloading the model, 10%",
        "Loading miller: downloading the model, 20%",
    ]


def test_progress_ends_with_nothing_shown_however_often_it_is_ended() -> None:
    screen = StringIO()
    progress = StartProgress(Terminal(screen, "miller"))
    progress.enter("warming up", 0.95)
    progress.end()
    progress.end()
    assert screen.getvalue().endswith(ERASE)


def test_the_ready_line_says_where_what_and_how_many() -> None:
    line = ready_line("miller", small(num_blocks=100, max_model_len=256), ["http://127.0.0.1:8000"], 3.4)
    assert line == (
        "Ready after 3 s: http://127.0.0.1:8000 serves miller, with room for 3 sequences of 256 tokens, "
        "on cpu (sdpa, float32). Ctrl-C stops."
    )


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")])
def test_an_address_that_stands_for_all_is_shown_as_one_that_opens(host: str, shown: str) -> None:
    [listener] = listen(host, 0, 1)
    with listener:
        assert reachable_url(listener, is_secure=True) == f"https://{shown}:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("num_streams", "is_loaded", "said"),
    [
        (3, True, "Finishing 3 answers, up to 30 s; Ctrl-C again stops now"),
        (1, True, "Finishing 1 answer, up to 30 s; Ctrl-C again stops now"),
        (0, True, "Stopping: no answers are open"),
        (0, False, "Stopping before the model is loaded"),
    ],
)
def test_a_stop_says_what_it_waits_for(num_streams: int, is_loaded: bool, said: str) -> None:
    assert farewell(num_streams, is_loaded, 30.0) == said


async def test_what_a_stop_waits_for_is_counted_down_on_a_terminal_and_leaves_nothing() -> None:
    screen, counts = StringIO(), iter([2, 1, 0])
    await watch_drain(lambda: next(counts), 30.0, Terminal(screen, "miller"))
    first, second, last = screen.getvalue().removeprefix(ERASE).split(ERASE)
    assert first.startswith("2 answers to finish, ")
    assert second.startswith("1 answer to finish, ")
    assert last == ""

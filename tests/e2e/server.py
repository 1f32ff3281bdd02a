"""The server as its users run it: a process of its own on a free port, watched over HTTP, ended by a signal."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from app.settings import ENV_PREFIX

ROOT = Path(__file__).parents[2]
START_SECONDS = 120
POLL_SECONDS = 0.02

ONE_THREAD = ("--threads", "1")
"""For tiny models: they gain nothing from more, and wait for them on a busy machine."""

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For calls over plain HTTP: httpx would load the certificates of this machine for each of them, in 40 ms."""

T = TypeVar("T")


def until(condition: Callable[[], T], what: str, seconds: float = 30) -> T:
    """The first true value of `condition`. Fails when it does not come within `seconds`, saying `what` was awaited."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} seconds")
        time.sleep(POLL_SECONDS)
    return value


def command(model: str | Path, *options: str, module: str = "app") -> list[str]:
    return [sys.executable, "-m", module, "serve", str(model), "--port", "0", *options]


def environment() -> dict[str, str]:
    """This process's own, without settings of Millrace."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    return variables | {"HF_HUB_OFFLINE": "1"}


def printed_by_a_start_that_fails(model: str | Path, *options: str) -> list[str]:
    """The lines that `millrace serve` prints until it ends with 1."""
    ended = subprocess.run(
        command(model, *options),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr.splitlines()


class ServerProcess:
    """`millrace serve` on 127.0.0.1 and a port of its own choice. What it prints is kept.

    `module` is run instead of `app`, with the same command line.
    """

    def __init__(self, model: str | Path, *options: str, module: str = "app") -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the process; `close` ends both)
        self._url: str | None = None
        self.process = subprocess.Popen(
            command(model, *options, module=module),
            cwd=ROOT,
            env=environment(),
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    @property
    def output(self) -> str:
        """Everything printed so far. Read without moving the place where the process writes."""
        return os.pread(self._output.fileno(), 1 << 24, 0).decode(errors="replace")

    @property
    def url(self) -> str:
        """Where it listens, from its own line; waits until that is printed."""
        if self._url is None:
            self._url = until(self._announced, "the server listens", START_SECONDS)
        return self._url

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def engine_pid(self) -> int | None:
        """The engine process, which `multiprocessing` marks; its resource tracker is another child."""
        for child in psutil.Process(self.pid).children():
            try:
                if "--multiprocessing-fork" in child.cmdline():
                    return child.pid
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        return None

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", verify=NO_TLS)

    def health(self) -> httpx.Response:
        return self.get("/health")

    def is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with code {self.process.returncode}:\n{self.output}")
        return self.get("/ready").status_code == httpx.codes.OK

    def until_ready(self) -> None:
        until(self.is_ready, "the server is ready", START_SECONDS)

    def is_draining(self) -> bool:
        return self.get("/ready").json()["state"] == "draining"

    def metrics(self) -> dict[str, float]:
        """Every sample by its name and labels, as they are written: `name{label="value"}`."""
        text = self.get("/metrics").text
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return {_series(sample.name, sample.labels): sample.value for sample in samples}

    def is_idle(self) -> bool:
        """Nothing runs, nothing waits, and every block of the cache is free."""
        metrics = self.metrics()
        gauges = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
        return all(metrics[f"millrace_{gauge}"] == 0 for gauge in gauges)

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def interrupt(self) -> None:
        """What Ctrl-C in a terminal does: every process gets the signal."""
        everyone = [*psutil.Process(self.pid).children(recursive=True), self.process]
        for process in everyone:
            process.send_signal(signal.SIGINT)

    def exit_code(self, seconds: float = 30) -> int:
        """How it ended; waits for that."""
        return self.process.wait(seconds)

    def close(self) -> None:
        """Leave nothing behind, whatever state it is in. The engine ends by itself when its pipe does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._output.close()

    def _announced(self) -> str:
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with code {self.process.returncode}:\n{self.output}")
        found = re.search(r"running on (http://127\.0\.0\.1:\d+)", self.output)
        return found[1] if found else ""


@contextmanager
def started(model: str | Path, *options: str, module: str = "app") -> Iterator[ServerProcess]:
    """A server that need not be ready yet, and whose end is the caller's part."""
    server = ServerProcess(model, *options, module=module)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def serving(model: str | Path, *options: str, module: str = "app") -> Iterator[ServerProcess]:
    """A server that is ready; SIGTERM must end it well."""
    with started(model, *options, module=module) as server:
        server.until_ready()
        yield server
        server.signal()
        assert server.exit_code() == 0, server.output


def _series(name: str, labels: dict[str, Any]) -> str:
    written = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{written}}}" if written else name

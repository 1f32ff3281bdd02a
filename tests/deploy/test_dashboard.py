"""The dashboard's questions, asked of a real Prometheus that scrapes a live server under load."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
import yaml

from tests.deploy.test_deploy import DASHBOARD, PROMETHEUS, ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def await_url(url: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with suppress(URLError):
            urlopen(url, timeout=5).close()
            return
        time.sleep(0.1)
    raise AssertionError(f"ended with {process.returncode}")


@pytest.fixture
def server() -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "app", "serve", "--port", str(port)], cwd=ROOT)
    try:
        await_url(f"http://127.0.0.1:{port}/ready", process)
        yield port
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def prometheus(server: int, tmp_path: Path) -> Iterator[str]:
    """With our own rules and job; only where the server is and how often it is asked differ."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    job = {"job_name": "millrace", "static_configs": [{"targets": [f"127.0.0.1:{server}"]}]}
    config |= {"scrape_configs": [job], "rule_files": [str(PROMETHEUS / "rules" / "*.yml")]}
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address={address}",
            "--log.level=error",
        ]
    )
    try:
        await_url(f"http://{address}/-/ready", process)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(60)


def complete(port: int) -> None:
    body = json.dumps({"prompt": "Once upon a time, " * 4, "max_tokens": 20}).encode()
    request = Request(f"http://127.0.0.1:{port}/v1/completions", body, {"Content-Type": "application/json"})
    urlopen(request, timeout=60).read()


def ask(prometheus: str, expression: str) -> list[str]:
    """The values of an instant query."""
    with urlopen(f"{prometheus}/api/v1/query?query={quote(expression)}", timeout=10) as answer:
        return [sample["value"][1] for sample in json.load(answer)["data"]["result"]]


def test_no_panel_is_empty_under_load(server: int, prometheus: str) -> None:
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            complete(server)

    loading = threading.Thread(target=load)
    loading.start()
    panels = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    }
    deadline = time.monotonic() + 60
    empty = dict(panels)
    try:
        while empty and time.monotonic() < deadline:
            time.sleep(1)
            empty = {title: expr for title, expr in empty.items() if ask(prometheus, expr) in ([], ["NaN"])}
    finally:
        stop.set()
        loading.join()
    assert not empty

"""The servers that a measurement needs, each with its model for as long as it is measured, and `millrace bench`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import httpx

from tests.e2e.server import ROOT, serving, until

START_SECONDS = 300
STOP_SECONDS = 30
MAX_MODEL_LEN = 2048


def bench(url: str, *options: str) -> dict[str, Any]:
    """What `millrace bench` finds, all of it, by a process of its own."""
    with TemporaryDirectory() as directory:
        file = Path(directory) / "found.json"
        command = [sys.executable, "-m", "app", "bench", *options, "--url", url, "--quiet", "--json", str(file)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        found: dict[str, Any] = json.loads(file.read_text())
        return found


def compare(ours: str, theirs: str, repeat: int, seed: int, options: Sequence[str]) -> dict[str, Any]:
    """A B A B."""
    return bench(ours, *options, "--compare", theirs, "--repeat", str(repeat), "--seed", str(seed))


@contextmanager
def millrace(model: Path, quantization: str, num_streams: int, threads: int) -> Iterator[str]:
    limits = ("--max-num-seqs", str(num_streams), "--max-model-len", str(MAX_MODEL_LEN))
    with serving(model, "--quantization", quantization, "--threads", str(threads), *limits) as server:
        yield server.url


@contextmanager
def llama_cpp(program: Path, model: Path, num_streams: int, threads: int, *more: str) -> Iterator[str]:
    """llama.cpp's `llama-server`."""
    port, room = _free_port(), num_streams * MAX_MODEL_LEN
    options = {"-m": model, "--port": port, "-t": threads, "-tb": threads, "-np": num_streams, "-c": room}
    command = [str(program), *(str(part) for option in options.items() for part in option), *more]
    with _running(command, f"http://127.0.0.1:{port}") as url:
        yield url


@contextmanager
def vllm(program: Path, model: Path, num_streams: int, threads: int) -> Iterator[str]:
    """vLLM's CPU build, by the `vllm` of its own virtual environment, on the first cores."""
    port = _free_port()
    command = [str(program), "serve", str(model), "--port", str(port), "--dtype", "bfloat16"]
    limits = ["--max-num-seqs", str(num_streams), "--max-model-len", str(MAX_MODEL_LEN)]
    variables = {"VLLM_CPU_KVCACHE_SPACE": "2", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    variables["VLLM_CPU_OMP_THREADS_BIND"] = f"0-{threads - 1}"
    with _running([*command, *limits], f"http://127.0.0.1:{port}", variables) as url:
        yield url


@contextmanager
def _running(command: Sequence[str], url: str, variables: Mapping[str, str] | None = None) -> Iterator[str]:
    """A process whose `/health` says when it is ready. If it ends before, what it printed last is the error."""
    with TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | (variables or {}))

        def is_ready() -> bool:
            if process.poll() is not None:
                printed = os.pread(output.fileno(), 1 << 24, 0).decode(errors="replace")
                raise AssertionError(f"{command[0]} ended with code {process.returncode}:\n{printed[-2000:]}")
            try:
                return httpx.get(f"{url}/health").status_code == httpx.codes.OK
            except httpx.TransportError:
                return False

        try:
            until(is_ready, f"{command[0]} is ready", START_SECONDS)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])

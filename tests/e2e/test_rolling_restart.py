"""Servers behind nginx, as `config/nginx.conf` has them: two are replaced one after the other, and no request fails."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, aclosing, asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.directories import TextModel
from tests.e2e.server import ONE_THREAD, ROOT, ServerProcess, started, until
from tests.e2e.streams import Read, events_of, read_streamed, read_whole, text_of

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: nginx-light)"),
]

PROMPT = "the miller and the wheel"

MAIN = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{}}
http {{
    log_format upstreams '$request_uri $status $upstream_addr | $upstream_status';
    access_log {directory}/access.log upstreams;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/millrace.conf;
}}
"""


def free_ports(number: int) -> list[int]:
    with ExitStack() as listeners:
        opened = [listeners.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [listener.getsockname()[1] for listener in opened]


@contextmanager
def nginx(directory: Path, port: int, servers: list[int]) -> Iterator[str]:
    """nginx with our own file; only the ports in it are others. Gives its address."""
    text = (ROOT / "config" / "nginx.conf").read_text()
    for ours, used in zip((8000, 8001, 8002), (f"127.0.0.1:{port}", *servers), strict=True):
        text, count = re.subn(rf"(listen |server 127\.0\.0\.1:){ours}\b", rf"\g<1>{used}", text)
        assert count == 1
    (directory / "millrace.conf").write_text(text)
    (directory / "nginx.conf").write_text(MAIN.format(directory=directory))
    assert NGINX is not None
    process = subprocess.Popen([NGINX, "-p", directory, "-e", "stderr", "-c", directory / "nginx.conf"])
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


class Load:
    """Requests that follow each other without a pause, from several clients, until it is ended."""

    def __init__(self, url: str, model: TextModel) -> None:
        self._url = url
        self._expected = {length: model.continuation(PROMPT, length) for length in (5, 300)}
        self._ending = False
        self.failures: list[str] = []
        self.num_answers = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Streams and short answers at once, over connections that are kept and over new ones."""
        kept = httpx.Limits(max_keepalive_connections=8)
        new = httpx.Limits(max_keepalive_connections=0)
        kinds = [(read_streamed, 300, kept), (read_streamed, 300, new), (read_whole, 5, kept), (read_whole, 5, new)]
        async with asyncio.TaskGroup() as clients:
            for read, length, limits in kinds:
                clients.create_task(self._ask(read, length, limits))
            yield
            self._ending = True

    async def _ask(self, read: Read, length: int, limits: httpx.Limits) -> None:
        body = {"prompt": PROMPT, "temperature": 0, "max_tokens": length}
        async with httpx.AsyncClient(limits=limits, timeout=60) as client:
            while not self._ending:
                try:
                    answer = await read(client, self._url, body)
                    assert answer == (self._expected[length], "length")
                    self.num_answers += 1
                except Exception as failure:  # of any kind: all are counted
                    self.failures.append(f"{read.__name__}: {failure!r}")


async def replace(server: ServerProcess, stack: ExitStack, model: TextModel, port: int) -> ServerProcess:
    """End one server as an operator does and start another in its place; gives that when it is ready."""
    server.signal()
    assert await asyncio.to_thread(server.exit_code, 60) == 0, server.output
    return await start(stack, model, port)


async def start(stack: ExitStack, model: TextModel, port: int) -> ServerProcess:
    options = ("--port", str(port), "--kv-cache-memory", "32MiB", *ONE_THREAD)
    server = stack.enter_context(started(model.directory, *options))
    await asyncio.to_thread(server.until_ready)
    return server


async def test_servers_replaced_one_after_the_other_under_load_fail_no_request(
    model: TextModel, tmp_path: Path
) -> None:
    front, *ports = free_ports(3)
    with ExitStack() as stack, nginx(tmp_path, front, ports) as url:
        servers = [await start(stack, model, port) for port in ports]
        load = Load(url, model)
        async with load.running():
            for index, port in enumerate(ports):
                servers[index] = await replace(servers[index], stack, model, port)
            for server in servers:
                served = 'millrace_http_requests_total{route="/v1/completions",status="200"}'
                await asyncio.to_thread(until, lambda: server.metrics().get(served), "the new server serves")  # noqa: B023
        for server in servers:
            server.signal()
            assert await asyncio.to_thread(server.exit_code) == 0, server.output

    log = (tmp_path / "access.log").read_text()
    ways = Counter(line.partition(" | ")[2] for line in log.splitlines())
    print(f"{load.num_answers} answers, {len(load.failures)} failures; by what the servers said: {dict(ways)}")
    assert load.failures == []
    assert ways["503, 200"] > 0


async def test_through_nginx_events_come_as_they_are_made_and_a_client_that_leaves_ends_its_sequence(
    server: ServerProcess, tmp_path: Path
) -> None:
    [front] = free_ports(1)
    port = httpx.URL(server.url).port
    assert port is not None
    with nginx(tmp_path, front, [port, port]) as url:
        async with httpx.AsyncClient(timeout=60) as client:
            body = {"prompt": PROMPT, "temperature": 0, "max_tokens": 8000}
            async with aclosing(events_of(client, url, body)) as stream:
                assert text_of(await anext(stream))
                assert server.health().json()["running"] == 1
            await asyncio.to_thread(until, server.is_idle, "the sequence has ended")
            assert (await client.get(f"{url}/metrics")).status_code == 404

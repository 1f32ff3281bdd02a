"""HTTPS, with a certificate made for the test."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from app.api.wire.certificate import BadCertificate, Certificate
from app.api.wire.connection import MAX_HEAD_BYTES
from app.config import ConfigError, load_config
from app.engine.stream import CutReason
from tests.raw_client import connected, post
from tests.scripted_engine import ScriptedEngine, data_of, ids, listening, make_app

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")

STEP_SECONDS = 0.005
STREAM = {"prompt": "x", "stream": True}


def make_certificate(directory: Path, name: str = "server", password: str = "") -> tuple[Path, Path]:
    """A certificate that signs itself, for 127.0.0.1, and its key."""
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    made = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2")
    for_whom = ("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1")
    locked = ("-passout", f"pass:{password}") if password else ("-nodes",)
    command = ["openssl", *made, *for_whom, *locked, "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def trusting(certificate: Path) -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=ssl.create_default_context(cafile=certificate))


@pytest.mark.parametrize("password", ["", "open sesame"])
async def test_a_stream_comes_over_tls(tmp_path: Path, password: str) -> None:
    file, key = make_certificate(tmp_path, password=password)
    app = make_app(ScriptedEngine(script=ids("words")))
    async with listening(app, certificate=Certificate(file, key, password)) as (address, _), trusting(file) as client:
        assert address.startswith("https://")
        answer = await client.post(f"{address}/v1/completions", json=STREAM)
        *chunks, done = data_of(answer.text)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "words"
    assert done == "[DONE]"


async def test_who_speaks_no_tls_is_not_answered_and_who_does_not_trust_leaves(tmp_path: Path) -> None:
    file, key = make_certificate(tmp_path)
    async with listening(make_app(ScriptedEngine()), certificate=Certificate(file, key)) as (address, _):
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(f"{address}/ready")
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(f"{address.replace('https', 'http')}/ready")
        async with trusting(file) as client:
            assert (await client.get(f"{address}/ready")).status_code == 200


async def test_a_head_without_end_is_refused_under_tls(tmp_path: Path) -> None:
    file, key = make_certificate(tmp_path)
    trust = ssl.create_default_context(cafile=file)
    server = listening(make_app(ScriptedEngine()), certificate=Certificate(file, key))
    async with server as (address, _), connected(address, trust) as client:
        await client.send(b"GET /")
        sending = asyncio.create_task(client.send_without_end(b"a" * MAX_HEAD_BYTES))
        assert (await client.answer())[0] == 431
        await sending


def begin_and_do_not_read(address: str, trust: ssl.SSLContext) -> ssl.SSLSocket:
    """A socket of its own: an event loop would read ahead."""
    url = urlsplit(address)
    client = trust.wrap_socket(socket.create_connection((url.hostname, url.port)), server_hostname=url.hostname)
    client.sendall(post(json.dumps(STREAM).encode()))
    return client


async def test_a_stream_that_nobody_reads_is_cut_off_under_tls(tmp_path: Path) -> None:
    file, key = make_certificate(tmp_path)
    engine, trust = ScriptedEngine(), ssl.create_default_context(cafile=file)
    server = listening(make_app(engine), stall_seconds=0.05, certificate=Certificate(file, key))
    async with server as (address, _):
        with await asyncio.to_thread(begin_and_do_not_read, address, trust):
            await engine.until(lambda: bool(engine.submissions))
            engine.write("x" * (1 << 20))
            async with asyncio.timeout(30):
                while not engine.closed:  # what lies below TLS is noticed when there is more to send
                    engine.write("x")
                    await asyncio.sleep(STEP_SECONDS)
    assert [stream.finish_reason for stream in engine.closed] == [CutReason.CLIENT_STALLED]


async def test_a_new_certificate_is_used_by_the_next_connection_and_a_bad_one_is_not(tmp_path: Path) -> None:
    file, key = make_certificate(tmp_path)
    old = tmp_path / "old.pem"
    old.write_bytes(file.read_bytes())
    certificate = Certificate(file, key)
    async with listening(make_app(ScriptedEngine()), certificate=certificate) as (address, _):
        async with trusting(old) as earlier:
            assert (await earlier.get(f"{address}/ready")).status_code == 200
            make_certificate(tmp_path)
            certificate.reload()
            async with trusting(file) as later:
                assert (await later.get(f"{address}/ready")).status_code == 200
            assert (await earlier.get(f"{address}/ready")).status_code == 200
        key.write_text("no key")
        certificate.reload()
        async with trusting(file) as later:
            assert (await later.get(f"{address}/ready")).status_code == 200


def test_a_chain_that_is_caught_half_written_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, key = make_certificate(tmp_path)
    other, _ = make_certificate(tmp_path, "other")
    first, second = file.read_bytes(), other.read_bytes()
    certificate = Certificate(file, key)
    for length in range(1, len(second) - 1):
        file.write_bytes(first + second[:length])
        with pytest.raises(BadCertificate):
            Certificate(file, key)
        certificate.reload()
        assert caplog.records[-1].message.startswith("The certificate stays as it was")
    file.write_bytes(first + second)
    Certificate(file, key)


def test_what_cannot_be_used_is_told_by_its_file(tmp_path: Path) -> None:
    file, key = make_certificate(tmp_path, password="secret")
    other, _ = make_certificate(tmp_path, "other")
    for chain, private, password in ((file, key, "wrong"), (file, key, ""), (other, key, "secret"), (other, None, "")):
        with pytest.raises(BadCertificate, match=chain.name):
            Certificate(chain, private, password)


def test_files_that_are_not_there_and_a_key_without_a_certificate_are_faults_of_the_configuration(
    tmp_path: Path,
) -> None:
    file, key = make_certificate(tmp_path)
    assert load_config({"tls_certificate": file, "tls_key": key}).tls_certificate == file
    with pytest.raises(ConfigError, match="there is no file"):
        load_config({"tls_certificate": tmp_path / "nothing.pem"})
    with pytest.raises(ConfigError, match="tls_certificate"):
        load_config({"tls_key": key})

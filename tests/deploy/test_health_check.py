"""The image's HEALTHCHECK, run against a server as it might be in a container."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.api.wire.certificate import Certificate
from app.engine.health import EngineState
from tests.deploy.container import health_check
from tests.scripted_engine import HEALTHY, ScriptedEngine, listening, make_app
from tests.test_certificate import make_certificate


async def is_healthy(address: str, **settings: str) -> bool:
    """What the container engine would hold of a server that listens there and has these settings in its environment."""
    _, *arguments = health_check()
    environment = os.environ | {"MILLRACE_PORT": str(urlsplit(address).port)} | settings
    command = [sys.executable, *arguments]
    done = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True)
    return done.returncode == 0


async def test_a_server_is_healthy_while_it_is_ready() -> None:
    engine = ScriptedEngine()
    async with listening(make_app(engine)) as (address, _):
        assert await is_healthy(address)
        engine.health = replace(HEALTHY, state=EngineState.LOADING)
        assert not await is_healthy(address)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
async def test_a_server_with_a_certificate_is_asked_over_tls(tmp_path: Path) -> None:
    file, key = make_certificate(tmp_path)
    async with listening(make_app(ScriptedEngine()), certificate=Certificate(file, key)) as (address, _):
        assert await is_healthy(address, MILLRACE_TLS_CERTIFICATE=str(file))

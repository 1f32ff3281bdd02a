"""What the server reports on the console: the progress of its start, that it is ready, and what a stop waits for."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from ipaddress import ip_address
from time import monotonic

from app.api.service import Service
from app.api.wire.sockets import url_of
from app.console import REFRESH_SECONDS, Console, StartProgress
from app.engine.health import EngineState
from app.messages import EngineReady

DRAIN_REFRESH_SECONDS = 0.5


async def watch_start(service: Service, progress: StartProgress, console: Console, urls: list[str]) -> None:
    """Follow a start until requests are accepted, and say so; or until it has failed, which is reported elsewhere."""
    while not (now := service.availability()).can_serve:
        if now.state is EngineState.FAILED:
            return
        progress.enter(now.phase or now.state, now.progress)
        await asyncio.sleep(REFRESH_SECONDS)
    progress.end()
    if service.engine.ready is not None:
        console.say(ready_line(service.model_name, service.engine.ready, urls, progress.seconds))


async def watch_drain(count: Callable[[], int], drain_seconds: float, console: Console) -> None:
    """Show how many answers are still open, and for how long they may be, until there are none or it is cancelled."""
    end = monotonic() + drain_seconds
    try:
        while num_streams := count():
            left = max(0.0, end - monotonic())
            console.wait(f"{num_streams} answer{'s' if num_streams > 1 else ''} to finish, {left:.0f} s left")
            await asyncio.sleep(DRAIN_REFRESH_SECONDS)
    finally:
        console.clear()


def ready_line(model: str, ready: EngineReady, urls: list[str], seconds: float) -> str:
    """Where the server is, what it serves, and how much of it at once."""
    num_sequences = ready.num_cache_tokens // ready.max_model_len
    room = f"{num_sequences:,} sequence{'s' if num_sequences != 1 else ''} of {ready.max_model_len:,} tokens"
    weights = ready.dtype if ready.quantization == "none" else f"{ready.dtype}, weights in {ready.quantization}"
    return (
        f"Ready after {seconds:.0f} s: {' and '.join(urls)} serves {model}, with room for {room}, "
        f"on {ready.device} ({ready.backend}, {weights}). Ctrl-C stops."
    )


def reachable_url(listener: socket.socket, *, is_secure: bool) -> str:
    """An address that a browser on this machine can open: one that stands for all addresses is none."""
    url, host = url_of(listener, is_secure=is_secure), listener.getsockname()[0]
    if ip_address(host.partition("%")[0]).is_unspecified:
        return url.replace(host, "::1" if ":" in host else "127.0.0.1")
    return url


def farewell(num_streams: int, is_loaded: bool, drain_seconds: float) -> str:
    """What a server that is stopping waits for."""
    if num_streams:
        answers = f"{num_streams} answer{'s' if num_streams > 1 else ''}"
        return f"Finishing {answers}, up to {drain_seconds:g} s; Ctrl-C again stops now"
    return "Stopping: no answers are open" if is_loaded else "Stopping before the model is loaded"

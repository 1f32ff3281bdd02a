"""Runs a benchmark over HTTP, from its options to the report: starts or probes servers, and alternates between them."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import fields
from typing import Any

from app.bench.client import Client
from app.bench.compare import Measurement
from app.bench.document import document
from app.bench.experiment import experiment, warm_up
from app.bench.host import probe_host
from app.bench.outcome import BenchError
from app.bench.own_server import own_server, serve_command
from app.bench.progress import Progress
from app.bench.provenance import Provenance
from app.bench.report import report
from app.bench.result import Result
from app.bench.settings import Settings
from app.bench.summary import LatencyTargets
from app.bench.target import Target, connect

SEED_BITS = 31


def run_bench(options: Mapping[str, Any]) -> int:
    """Returns the exit code: 0 if any request succeeded, 2 for invalid options, else 1."""
    try:
        settings = settings_of(options)
    except BenchError as error:
        print(f"millrace bench: {error}", file=sys.stderr)
        return 2
    try:
        result = asyncio.run(_until_signal(settings, options))
        print(report(result))
        if options["json"]:
            options["json"].write_text(json.dumps(result.as_json()) + "\n")
        if options["html"]:
            options["html"].write_text(document(result))
    except (BenchError, OSError) as error:
        print(f"millrace bench: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("millrace bench: interrupted; nothing is reported", file=sys.stderr)
        return 130
    return 0 if result.any_succeeded else 1


def settings_of(options: Mapping[str, Any]) -> Settings:
    """The settings given by the options. Raises BenchError if they are invalid."""
    if options["url"] and options["serve"]:
        raise BenchError("give --url or --serve, not both")
    given = {field.name: options[field.name] for field in fields(Settings)}
    given["slo"] = LatencyTargets.parse(options["slo"]) if options["slo"] else None
    given["seed"] = secrets.randbits(SEED_BITS) if options["seed"] is None else options["seed"]
    given["repeat"] = options["repeat"] or (3 if options["compare"] else 1)
    settings = Settings(**given)
    settings.check()
    return settings


async def measure(settings: Settings, options: Mapping[str, Any]) -> Result:
    """Run all repetitions on all servers."""
    progress = Progress(False if options["quiet"] else None)
    provenance = Provenance.now(own_server=not options["url"])
    async with AsyncExitStack() as stack:
        if options["url"]:
            url = options["url"]
        else:
            model = options["serve"] or "demo"
            progress.note(f"starting a server on {model}")
            url = await stack.enter_async_context(own_server(serve_command(model, options["server_options"])))
        targets = [await stack.enter_async_context(_target("A", url, options["model"], options))]
        if options["compare"]:
            other = _target("B", options["compare"], options["compare_model"], options)
            targets.append(await stack.enter_async_context(other))
        measurements = await alternate(targets, settings, progress, options["probe_host"])
    return Result(settings, targets, provenance, measurements, started_server=not options["url"])


async def alternate(
    targets: list[Target], settings: Settings, progress: Progress, with_host: bool = False
) -> list[Measurement]:
    """Run the servers alternately (A B A B): in each repetition, all get the same prompts and arrivals."""
    for target in targets:
        await warm_up(target, settings)
    measurements = []
    for repetition in range(settings.repeat):
        for target in targets:
            host = probe_host() if with_host else None
            runs = await experiment(target, settings, repetition, progress)
            measurements.append(Measurement(target.name, repetition, runs, host))
    return measurements


@asynccontextmanager
async def _target(name: str, url: str, model: str | None, options: Mapping[str, Any]) -> AsyncIterator[Target]:
    client = Client(url, headers_of(options["header"]), options["timeout"])
    try:
        yield await connect(
            client,
            name,
            model=model,
            temperature=options["temperature"],
            id_range=options["token_ids"],
            chat=options["chat"],
        )
    finally:
        client.close()


def headers_of(lines: list[str]) -> dict[str, str]:
    """Parse lines of `Name: value`. Raises BenchError, without quoting the value, which may be a secret."""
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or "\n" in line:
            raise BenchError("--header: write NAME:VALUE")
        headers[name.strip()] = value.strip()
    return headers


async def _until_signal(settings: Settings, options: Mapping[str, Any]) -> Result:
    """Let SIGTERM and SIGHUP end the benchmark as Ctrl-C does, so that a server that was started is ended too."""
    measuring = asyncio.ensure_future(measure(settings, options))
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, measuring.cancel)
    return await measuring

"""Everything put together: configuration, engine, tokenizer, application and uvicorn."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import socket
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version

from pydantic import SecretStr

from app.api.app import create_app
from app.api.gate.access import AccessRules
from app.api.gate.hosts import ANY_HOST, LOCAL_HOST, is_loopback
from app.api.openai.schemas.completion import sampling_default_faults
from app.api.request_limits import RequestLimits
from app.api.service import Service
from app.api.start_report import farewell, reachable_url, watch_drain, watch_start
from app.api.telemetry.tracing import TelemetryError, make_telemetry
from app.api.wire.certificate import BadCertificate, Certificate
from app.api.wire.server import Server, server_config
from app.checkpoint.files import BadCheckpoint, read_text
from app.config import Config
from app.console import Console, StartProgress
from app.engine.client import EngineClient
from app.engine.observers import Observers
from app.metrics import Metrics
from app.statistics.collector import StatisticsCollector
from app.text.tokenizer import Tokenizer

THREAD_SECONDS = 0.0005
"""How long the event loop waits for a thread that computes, each time that it needs the interpreter. By itself Python
waits ten times as long, which adds up while a large body is read."""

log = logging.getLogger(__name__)


def warn_if_open(config: Config, access: AccessRules) -> None:
    """Log that there are no keys, where other machines can reach the server."""
    if not access.keys.is_needed and not is_loopback(config.host):
        log.warning("Anybody who reaches %s may use this server: no API keys are set", config.host)


def served_hosts(config: Config, access: AccessRules) -> tuple[str, ...]:
    """The names that requests may reach the server by, or none if they may use any. They are checked where no key keeps
    the pages of other sites out of a server that only this machine should reach, and where names are given."""
    if ANY_HOST in config.allowed_hosts:
        return ()
    if config.allowed_hosts or (is_loopback(config.host) and not access.keys.is_needed):
        return (LOCAL_HOST, *config.allowed_hosts)
    return ()


def _plain(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""


def request_limits(config: Config) -> RequestLimits:
    """What one request may ask for: no more sequences than may be open at all."""
    max_open = config.max_num_seqs + config.max_queue
    is_bound_by_queue = max_open < config.max_sequences_per_request
    return RequestLimits(
        max_body_bytes=config.max_body_size,
        receive_seconds=config.receive_timeout,
        request_seconds=config.request_timeout,
        max_sequences=min(config.max_sequences_per_request, max_open),
        max_sequences_setting="max_num_seqs + max_queue" if is_bound_by_queue else "max_sequences_per_request",
        max_stop_strings=config.max_stop_strings,
        max_logprobs=config.max_logprobs,
        max_values=config.max_values_per_request,
    )


def make_certificate(config: Config) -> Certificate | None:
    """That of the configuration, if it has one. Raises BadCertificate."""
    if config.tls_certificate is None:
        return None
    return Certificate(config.tls_certificate, config.tls_key, _plain(config.tls_key_password))


def read_template(config: Config) -> str | None:
    """The chat template that is given in a file, if one is. Raises BadCheckpoint."""
    return read_text(config.chat_template) if config.chat_template else None


def load_tokenizer(config: Config, template: str | None) -> Tokenizer:
    """The tokenizer, with which all is loaded that stays: from here on the garbage collector need not look at it again,
    for which it held every stream up by tens of milliseconds."""
    tokenizer = Tokenizer.load(config.model_path, revision=config.revision, chat_template=template)
    check_sampling_defaults(config.model, tokenizer.sampling_defaults)
    gc.collect()
    gc.freeze()
    return tokenizer


def check_sampling_defaults(model: str, defaults: Mapping[str, object]) -> None:
    """Hold what a model's generation_config.json says against what a request may say. Raises BadCheckpoint."""
    if faults := sampling_default_faults(defaults):
        raise BadCheckpoint(f"generation_config.json of {model}: {'; '.join(faults)}; correct it or leave it out")


def make_reload(config: Config, access: AccessRules, certificate: Certificate | None) -> Callable[[], None] | None:
    """What SIGHUP reads again; None, and it ends the server, if there are no files to read."""
    reloads = [access.keys.reload] if config.api_keys_file else []
    reloads += [certificate.reload] if certificate is not None else []

    def reload() -> None:
        for each in reloads:
            each()

    return reload if reloads else None


def run_server(
    config: Config,
    access: AccessRules,
    sockets: list[socket.socket],
    num_files: int,
    console: Console,
    progress: StartProgress,
) -> str | None:
    """Serve on sockets that listen already, until a signal comes, with so many open files.

    Returns the reason if the model could not be served, or what else was wrong.
    """
    try:
        return _serve(config, access, sockets, num_files, console, progress)
    except (BadCertificate, TelemetryError, BadCheckpoint) as error:
        return str(error)


def _serve(
    config: Config,
    access: AccessRules,
    sockets: list[socket.socket],
    num_files: int,
    console: Console,
    progress: StartProgress,
) -> str | None:
    warn_if_open(config, access)
    certificate = make_certificate(config)
    telemetry = make_telemetry(config.model_name, version("millrace"), os.environ)
    template = read_template(config)
    failures: list[str] = []
    reports: list[asyncio.Task[None]] = []
    metrics = Metrics(config.model_name, version("millrace"), config.latency_buckets)
    collector = StatisticsCollector(config.model_name)

    def give_up(reason: str) -> None:
        failures.append(reason)
        server.should_exit = True

    engine = EngineClient(config, Observers(metrics, collector), give_up)
    service = Service(
        engine=engine,
        load_tokenizer=partial(load_tokenizer, config, template),
        model_name=config.model_name,
        version=version("millrace"),
        metrics=metrics,
        collector=collector,
        limits=request_limits(config),
        seeds=random.SystemRandom() if config.seed is None else random.Random(config.seed),
        on_failed=give_up,
    )

    def report_start() -> None:
        urls = [reachable_url(each, is_secure=certificate is not None) for each in sockets]
        reports.append(asyncio.create_task(watch_start(service, progress, console, urls)))

    async def drain() -> None:
        for each in reports:
            each.cancel()
        progress.end()
        if not failures:
            console.say(farewell(engine.num_open_streams, engine.ready is not None, config.drain_seconds))
        reports.append(asyncio.create_task(watch_drain(lambda: engine.num_open_streams, config.drain_seconds, console)))
        try:
            await engine.drain(config.drain_seconds)
        except asyncio.CancelledError:  # by a second signal
            await engine.drain(0)
        finally:
            reports[-1].cancel()
        service.broadcast.close()

    app = create_app(
        service,
        config.drain_seconds,
        access,
        telemetry,
        config.log_prompts,
        config.cors_origins,
        served_hosts(config, access),
    )
    uvicorn_config = server_config(
        app, config.host, config.port, config.stall_timeout, certificate, num_files=num_files
    )
    server = Server(uvicorn_config, drain, make_reload(config, access, certificate), report_start, console.say)
    sys.setswitchinterval(THREAD_SECONDS)
    server.run(sockets)
    return failures[0] if failures else None

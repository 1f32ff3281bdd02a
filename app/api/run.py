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
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path

from pydantic import SecretStr, ValidationError

from app.api.app import create_app
from app.api.gate.authentication import Access
from app.api.gate.hosts import ANY_HOST, LOCAL_HOST, is_loopback
from app.api.gate.key_list import BadKeys
from app.api.gate.keys import KeyRing
from app.api.gate.quota import Quota
from app.api.openai.schemas.sampling import SamplingFields
from app.api.request_limits import Limits
from app.api.service import Service
from app.api.telemetry.tracing import TelemetryError, make_telemetry
from app.api.wire.certificate import BadCertificate, Certificate
from app.api.wire.open_files import allow_many_files, room_of
from app.api.wire.server import Server, server_config
from app.api.wire.sockets import PortUnavailable, listen
from app.checkpoint.files import BadCheckpoint, read_text
from app.checkpoint.inspection import check_model_files, check_tokenizer_files
from app.config import Config
from app.engine.client import EngineClient
from app.engine.health import END_SECONDS
from app.engine.observers import Observers
from app.metrics import Metrics
from app.statistics.collector import StatisticsCollector
from app.text.tokenizer import Tokenizer

THREAD_SECONDS = 0.0005
"""How long the event loop waits for a thread that computes, each time that it needs the interpreter. By itself Python
waits ten times as long, which adds up while a large body is read."""

log = logging.getLogger(__name__)


def make_access(config: Config) -> Access:
    """The keys of the configuration. Raises BadKeys."""
    quota = Quota(config.requests_per_minute, config.tokens_per_minute, config.concurrent_requests)
    access = Access(
        keys=KeyRing(_plain(config.api_keys), config.api_keys_file, quota),
        metrics_keys=_ring_of_one("metrics", config.metrics_key),
        admin_keys=_ring_of_one("admin", config.admin_key),
        shares_cache=config.cache_sharing == "all",
    )
    if config.api_keys is not None and not access.keys.is_needed:
        raise BadKeys("api_keys is set but has no key in it; leave it out to serve without keys")
    if not access.keys.is_needed and not is_loopback(config.host):
        log.warning("Anybody who reaches %s may use this server: no API keys are set", config.host)
    return access


def served_hosts(config: Config, access: Access) -> tuple[str, ...]:
    """The names that requests may reach the server by, or none if they may use any. They are checked where no key keeps
    the pages of other sites out of a server that only this machine should reach, and where names are given."""
    if ANY_HOST in config.allowed_hosts:
        return ()
    if config.allowed_hosts or (is_loopback(config.host) and not access.keys.is_needed):
        return (LOCAL_HOST, *config.allowed_hosts)
    return ()


def _plain(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""


def _ring_of_one(name: str, secret: SecretStr | None) -> KeyRing:
    if secret is None:
        return KeyRing()
    try:
        return KeyRing.of_one(name, secret.get_secret_value())
    except ValueError as error:
        raise BadKeys(f"{name}_key: {error}") from error


def make_certificate(config: Config) -> Certificate | None:
    """That of the configuration, if it has one. Raises BadCertificate."""
    if config.tls_certificate is None:
        return None
    return Certificate(config.tls_certificate, config.tls_key, _plain(config.tls_key_password))


def read_template(config: Config) -> str | None:
    """The chat template that is given in a file, if one is. Raises BadCheckpoint."""
    return read_text(config.chat_template) if config.chat_template else None


def look_at_model(path: Path) -> None:
    """Check the files of a model that is not on the hub, before anything of it is loaded. Raises BadCheckpoint."""
    if path.exists():
        check_model_files(path)
        check_tokenizer_files(path)


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
    try:
        SamplingFields.model_validate(dict(defaults))
    except ValidationError as error:
        faults = "; ".join(f"{fault['loc'][0]} is {fault['input']!r}: {fault['msg']}" for fault in error.errors())
        raise BadCheckpoint(f"generation_config.json of {model}: {faults}; correct it or leave it out") from error


def make_reload(config: Config, access: Access, certificate: Certificate | None) -> Callable[[], None] | None:
    """What SIGHUP reads again; None, and it ends the server, if there are no files to read."""
    reloads = [access.keys.reload] if config.api_keys_file else []
    reloads += [certificate.reload] if certificate is not None else []

    def reload() -> None:
        for each in reloads:
            each()

    return reload if reloads else None


def farewell(num_streams: int, drain_seconds: float) -> str:
    """What a server that has been told to stop waits for."""
    what, seconds = "the engine process", END_SECONDS
    if num_streams:
        what, seconds = f"{num_streams} running sequence{'s' if num_streams > 1 else ''}", drain_seconds
    return f"Stopping: {what} may take up to {seconds:g} s to end; a second Ctrl-C does not wait"


def run_server(config: Config) -> str | None:
    """Serve until a signal comes. Returns the reason if the model could not be served, or what else was wrong."""
    num_files = allow_many_files()
    try:
        with ExitStack() as listening:
            sockets = listen(config.host, config.port, room_of(num_files).backlog)
            for each in sockets:
                listening.enter_context(each)
            return _serve(config, sockets, num_files)
    except (PortUnavailable, BadKeys, BadCertificate, TelemetryError, BadCheckpoint) as error:
        return str(error)


def _serve(config: Config, sockets: list[socket.socket], num_files: int) -> str | None:
    """The same, on sockets that listen already."""
    access = make_access(config)
    certificate = make_certificate(config)
    telemetry = make_telemetry(config.model_name, version("millrace"), os.environ)
    template = read_template(config)
    look_at_model(Path(config.model_path))
    failures: list[str] = []
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
        limits=Limits(
            max_body_bytes=config.max_body_size,
            receive_seconds=config.receive_timeout,
            request_seconds=config.request_timeout,
            max_sequences=min(config.max_sequences_per_request, config.max_num_seqs + config.max_queue),
            max_stop_strings=config.max_stop_strings,
            max_logprobs=config.max_logprobs,
            max_values=config.max_values_per_request,
        ),
        seeds=random.SystemRandom() if config.seed is None else random.Random(config.seed),
        on_failed=give_up,
    )

    async def drain() -> None:
        if not failures:
            log.info("%s", farewell(engine.num_open_streams, config.drain_seconds))
        try:
            await engine.drain(config.drain_seconds)
        except asyncio.CancelledError:  # by a second signal
            await engine.drain(0)
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
    told = server_config(app, config.host, config.port, config.stall_timeout, certificate, num_files=num_files)
    server = Server(told, drain, make_reload(config, access, certificate))
    sys.setswitchinterval(THREAD_SECONDS)
    server.run(sockets)
    return failures[0] if failures else None

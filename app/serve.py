"""`millrace serve`: first what takes milliseconds to check, then the server, which takes seconds to import."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from pydantic import SecretStr

from app.api.gate.access import AccessRules
from app.api.gate.key_list import BadKeys
from app.api.gate.keys import KeyRing
from app.api.gate.quota import Quota
from app.api.wire.open_files import raise_open_file_limit, room_of
from app.api.wire.sockets import PortUnavailable, listen
from app.checkpoint.files import BadCheckpoint
from app.config import Config
from app.console import StartProgress, open_console
from app.logs import ERASE, configure_logging, is_terminal
from app.options import fail
from app.startup_checks import check_model

log = logging.getLogger("millrace.server")


def serve(config: Config) -> None:
    """Run the server until a signal ends it. Exits with 1 if the model cannot be served, or the port is not free."""
    configure_logging(config.log_level, config.log_format)
    reason = run(config)
    if reason is None:
        return
    if config.log_format == "json":  # whatever reads the log reads an object on every line
        log.critical("%s", reason)
        raise SystemExit(1)
    fail(reason)


def run(config: Config) -> str | None:
    """The same with logs as they are. Returns the reason if the server could not start, or had to give up."""
    num_files = raise_open_file_limit()
    with ExitStack() as resources:
        try:
            sockets = listen(config.host, config.port, room_of(num_files).backlog)
            for each in sockets:
                resources.enter_context(each)
            access = read_access_rules(config)
            check_model(config.model_path, config.revision)
        except (PortUnavailable, BadKeys, BadCheckpoint) as error:
            return str(error)
        console = open_console(config.log_format, config.model_name)
        progress = StartProgress(console)
        resources.callback(progress.end)
        resources.enter_context(interrupts_that_end())
        from app.api.run import run_server

        return run_server(config, access, sockets, num_files, console, progress)


@contextmanager
def interrupts_that_end() -> Iterator[None]:
    """Until the server heeds signals itself, Ctrl-C ends the process at once, unless it is ignored.

    KeyboardInterrupt would not: raised while modules are imported, it can become another error, or be lost, as it is
    in a destructor. Nothing has begun yet that would have to be ended in order.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _end_now)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_now(_number: int, _frame: FrameType | None) -> None:
    erased = ERASE if is_terminal(sys.stderr) else ""  # what is shown of the start
    os.write(2, f"{erased}millrace: interrupted\n".encode())
    os._exit(130)


def read_access_rules(config: Config) -> AccessRules:
    """The keys of the configuration. Raises BadKeys."""
    quota = Quota(config.requests_per_minute, config.tokens_per_minute, config.concurrent_requests)
    given = config.api_keys.get_secret_value() if config.api_keys is not None else ""
    rules = AccessRules(
        keys=KeyRing(given, config.api_keys_file, quota),
        metrics_keys=_ring_of_one("metrics", config.metrics_key),
        admin_keys=_ring_of_one("admin", config.admin_key),
        shares_cache=config.cache_sharing == "all",
    )
    if config.api_keys is not None and not rules.keys.is_needed:
        raise BadKeys("api_keys is set but has no key in it; leave it out to serve without keys")
    return rules


def _ring_of_one(name: str, secret: SecretStr | None) -> KeyRing:
    if secret is None:
        return KeyRing()
    try:
        return KeyRing.of_one(name, secret.get_secret_value())
    except ValueError as error:
        raise BadKeys(f"{name}_key: {error}") from error

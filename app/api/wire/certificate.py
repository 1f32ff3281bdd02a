"""The server's certificate, which can be replaced while it runs."""

from __future__ import annotations

import logging
import re
import ssl
from pathlib import Path

log = logging.getLogger(__name__)


class BadCertificate(ValueError):
    """A certificate or its key cannot be used; the message names the files and the reason."""


class Certificate:
    """A chain and its private key in PEM format, for TLS 1.2 and newer. Without `key`, `file` holds the key too."""

    def __init__(self, file: Path, key: Path | None = None, password: str = "") -> None:
        """Raises BadCertificate."""
        self._files = file, key, password
        self.context = self._load(_context())

    def reload(self) -> None:
        """Read the files again, for new connections. Files that cannot be used change nothing."""
        try:
            self._load(_context())  # first into a spare context: a fault must not leave the one in use half changed
            self._load(self.context)
            log.info("The certificate %s was read again", self._files[0])
        except BadCertificate as error:
            log.error("The certificate stays as it was: %s", error)

    def _load(self, context: ssl.SSLContext) -> ssl.SSLContext:
        file, key, password = self._files
        try:
            if _ends_within_a_certificate(file.read_bytes()):
                raise BadCertificate(f"{file} ends within a certificate, as if it were only half-written")
            # Always pass a password, even an empty one: without it, OpenSSL would ask for one at the terminal.
            context.load_cert_chain(file, key, password)
        except OSError as error:
            files = f"{file} with the key {key}" if key else str(file)
            raise BadCertificate(f"{files} cannot be used: {error.strerror or error}") from error
        return context


def _ends_within_a_certificate(pem: bytes) -> bool:
    """Whether the last line is a cut-off boundary: OpenSSL would take what precedes it for the whole chain."""
    last = pem.rstrip().rpartition(b"\n")[2]
    return last.startswith(b"-") and not re.fullmatch(rb"-----END [A-Z0-9 ]+-----", last)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    return context

"""The server's certificate, which can be replaced while it runs."""

from __future__ import annotations

import logging
import re
import ssl
from pathlib import Path

log = logging.getLogger(__name__)


class BadCertificate(ValueError):
    """A certificate or its key cannot be used; the message says which files and why."""


class Certificate:
    """A chain and its private key in PEM; without `key`, the key is in the file of the chain. TLS 1.2 and newer."""

    def __init__(self, file: Path, key: Path | None = None, password: str = "") -> None:
        """Raises BadCertificate."""
        self._files = file, key, password
        self.context = self._load(_context())

    def reload(self) -> None:
        """Read the files again, for connections made from now on. One that cannot be used changes nothing."""
        try:
            self._load(_context())  # a fault must not leave half of it in the context that is in use
            self._load(self.context)
            log.info("The certificate %s was read again", self._files[0])
        except BadCertificate as error:
            log.error("The certificate stays as it was: %s", error)

    def _load(self, context: ssl.SSLContext) -> ssl.SSLContext:
        file, key, password = self._files
        try:
            if _ends_within_a_certificate(file.read_bytes()):
                raise BadCertificate(f"{file} ends within a certificate, as if it were only half-written")
            # A password is always given, be it empty: without one, OpenSSL would ask for it at the terminal.
            context.load_cert_chain(file, key, password)
        except OSError as error:
            files = f"{file} with the key {key}" if key else str(file)
            raise BadCertificate(f"{files} cannot be used: {error.strerror or error}") from error
        return context


def _ends_within_a_certificate(pem: bytes) -> bool:
    """Whether the last line is part of a boundary: OpenSSL would take what stands before it for the whole chain."""
    last = pem.rstrip().rpartition(b"\n")[2]
    return last.startswith(b"-") and not re.fullmatch(rb"-----END [A-Z0-9 ]+-----", last)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    return context

"""One server over HTTP: its models, and answers as they are streamed."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

CONNECT_SECONDS = 10.0
DONE = b"[DONE]"


class ChatError(Exception):
    """The server refused or could not be reached; the message is for the user. `param` is the field at fault."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Model:
    """A model that a server has. `max_model_len` is in tokens, None where the server does not say."""

    name: str
    max_model_len: int | None


class Client:
    """Speaks to one server. Each request has a connection of its own: closing it is what stops an answer."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise ChatError(f"{url} is not the address of a server, like http://127.0.0.1:8000")
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._base = parts.path.rstrip("/").removesuffix("/v1")
        self._host, self._port = parts.hostname, port
        self._make = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._headers = {"Content-Type": "application/json", "User-Agent": "millrace-chat"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def models(self) -> list[Model]:
        """The models that the server has. Raises ChatError."""
        connection = self._connection()
        try:
            found = json.loads(self._ask(connection, "GET", "/v1/models").read())
            return [Model(entry["id"], entry.get("max_model_len")) for entry in found["data"]]
        except (ValueError, LookupError, TypeError) as error:
            raise ChatError(f"{self.url} does not answer as a server with OpenAI's API does") from error
        finally:
            connection.close()

    def stream(self, body: dict[str, Any]) -> Generator[dict[str, Any]]:
        """The events of a streamed chat completion. Closing it stops the answer. Raises ChatError."""
        connection = self._connection()
        try:
            with self._ask(connection, "POST", "/v1/chat/completions", json.dumps(body).encode()) as response:
                for data in _data_of(response):
                    if data == DONE:
                        return
                    event = json.loads(data)
                    if error := event.get("error"):
                        raise ChatError(_message_of(error), _param_of(error))
                    yield event
            raise ChatError("the answer is incomplete: the connection was closed before its end")
        except (OSError, HTTPException, ValueError) as error:
            raise ChatError(f"the answer is incomplete: {error or type(error).__name__}") from error
        finally:
            connection.close()

    def _connection(self) -> HTTPConnection:
        return self._make(self._host, self._port, timeout=CONNECT_SECONDS)

    def _ask(self, connection: HTTPConnection, method: str, path: str, body: bytes | None = None) -> HTTPResponse:
        """The response, if its status is 200. Raises ChatError."""
        try:
            connection.connect()
            connection.sock.settimeout(None)  # an answer may take as long as it takes; Ctrl-C ends it
            connection.request(method, self._base + path, body, self._headers)
            response = connection.getresponse()
            if response.status == 200:
                return response
            content = response.read()
        except (OSError, HTTPException) as error:
            raise ChatError(f"{self.url} cannot be reached: {error or type(error).__name__}") from error
        raise _refusal(response.status, content)


def _data_of(response: HTTPResponse) -> Iterator[bytes]:
    """The `data` of each server-sent event, which OpenAI's API has on one line."""
    for line in response:
        if line.startswith(b"data:"):
            yield line[5:].strip()


def _refusal(status: int, content: bytes) -> ChatError:
    try:
        error = json.loads(content)["error"]
        return ChatError(_message_of(error), _param_of(error))
    except (ValueError, LookupError, TypeError):
        return ChatError(f"the server answers with HTTP {status}: {' '.join(content.decode(errors='replace').split())}")


def _message_of(error: Any) -> str:
    return str(error.get("message", error) if isinstance(error, dict) else error)


def _param_of(error: Any) -> str | None:
    return error.get("param") if isinstance(error, dict) else None

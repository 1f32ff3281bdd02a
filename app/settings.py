"""Every setting, in groups by what it is about. A field's description is its help on the command line.

`app.config` makes one configuration of the groups, and the command line a heading of each.
"""

from __future__ import annotations

import re
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from app.logs import LogFormat

ENV_PREFIX = "MILLRACE_"


def option_of(name: str) -> str:
    """The option of a setting, or of another argument of the command line."""
    return "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return ENV_PREFIX + name.upper()


def parse_bytes(value: object) -> object:
    """Read `2GiB`, `512 MB` or a plain number of bytes; `auto` is None."""
    if not isinstance(value, str):
        return value
    if value == "auto":
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?))?b?\s*", value, re.IGNORECASE)
    if match is None:
        raise ValueError("write a size like 2GiB, 512MB or a number of bytes, or auto")
    number, unit, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kmgt".index((unit or " ").lower()))


def parse_auto(value: object) -> object:
    return None if value == "auto" else value


def parse_buckets(value: object) -> object:
    """Read `0.001,0.01,1`: rising bounds, in seconds; `auto` is None."""
    if value == "auto":
        return None
    try:
        bounds = tuple(map(float, value.split(",") if isinstance(value, str) else value))  # type: ignore[call-overload]
    except (TypeError, ValueError):
        bounds = ()
    if not bounds or bounds[0] <= 0 or not all(a < b < inf for a, b in pairwise((0.0, *bounds))):
        raise ValueError("write rising bounds in seconds like 0.001,0.01,0.1,1, or auto")
    return bounds


def parse_origins(value: object) -> object:
    """Read `https://a.example,https://b.example:8443`, or `*`."""
    origins = tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value
    if origins != ("*",) and not all(re.fullmatch(r"https?://[^/\s]+", origin) for origin in origins):  # type: ignore[attr-defined]
        raise ValueError("write origins like https://a.example,https://b.example:8443, without a path, or *")
    return origins


def parse_hosts(value: object) -> object:
    """Read `a.example,b.example`, or `*`: names as a `Host` header has them, without a port."""
    hosts = tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value
    if not all(host == "*" or re.fullmatch(r"[^\s:/\[\]]+", host) for host in hosts):  # type: ignore[attr-defined]
        raise ValueError("write names like a.example,b.example, without scheme and port, or *")
    return hosts


Count = Annotated[int, Field(gt=0)]
Bytes = Annotated[Count | None, BeforeValidator(parse_bytes)]


class ModelSettings(BaseModel):
    """Settings of the model."""

    heading: ClassVar = "the model"

    model: str = Field(description="directory or hub id of the model; `demo` is the one in the package")
    revision: str | None = Field(description="branch, tag or commit on the hub", default=None)
    served_model_name: str | None = Field(description="name in the API [the model's own]", default=None)
    chat_template: Path | None = Field(description="file with a Jinja chat template to use instead", default=None)


class DeviceSettings(BaseModel):
    """Settings of what the model runs on, and in how much memory."""

    heading: ClassVar = "device and memory"

    device: str = Field(description="cuda, cuda:1, mps, cpu, or auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(description="of weights and cache")
    backend: Literal["auto", "native", "sdpa", "triton"] = Field(
        description="native: compiled, Llama-like models on CPUs; triton: NVIDIA GPUs; sdpa: torch; auto: what applies"
    )
    enforce_eager: bool = Field(
        description="launch every kernel of a decode step by itself instead of recorded as CUDA graphs; triton only"
    )
    quantization: Literal["none", "int8", "int4"] = Field(
        description="precision of the weights in memory; needs the native backend"
    )
    threads: Annotated[Count | None, BeforeValidator(parse_auto)] = Field(
        description="CPU threads of the engine; auto is one per core that the container may use"
    )
    kv_cache_memory: Bytes = Field(description="size of the KV cache, like 2GiB; auto takes a share of what is free")
    gpu_memory_utilization: float = Field(
        description="share of a GPU's memory for weights, steps and KV cache together, if kv_cache_memory is auto",
        gt=0,
        le=1,
    )
    block_size: Count = Field(description="tokens per block of the KV cache", multiple_of=8)
    max_model_len: Annotated[Count | None, BeforeValidator(parse_auto)] = Field(
        description="longest prompt and output together, in tokens; auto is what the model and the cache allow"
    )


class SchedulingSettings(BaseModel):
    """Settings of which sequences run in a step, and which wait."""

    heading: ClassVar = "scheduling"

    max_num_seqs: Count = Field(description="sequences that run at once; auto is 64, on a GPU 256")
    max_num_batched_tokens: Count = Field(description="most tokens computed per step; auto is 512, on a GPU 8192")
    max_gap_seconds: float = Field(
        description="how long decoding streams should wait for a step that computes others' prompts", gt=0
    )
    max_queue: int = Field(
        description="sequences that may be open, waiting or running, beyond max_num_seqs; more get 429", ge=0
    )
    queue_timeout: float = Field(
        description="seconds that a sequence may wait to be scheduled before it ends with 503; inf is no limit", gt=0
    )
    fair_sharing: bool = Field(
        description="share the engine among keys, so that a flood of one does not keep the others waiting"
    )
    speculative: Literal["off", "ngram"] = Field(
        description="ngram: draft tokens from what followed the same ones before, and verify them in one step"
    )
    overlap: Literal["auto", "on", "off"] = Field(
        description="on: launch a step before the last one's tokens are known; auto: on CUDA, unless it speculates"
    )
    seed: int | None = Field(description="makes the seeds drawn for requests without one repeatable", default=None)


class ServerSettings(BaseModel):
    """Settings of the server."""

    heading: ClassVar = "the server and its port"

    host: str = Field(description="address to listen on")
    port: int = Field(description="port to listen on; 0 picks a free one", ge=0, le=65535)
    drain_seconds: float = Field(description="how long SIGTERM lets running streams finish", ge=0)
    step_timeout: float = Field(
        description="seconds without a step after which the engine process is killed and started again", gt=0
    )


class ConnectionSettings(BaseModel):
    """Settings of how long a client is waited for."""

    heading: ClassVar = "connections"

    receive_timeout: float = Field(
        description="seconds for a request's head, and for a body between two parts of it", gt=0
    )
    stall_timeout: float = Field(
        description="seconds that a client may take nothing of its answer before it is cut off", gt=0
    )


class TlsSettings(BaseModel):
    """Settings of the server's certificate, its names, and of which pages of others may use the API."""

    heading: ClassVar = "TLS, hosts and other origins"

    tls_certificate: Path | None = Field(
        description="file with the certificate's chain in PEM; with it the server speaks HTTPS [none]", default=None
    )
    tls_key: Path | None = Field(
        description="file with the certificate's private key, if that is not in the same one", default=None
    )
    tls_key_password: SecretStr | None = Field(description="password of that key, if it has one", default=None)

    allowed_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(parse_hosts)] = Field(
        description="names that the server answers to, beside localhost, like a.example,b.example; * is any "
        "[none more, if it listens on this machine only and has no keys; else any]",
        default=(),
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(parse_origins)] = Field(
        description="origins whose pages may use the API, like https://a.example,https://b.example; * is all [none]",
        default=(),
    )


class RequestSettings(BaseModel):
    """Settings of what one request may ask for."""

    heading: ClassVar = "limits of a request"

    request_timeout: float = Field(
        description="seconds that an answer may take in all before it is cut off with 504; inf is no limit", gt=0
    )
    max_body_size: Annotated[Count, BeforeValidator(parse_bytes)] = Field(description="largest body, like 16MiB")
    max_sequences_per_request: Count = Field(description="its prompts times n")
    max_values_per_request: Count = Field(
        description="tokens of its prompts and outputs, and logprobs reported on them, in all"
    )
    max_stop_strings: int = Field(description="strings in `stop`", ge=0)
    max_logprobs: int = Field(description="alternatives reported beside a token", ge=0)


class TelemetrySettings(BaseModel):
    """Settings of what the server reports about itself."""

    heading: ClassVar = "logs and metrics"

    log_level: Literal["debug", "info", "warning", "error"] = Field(description="least severe message to log")
    log_format: LogFormat = Field(description="console: lines to read; json: an object a line")
    log_prompts: bool = Field(description="write prompts and answers into the log too")
    latency_buckets: Annotated[tuple[float, ...] | None, NoDecode, BeforeValidator(parse_buckets)] = Field(
        description="upper bounds of latency histograms, like 0.001,0.01,0.1,1 in seconds; auto suits each of them"
    )


class AccessSettings(BaseModel):
    """Settings of who may use the server, and how much."""

    heading: ClassVar = "keys and limits"

    api_keys: SecretStr | None = Field(
        description="keys that clients must bring, as name:key,name:key; without any the server is open", default=None
    )
    api_keys_file: Path | None = Field(
        description="file with more of them, one on a line, read again when it changes", default=None
    )
    metrics_key: SecretStr | None = Field(
        description="key that /metrics asks for; without it /metrics is open to all", default=None
    )
    admin_key: SecretStr | None = Field(
        description="key that the dashboard asks for; without it the dashboard is closed where there are api_keys",
        default=None,
    )
    requests_per_minute: Count | None = Field(
        description="requests to generate that each key may make; api_keys_file can say otherwise", default=None
    )
    tokens_per_minute: Count | None = Field(
        description="tokens of prompts and outputs that each key may use; as above", default=None
    )
    concurrent_requests: Count | None = Field(
        description="sequences (prompts times n) that each key may have open; as above", default=None
    )
    cache_sharing: Literal["key", "all"] = Field(
        description="whose requests may find the same cached blocks: those of one key, or of all keys"
    )


GROUPS = (
    ModelSettings,
    DeviceSettings,
    SchedulingSettings,
    ServerSettings,
    RequestSettings,
    AccessSettings,
    TlsSettings,
    ConnectionSettings,
    TelemetrySettings,
)

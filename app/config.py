"""Every setting, once: defaults in `config/default.toml`, then the environment, then the command line."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

ENV_PREFIX = "MILLRACE_"
PACKAGE = Path(__file__).parent
DEMO_MODEL = PACKAGE / "demo" / "model"

ENGINE_SETTINGS = (
    *("device", "dtype", "backend", "quantization", "threads", "max_model_len"),
    *("max_num_seqs", "max_num_batched_tokens", "block_size", "kv_cache_memory", "speculative"),
)

# An installed package carries the file inside; a checkout keeps it beside.
DEFAULTS = next(
    path for path in (PACKAGE / "default.toml", PACKAGE.parent / "config" / "default.toml") if path.exists()
)


class ConfigError(ValueError):
    """A setting is unknown or impossible; the message names it and says what would be valid."""


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


Count = Annotated[int, Field(gt=0)]
Bytes = Annotated[Count | None, BeforeValidator(parse_bytes)]


class Config(BaseSettings):
    """The whole configuration, frozen. A field's description is its help on the command line."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid", protected_namespaces=())

    model: str = Field(description="directory or hub id of the model; `demo` is the one in the package")
    revision: str | None = Field(description="branch, tag or commit on the hub", default=None)
    served_model_name: str | None = Field(description="name in the API [the model's own]", default=None)
    chat_template: Path | None = Field(description="file with a Jinja chat template to use instead", default=None)

    host: str = Field(description="address to listen on")
    port: int = Field(description="port to listen on; 0 picks a free one", ge=0, le=65535)
    max_queue: int = Field(description="waiting sequences beyond which requests get 429", ge=0)
    drain_seconds: float = Field(description="how long SIGTERM lets running streams finish", ge=0)
    step_timeout: float = Field(description="seconds without a step after which /health is 503", gt=0)
    seed: int | None = Field(description="makes the seeds drawn for requests without one repeatable", default=None)
    log_level: Literal["debug", "info", "warning", "error"] = Field(description="least severe message to log")

    device: str = Field(description="cuda, cuda:1, mps, cpu, or auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(description="of weights and cache")
    backend: Literal["auto", "native", "sdpa"] = Field(
        description="native: compiled kernels for Llama-like models on CPUs; sdpa: torch operators; auto picks"
    )
    quantization: Literal["none", "int8", "int4"] = Field(
        description="precision of the weights in memory; needs the native backend"
    )
    threads: Annotated[Count | None, BeforeValidator(parse_auto)] = Field(
        description="CPU threads of the engine; auto is one per core that the container may use"
    )
    max_model_len: Annotated[Count | None, BeforeValidator(parse_auto)] = Field(
        description="longest prompt and output together, in tokens; auto is what the model and the cache allow"
    )
    max_num_seqs: Count = Field(description="sequences that run at once")
    max_num_batched_tokens: Count = Field(description="most tokens computed per step")
    max_gap_seconds: float = Field(
        description="how long decoding streams should wait for a step that computes others' prompts", gt=0
    )
    block_size: Count = Field(description="tokens per block of the KV cache", multiple_of=8)
    speculative: Literal["off", "ngram"] = Field(
        description="ngram: guess tokens from what followed the same ones before, and check them in one step"
    )
    kv_cache_memory: Bytes = Field(description="size of the KV cache, like 2GiB; auto takes a share of what is free")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The command line wins over the environment, which wins over the file of defaults."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, DEFAULTS)

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise ValueError(
                f"max_num_batched_tokens ({self.max_num_batched_tokens}) is less than max_num_seqs "
                f"({self.max_num_seqs}): every running sequence needs a token of the budget in each step"
            )
        if self.chat_template is not None and not self.chat_template.is_file():
            raise ValueError(f"chat_template: there is no file {self.chat_template}")
        return self

    @property
    def engine_settings(self) -> dict[str, object]:
        """Those that the engine heeds; the others are about the model and the API."""
        return {name: getattr(self, name) for name in ENGINE_SETTINGS}

    @property
    def model_path(self) -> str:
        return str(DEMO_MODEL) if self.model == "demo" else self.model

    @property
    def model_name(self) -> str:
        """The name in the API: the given one, a directory's last part, or the hub id as it is."""
        if self.served_model_name:
            return self.served_model_name
        if self.model == "demo":
            return "millrace-demo"
        return Path(self.model).resolve().name if Path(self.model).is_dir() else self.model


def load_defaults() -> dict[str, object]:
    return tomllib.loads(DEFAULTS.read_text())


def load_config(overrides: dict[str, object]) -> Config:
    """Read the configuration. Raises ConfigError with one line per fault."""
    known = set(Config.model_fields)
    given = {key.removeprefix(ENV_PREFIX).lower() for key in os.environ if key.startswith(ENV_PREFIX)}
    if unknown := sorted(given - known):
        raise ConfigError("\n".join(_unknown(key, known) for key in unknown))
    try:
        return Config(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigError("\n".join(_describe(fault["loc"], fault["msg"]) for fault in error.errors())) from error


def _describe(location: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")
    return f"{'.'.join(map(str, location))}: {message}" if location else message


def _unknown(key: str, known: set[str]) -> str:
    closest = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean {ENV_PREFIX}{closest[0].upper()}?" if closest else f"known are {', '.join(sorted(known))}"
    return f"{ENV_PREFIX}{key.upper()} is not a setting; {hint}"

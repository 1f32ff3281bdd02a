"""Every setting, once: defaults in `config/default.toml`, then the environment, then the command line."""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Self

from pydantic import ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from app.setting_faults import describe
from app.settings import (
    ENV_PREFIX,
    AccessSettings,
    ConnectionSettings,
    DeviceSettings,
    ModelSettings,
    RequestSettings,
    SchedulingSettings,
    ServerSettings,
    TelemetrySettings,
    TlsSettings,
)

PACKAGE = Path(__file__).parent
DEMO_MODEL = PACKAGE / "demo" / "model"
NVIDIA_DRIVER = Path("/dev/nvidiactl")

ENGINE_SETTINGS = (
    *("device", "dtype", "backend", "enforce_eager", "quantization", "threads", "max_model_len"),
    *(
        "max_num_seqs",
        "max_num_batched_tokens",
        "block_size",
        "kv_cache_memory",
        "gpu_memory_utilization",
        "speculative",
        "overlap",
    ),
)

OF_CLIENTS = {"chat_api_key"}
"""Variables that `millrace chat` reads, and the server does not."""

CPU_LIMITS = {"max_num_seqs": 64, "max_num_batched_tokens": 512}
GPU_LIMITS = {"max_num_seqs": 256, "max_num_batched_tokens": 8192}
"""What `auto` is: a GPU is only busy with much at once."""

# An installed package carries the file inside; a checkout keeps it beside.
DEFAULTS = next(
    path for path in (PACKAGE / "default.toml", PACKAGE.parent / "config" / "default.toml") if path.exists()
)


class ConfigError(ValueError):
    """A setting is unknown or impossible; the message names it and says what would be valid."""


class Config(
    TelemetrySettings,
    ConnectionSettings,
    TlsSettings,
    AccessSettings,
    RequestSettings,
    ServerSettings,
    SchedulingSettings,
    DeviceSettings,
    ModelSettings,
    BaseSettings,
):
    """The whole configuration, frozen. Fields are in the order of the groups from the last to the first."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid", protected_namespaces=())

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

    @model_validator(mode="before")
    @classmethod
    def _limits_for_the_device(cls, values: dict[str, object]) -> dict[str, object]:
        chosen = GPU_LIMITS if runs_on_gpu(str(values.get("device"))) else CPU_LIMITS
        return values | {name: limit for name, limit in chosen.items() if values.get(name) == "auto"}

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise ValueError(
                f"max_num_batched_tokens ({self.max_num_batched_tokens}) is less than max_num_seqs "
                f"({self.max_num_seqs}): every running sequence needs a token of the budget in each step"
            )
        if self.overlap == "on" and self.speculative != "off":
            raise ValueError("overlap on: speculation needs the last tokens; use speculative off, or overlap auto")
        if self.model.startswith((".", "/", "~")) and not Path(self.model).is_dir():
            raise ValueError(f"model: there is no directory {self.model}")
        for name in ("chat_template", "tls_certificate", "tls_key"):
            if (file := getattr(self, name)) is not None and not file.is_file():
                raise ValueError(f"{name}: there is no file {file}")
        if self.tls_certificate is None and (self.tls_key or self.tls_key_password):
            raise ValueError("tls_key needs tls_certificate")
        return self

    @property
    def engine_settings(self) -> dict[str, object]:
        """Those that the engine reads; the others are about the model and the API."""
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


def runs_on_gpu(device: str) -> bool:
    """Whether the driver is there: torch, which knows for certain, takes seconds to import."""
    return device.startswith("cuda") or (device == "auto" and NVIDIA_DRIVER.exists())


def load_defaults() -> dict[str, object]:
    return tomllib.loads(DEFAULTS.read_text())


def load_config(overrides: dict[str, object]) -> Config:
    """Read the configuration. Raises ConfigError with one line per fault."""
    known = set(Config.model_fields)
    given = {key.removeprefix(ENV_PREFIX).lower() for key in os.environ if key.startswith(ENV_PREFIX)} - OF_CLIENTS
    if unknown := sorted(given - known):
        raise ConfigError("\n".join(_unknown(key, known) for key in unknown))
    try:
        return Config(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigError("\n".join(describe(fault, overrides) for fault in error.errors())) from error


def _unknown(key: str, known: set[str]) -> str:
    closest = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean {ENV_PREFIX}{closest[0].upper()}?" if closest else f"known are {', '.join(sorted(known))}"
    return f"{ENV_PREFIX}{key.upper()} is not a setting; {hint}"

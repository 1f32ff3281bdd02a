"""Reads from a model's files what concerns text: its tokenizer, end tokens, sampling defaults and chat template."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

from app.checkpoint.files import BadCheckpoint, read_json
from app.checkpoint.inspection import SLOW_TOKENIZERS

GENERATION_CONFIG, CONFIG = "generation_config.json", "config.json"
SAMPLING_FIELDS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")

Templates = str | dict[str, str]
"""A chat template, or several by name."""


class TokenizerError(ValueError):
    """The model has no usable tokenizer; the message says what to do."""


class ModelFiles:
    """The small files of a model in a directory or on the Hugging Face Hub, which are downloaded if needed."""

    def __init__(self, model: str, revision: str | None) -> None:
        self._model = model
        self._revision = revision

    def require_fast_tokenizer(self) -> None:
        """Raises TokenizerError if the model has no tokenizer.json, BadCheckpoint if there is no such model."""
        if self._find("tokenizer.json"):
            return
        if not Path(self._model).is_dir() and not self._find(CONFIG):
            raise BadCheckpoint(
                f"there is no directory {self._model!r}, and the hub has no such model or cannot be reached"
            )
        if any(self._find(name) for name in SLOW_TOKENIZERS):
            raise TokenizerError(
                f"{self._model!r} has only a slow tokenizer. Convert it: "
                "AutoTokenizer.from_pretrained(MODEL).save_pretrained(DIRECTORY) writes the tokenizer.json needed here."
            )
        raise TokenizerError(f"{self._model!r} has no tokenizer: there is no tokenizer.json.")

    def eos_token_ids(self) -> frozenset[int]:
        """The end tokens that the model was published with, found where transformers' `generate` finds them."""
        config = self.read(CONFIG)
        for name, said in (
            (GENERATION_CONFIG, self.read(GENERATION_CONFIG)),
            (CONFIG, config),
            (CONFIG, config.get("text_config") or {}),
        ):
            ids = said.get("eos_token_id")
            if ids is not None:
                return self._token_ids(name, ids)
        return frozenset()

    def num_rows(self) -> float:
        """The size of the model's own vocabulary (rows of its embedding); infinity if not in its configuration."""
        config = self.read(CONFIG)
        num_rows: float = config.get("vocab_size") or (config.get("text_config") or {}).get("vocab_size") or inf
        return num_rows

    def sampling_defaults(self) -> dict[str, float]:
        """The sampling settings that the model was published with, as request fields; only those that it specifies."""
        said = self.read(GENERATION_CONFIG)
        defaults = {name: said[name] for name in SAMPLING_FIELDS if said.get(name) is not None}
        if said.get("do_sample") is False:
            defaults["temperature"] = 0.0
        top_k = defaults.get("top_k")
        if isinstance(top_k, float) and top_k.is_integer():
            defaults["top_k"] = int(top_k)
        return defaults

    def processor_chat_template(self) -> Templates | None:
        """The template in chat_template.json, where the processors of image-text models used to keep it."""
        template = self.read("chat_template.json").get("chat_template")
        if template is None or isinstance(template, str):
            return template
        try:
            return {str(each["name"]): str(each["template"]) for each in template}
        except (TypeError, KeyError) as error:
            raise BadCheckpoint(
                f"chat_template.json of {self._model} must have its chat_template as text, or as a list of objects "
                "with name and template"
            ) from error

    def read(self, name: str) -> Mapping[str, Any]:
        """The content of a JSON file of the model; empty if there is no such file. Raises BadCheckpoint."""
        path = self._find(name)
        return read_json(Path(path)) if path else {}

    def _token_ids(self, name: str, ids: object) -> frozenset[int]:
        listed = ids if isinstance(ids, list) else [ids]
        if not all(type(token_id) is int for token_id in listed):
            raise BadCheckpoint(
                f"{name} of {self._model} has the eos_token_id {ids!r}; write a token id or a list of them"
            )
        return frozenset(listed)

    def _find(self, name: str) -> str | None:
        """The path of a file; None if the model has no such file."""
        from transformers.utils.hub import cached_file

        try:
            path: str | None = cached_file(
                self._model, name, revision=self._revision, _raise_exceptions_for_missing_entries=False
            )
        except OSError as error:
            why = " ".join(str(error).split())
            raise BadCheckpoint(
                f"there is no directory {self._model!r}, and it cannot be downloaded from the hub: {why}"
            ) from error
        return path

"""Reading a model's weights: all that the model needs, and none that are made up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel

from app.checkpoint.files import some_of
from app.model import attention
from app.model.loading.configuration import ModelFacts
from app.model.loading.support import UnsupportedModel, in_one_line
from app.model.transformers_internals import is_failed_conversion, loading_progress

logger = logging.getLogger("millrace.engine")

MAX_NAMES = 5
"""How many weights a message names."""


def load_model(
    directory: Path,
    facts: ModelFacts,
    dtype: torch.dtype,
    device: torch.device,
    report: Callable[[float], None] = lambda _: None,
) -> PreTrainedModel:
    """Read the weights (safetensors only) onto the device. `report` receives which share of them is read (0 to 1).

    Raises UnsupportedModel if they cannot be read, or do not belong to the configuration.
    """
    attention.register()
    try:
        with loading_progress(report):
            loaded, found = AutoModelForCausalLM.from_pretrained(
                directory,
                config=facts.config,
                dtype=dtype,
                attn_implementation=attention.NAME,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,  # they are reported below instead
                output_loading_info=True,
            )
        _check_complete(directory, **found)
        served: PreTrainedModel = loaded.eval().requires_grad_(False).to(device)
    except UnsupportedModel:
        raise
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        raise UnsupportedModel(_explain(directory, error)) from error
    return served


def _explain(directory: Path, error: Exception) -> str:
    if is_failed_conversion(error):
        return (
            f"the weights in {directory} do not fit its config.json: where the model holds several of them as one, as "
            "with experts, some are missing or of another shape; copy or download the model again"
        )
    return f"the weights in {directory} cannot be loaded: {in_one_line(error)}"


def _check_complete(
    directory: Path,
    missing_keys: Collection[str],
    unexpected_keys: Collection[str],
    mismatched_keys: Collection[tuple[str, torch.Size, torch.Size]],
    **_others: object,
) -> None:
    """Refuse a model whose files lack weights: transformers would put random numbers in their place.

    A weight that is tied to another one does not count as missing.
    """
    missing, unexpected = (some_of(sorted(names), MAX_NAMES) for names in (missing_keys, unexpected_keys))
    extra = f"; the files have {unexpected}, which it does not use" if unexpected_keys else ""
    if mismatched_keys:
        name, stored, wanted = min(mismatched_keys)
        others = f" (and {len(mismatched_keys) - 1} more)" if len(mismatched_keys) > 1 else ""
        raise UnsupportedModel(
            f"{directory}/config.json does not describe the weights beside it: {name}{others} has the shape "
            f"{tuple(stored)} in the files and {tuple(wanted)} by the configuration; use both of one model"
        )
    if missing_keys:
        tied = (
            ' (with "tie_word_embeddings": true if it has one matrix for both)'
            if "lm_head.weight" in missing_keys
            else ""
        )
        raise UnsupportedModel(
            f"the weights in {directory} are not all that config.json asks for: {missing} missing{extra}; "
            f"copy or download the model again, or use the config.json of the same model{tied}"
        )
    if unexpected_keys:
        logger.warning("the weights in %s have some that the model does not use: %s", directory, unexpected)

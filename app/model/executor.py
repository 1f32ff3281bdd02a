"""What an executor is: one way to run a model, with what it does not support and how it is built."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from transformers import PreTrainedModel

from app.model.cost import Stored, stored_plainly
from app.model.kv_cache import KVCache
from app.model.loading.configuration import ModelFacts
from app.model.runner import Decoder


@dataclass(frozen=True, slots=True)
class ModelSetup:
    """A model, and how it is to be run. `is_named`: the operator asked for this very executor, by its name."""

    facts: ModelFacts
    device: torch.device
    dtype: torch.dtype
    block_size: int
    quantization: str = "none"
    is_named: bool = False


class Executor(ABC):
    """One way to run models: an entry of the registry in `app.model.executors`.

    `device_types`: those it runs on, as torch names them; empty for any. `keeps_bfloat16`: on a CPU it is as fast in
    bfloat16 as in float32, or faster. `packs_weights`: building takes long, since it lays the weights out anew.
    `copies_context`: attention gathers what it reads, so that long contexts take memory in a step.
    """

    name: ClassVar[str]
    device_types: ClassVar[frozenset[str]] = frozenset()
    keeps_bfloat16: ClassVar[bool] = False
    packs_weights: ClassVar[bool] = False
    copies_context: ClassVar[bool] = False

    def runs_on(self, device: torch.device) -> bool:
        return not self.device_types or device.type in self.device_types

    @abstractmethod
    def unsupported_reason(self, setup: ModelSetup) -> str | None:
        """Why it cannot run this on a device that it runs on, and what would help; None if it can."""

    @abstractmethod
    def build(
        self,
        setup: ModelSetup,
        model: PreTrainedModel,
        cache: KVCache,
        max_model_len: int,
        report: Callable[[float], None],
    ) -> Decoder:
        """The model as a decoder over the cache, for sequences of up to `max_model_len` tokens.

        It may take the weights out of `model`. `report` receives which share of the work is done (0 to 1).
        Raises UnsupportedModel if the weights are not what the configuration promised.
        """

    def stored(self, dtype: torch.dtype, quantization: str) -> Stored:  # noqa: ARG002
        """How matrices lie in memory where this executor reads them."""
        return stored_plainly(dtype)

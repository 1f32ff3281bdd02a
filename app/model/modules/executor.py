"""The executor on transformers' own modules, which runs every model that is served."""

from __future__ import annotations

from collections.abc import Callable

from transformers import PreTrainedModel

from app.model.executor import Executor, ModelSetup
from app.model.kv_cache import KVCache
from app.model.modules.decoder import ModuleDecoder
from app.model.runner import Decoder


class ModuleExecutor(Executor):
    name = ModuleDecoder.name
    copies_context = True

    def unsupported_reason(self, setup: ModelSetup) -> str | None:
        return None if setup.quantization == "none" else "it does not quantise weights"

    def build(
        self,
        setup: ModelSetup,  # noqa: ARG002
        model: PreTrainedModel,
        cache: KVCache,
        max_model_len: int,  # noqa: ARG002
        report: Callable[[float], None],  # noqa: ARG002
    ) -> Decoder:
        return ModuleDecoder(model, cache)

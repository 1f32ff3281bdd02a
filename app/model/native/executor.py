"""The executor on compiled C kernels: Llama-like models on a CPU."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import torch
from transformers import PreTrainedModel

from app.model import llama_like
from app.model.cost import Stored
from app.model.executor import Executor, ModelSetup
from app.model.kv_cache import KVCache
from app.model.native.decoder import LANES, PANEL, NativeDecoder
from app.model.native.library import NoKernels, load_library
from app.model.native.structs import Matrix
from app.model.runner import Decoder


class NativeExecutor(Executor):
    name = NativeDecoder.name
    device_types = frozenset({"cpu"})
    keeps_bfloat16 = True
    packs_weights = True

    def unsupported_reason(self, setup: ModelSetup) -> str | None:
        if (reason := llama_like.unsupported_reason(setup.facts.config) or _misfit(setup)) is not None:
            return reason
        try:
            load_library(setup.dtype, setup.quantization)
        except NoKernels as error:
            return str(error)
        return None

    def build(
        self,
        setup: ModelSetup,
        model: PreTrainedModel,
        cache: KVCache,
        max_model_len: int,
        report: Callable[[float], None],
    ) -> Decoder:
        return NativeDecoder(load_library(setup.dtype, setup.quantization), model, cache, max_model_len, report)

    def stored(self, dtype: torch.dtype, quantization: str) -> Stored:
        return stored_by_kernels(load_library(dtype, quantization))


def stored_by_kernels(library: ctypes.CDLL) -> Stored:
    """Matrices as the compiled kernels pack them: padded, and quantised where the library does that."""

    def num_bytes(outputs: int, inputs: int, is_head: bool) -> int:
        matrix = Matrix(inputs=library.packed_inputs(inputs, is_head), columns=-(-outputs // PANEL) * PANEL)
        packed: int = library.packed_bytes(ctypes.byref(matrix), is_head)
        return packed

    return num_bytes


def _misfit(setup: ModelSetup) -> str | None:
    """Which size of the model or its cache does not fill the kernels' vectors."""
    config = setup.facts.config
    for layer in setup.facts.layers:
        if layer.key_size != layer.value_size:
            return f"its keys have size {layer.key_size} and its values {layer.value_size}"
    sizes = [
        ("its hidden size", config.hidden_size, PANEL, ""),
        ("its intermediate size", config.intermediate_size, LANES, ""),
        *(("its head size", layer.key_size, LANES, "") for layer in setup.facts.layers),
        ("the block size", setup.block_size, LANES, f" (--block-size {LANES})"),
    ]
    for name, size, unit, remedy in sizes:
        if size % unit:
            return f"{name} is {size}, and the kernels need a multiple of {unit}{remedy}"
    return None

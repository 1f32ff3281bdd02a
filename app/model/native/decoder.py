"""A Llama-like decoder run by compiled kernels instead of torch's operators.

On a CPU, small models are bound by the overhead of Python and dispatch per operator, large ones by how fast the weights
are read. Here a step is one call, the weights are packed in the order in which they are read, and the cache is read in
place.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from app.model.inputs import ForwardBatch
from app.model.kv_cache import KVCache
from app.model.llama_like import check_weights, rotary_tables
from app.model.native import structs
from app.model.native.huge_pages import HugePages
from app.model.sampling.columns import build_columns
from app.scheduler.batch import Sampled

CHUNK = 512
LANES = 16
PANEL = 32
MAX_QUERIES = 32


class NativeDecoder:
    """Owns the packed weights and the buffers of a step.

    It takes the layers out of its model one by one, so that there are never two copies of all weights in memory.
    """

    name = "native"

    def __init__(
        self,
        library: ctypes.CDLL,
        model: PreTrainedModel,
        cache: KVCache,
        max_model_len: int,
        report: Callable[[float], None] = lambda _: None,
    ) -> None:
        """`report` receives which share of the layers is packed (0 to 1). Raises UnsupportedModel if quantised."""
        check_weights(model, cache.dtype)
        self._library = library
        self._weights: list[torch.Tensor] = []
        self._pages = HugePages()
        self._cache = cache
        self._buffers: dict[str, torch.Tensor] = {}
        self._vocab_size: int = model.config.vocab_size
        self._max_model_len = max_model_len
        self._model = self._pack_model(model, report)
        self._decoder = ctypes.c_void_p(library.create(ctypes.byref(self._model)))
        if not self._decoder:
            raise MemoryError("the decoder's threads cannot be started")
        layer = self._model.layers[0]
        self._widths = {
            "residual": self._model.hidden,
            "normed": self._model.hidden,
            "qkv": layer.qkv.columns,
            "attended": self._model.num_heads * self._model.head_size,
            "activated": self._model.intermediate,
        }
        of_layers = (layer.qkv, layer.output, layer.gate_up, layer.down)
        self._operand_row_bytes = max(
            *(library.operand_row_bytes(ctypes.byref(matrix), False) for matrix in of_layers),
            library.operand_row_bytes(ctypes.byref(self._model.head), True),
        )

    @property
    def weight_bytes(self) -> int:
        return sum(weight.nbytes for weight in self._weights)

    def forward(self, batch: ForwardBatch) -> torch.Tensor:
        """Float32 logits `[num_logits, vocab]` of one step, whose keys and values it stores in the cache."""
        num_tokens, num_logits = len(batch.input_ids), len(batch.logits_indices)
        scores_stride = _scores_stride(int(batch.seq_lens.max()))
        logits = torch.empty(num_logits, self._model.head.columns)
        step = structs.Step(
            num_tokens=num_tokens,
            num_rows=len(batch.block_tables),
            num_logits=num_logits,
            tables_stride=batch.block_tables.shape[1],
            input_ids=batch.input_ids.data_ptr(),
            positions=batch.positions.data_ptr(),
            slots=batch.slot_mapping.data_ptr(),
            cu_seqlens=batch.cu_seqlens_q.ctypes.data,
            tables=batch.block_tables.ctypes.data,
            logits_indices=batch.logits_indices.data_ptr(),
            operand=self._buffer("operand", num_tokens * self._operand_row_bytes, torch.uint8),
            scores=self._buffer("scores", self._model.num_threads * MAX_QUERIES * scores_stride, torch.float32),
            scores_stride=scores_stride,
            tiles=self._buffer("tiles", (num_tokens + num_logits) * ctypes.sizeof(structs.Tile), torch.uint8),
            logits=logits.data_ptr(),
            wanted=self._buffer("wanted", num_logits * self._model.hidden, torch.float32),
            **{name: self._buffer(name, num_tokens * width, torch.float32) for name, width in self._widths.items()},
        )
        self._library.forward(self._decoder, ctypes.byref(step))
        return logits[:, : self._vocab_size]

    def sample(self, logits: torch.Tensor, sequences: list[Sampled]) -> torch.Tensor:
        """The `Sampler` for float32 logits whose rows may have any stride."""
        num_rows, vocab_size = logits.shape
        token_ids = torch.empty(num_rows, dtype=torch.int64)
        room = -(-vocab_size // CHUNK) * CHUNK + LANES
        sampling = structs.Sampling(
            num_rows=num_rows,
            vocab_size=vocab_size,
            stride=logits.stride(0),
            room=room,
            logits=logits.data_ptr(),
            weights=self._buffer("weights", self._model.num_threads * 2 * room, torch.float32),
            token_ids=token_ids.data_ptr(),
        )
        if any(sequence.params.temperature for sequence in sequences):
            draws = build_columns(sequences, vocab_size)
            sampling.draws = draws.ctypes.data
        self._library.sample_tokens(self._decoder, ctypes.byref(sampling))
        return token_ids

    def _buffer(self, name: str, size: int, dtype: torch.dtype) -> int:
        """The address of a buffer of at least `size` elements, which is kept between steps."""
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[name] = torch.empty(size, dtype=dtype)
        return buffer.data_ptr()

    def _pack_model(self, model: Any, report: Callable[[float], None]) -> structs.Model:
        config, decoder = model.config, model.model
        cosines, sines = rotary_tables(model, self._max_model_len)
        attention = decoder.layers[0].self_attn
        tied = model.lm_head.weight is decoder.embed_tokens.weight
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            head = pool.submit(self._pack, model.lm_head.weight, model.lm_head.bias, is_head=True)
            layers = []
            for layer in pool.map(partial(self._take_layer, decoder.layers), range(len(decoder.layers))):
                layers.append(layer)
                report(len(layers) / len(decoder.layers))
        return structs.Model(
            num_layers=len(layers),
            hidden=config.hidden_size,
            num_heads=config.num_attention_heads,
            num_kv_heads=config.num_key_value_heads,
            head_size=attention.head_dim,
            intermediate=config.intermediate_size,
            block_size=self._cache.block_size,
            num_threads=torch.get_num_threads(),
            epsilon=config.rms_norm_eps,
            scale=attention.scaling,
            layers=(structs.Layer * len(layers))(*layers),
            embedding=None if tied else self._keep(decoder.embed_tokens.weight),
            final_norm=self._keep(decoder.norm.weight.float()),
            cosines=self._keep(cosines),
            sines=self._keep(sines),
            head=head.result(),
        )

    def _take_layer(self, layers: nn.ModuleList, index: int) -> structs.Layer:
        layer: Any = layers[index]
        layers[index] = nn.Identity()
        attention, mlp = layer.self_attn, layer.mlp
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        biases = [projection.bias for projection in projections if projection.bias is not None]
        shape = (-1, LANES, mlp.gate_proj.in_features)
        gate, up = mlp.gate_proj.weight.view(shape), mlp.up_proj.weight.view(shape)
        return structs.Layer(
            qkv=self._pack(
                torch.cat([projection.weight for projection in projections]), torch.cat(biases) if biases else None
            ),
            output=self._pack(attention.o_proj.weight, attention.o_proj.bias),
            gate_up=self._pack(torch.stack((gate, up), dim=1).flatten(0, 2), None),
            down=self._pack(mlp.down_proj.weight, None),
            input_norm=self._keep(layer.input_layernorm.weight.float()),
            post_norm=self._keep(layer.post_attention_layernorm.weight.float()),
            query_norm=self._keep_norm(getattr(attention, "q_norm", None)),
            key_norm=self._keep_norm(getattr(attention, "k_norm", None)),
            keys=self._cache.keys[index].data_ptr(),
            values=self._cache.values[index].data_ptr(),
            window=self._cache.layers[index].window or 0,
        )

    def _pack(self, weight: torch.Tensor, bias: torch.Tensor | None, is_head: bool = False) -> structs.Matrix:
        """Pack `[outputs, inputs]` weights in the order and the precision in which they will be read."""
        outputs, inputs = weight.shape
        columns = -(-outputs // PANEL) * PANEL
        padded_bias = None if bias is None else nn.functional.pad(bias.float(), (0, columns - outputs))
        matrix = structs.Matrix(
            bias=None if padded_bias is None else self._keep(padded_bias),
            inputs=self._library.packed_inputs(inputs, is_head),
            columns=columns,
        )
        matrix.data = self._keep(self._pages.take(self._library.packed_bytes(ctypes.byref(matrix), is_head)))
        weights = ctypes.c_void_p(weight.contiguous().data_ptr())
        self._library.pack(ctypes.byref(matrix), weights, outputs, inputs, is_head)
        return matrix

    def _keep_norm(self, norm: Any) -> int | None:
        return None if norm is None else self._keep(norm.weight.float())

    def _keep(self, tensor: torch.Tensor) -> int:
        """The address of a contiguous copy of a tensor, or of the tensor itself, that lives as long as this object."""
        kept = tensor.detach().contiguous()
        self._weights.append(kept)
        return kept.data_ptr()


def _scores_stride(num_keys: int) -> int:
    """Floats for a row of scores and 16 more: an odd number of cache lines, so that rows do not collide in it."""
    return (-(-num_keys // LANES) + 1 | 1) * LANES

"""The products of the compiled kernels, with AMX and without: rows alone and together, broken weights, and a system
that refuses AMX."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as tf

from app.messages import SamplingParams
from app.model.inputs import ForwardBatch, build_forward_batch
from app.model.kv_cache import KVCache
from app.model.loading.tracing import trace_layers
from app.model.native import compiler, library
from app.model.native.decoder import NativeDecoder
from app.scheduler.block_pool import BlockPool
from app.scheduler.scheduler import Scheduler
from app.scheduler.sequence import Sequence

CPU = torch.device("cpu")
BLOCK_SIZE = 16
VOCAB_SIZE = 1100
MAX_ROWS = 70
"""More than twice what the tallest tile holds."""
NUM_BLOCKS = 2 * MAX_ROWS
"""One for each row, and one for it to grow into."""
PRECISIONS = [(torch.float32, "none"), (torch.bfloat16, "none"), (torch.bfloat16, "int8"), (torch.bfloat16, "int4")]
in_every_precision = pytest.mark.parametrize(
    ("dtype", "quantization"), PRECISIONS, ids=[f"{dtype}-{q}".removeprefix("torch.") for dtype, q in PRECISIONS]
)


def make_model(dtype: torch.dtype) -> tf.LlamaForCausalLM:
    """Inputs of several blocks and tiles, and not of whole ones; gates and words enough for two threads to read several
    panels side by side, and a few over."""
    torch.manual_seed(0)
    config = tf.LlamaConfig(
        hidden_size=352,
        intermediate_size=720,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        vocab_size=VOCAB_SIZE,
        attention_bias=True,
    )
    return tf.LlamaForCausalLM(config).to(dtype).eval()


def make_decoder(model: tf.LlamaForCausalLM, quantization: str) -> NativeDecoder:
    dtype = model.dtype
    kernels = library.load_library(dtype, quantization)
    cache = KVCache(trace_layers(model.config), NUM_BLOCKS, BLOCK_SIZE, dtype, CPU)
    return NativeDecoder(kernels, model, cache, 128)


def make_batch() -> ForwardBatch:
    """As many sequences as there can be, each of one token of its own."""
    scheduler = Scheduler(BlockPool(NUM_BLOCKS), BLOCK_SIZE, MAX_ROWS, 512)
    for token_id in range(MAX_ROWS):
        scheduler.add(Sequence(token_id, [token_id], SamplingParams(1)))
    return build_forward_batch(scheduler.schedule(), BLOCK_SIZE, CPU)


def rows_of(batch: ForwardBatch, first: int, end: int) -> ForwardBatch:
    rows, count = slice(first, end), end - first
    return replace(
        batch,
        packed=np.concatenate((batch.columns[:, rows].ravel(), np.arange(count))),
        num_decode_rows=count,
        cu_seqlens_q=np.arange(count + 1, dtype=np.int32),
        seq_lens=batch.seq_lens[rows],
        block_tables=batch.block_tables[rows],
    )


@in_every_precision
@pytest.mark.usefixtures("_with_and_without_amx")
def test_each_of_any_number_of_rows_is_bit_for_bit_what_it_is_alone(dtype: torch.dtype, quantization: str) -> None:
    decoder = make_decoder(make_model(dtype), quantization)
    batch = make_batch()
    alone = torch.cat([decoder.forward(rows_of(batch, row, row + 1)) for row in range(MAX_ROWS)])
    assert len(alone.unique(dim=0)) == MAX_ROWS
    for count in range(1, MAX_ROWS + 1):
        assert torch.equal(decoder.forward(rows_of(batch, 0, count)), alone[:count]), count


@in_every_precision
@pytest.mark.usefixtures("_with_and_without_amx")
def test_a_weight_that_is_not_a_number_is_seen_in_what_it_is_multiplied_into(
    dtype: torch.dtype, quantization: str
) -> None:
    """Integers know no NaN: a broken weight must not be packed as a plausible one."""
    batch = make_batch()
    for name in ("self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"):
        model = make_model(dtype)
        with torch.no_grad():
            model.get_submodule(f"model.layers.1.{name}").get_parameter("weight")[5, 10] = torch.nan
        assert not make_decoder(model, quantization).forward(batch).isfinite().any(), name
    model = make_model(dtype)
    with torch.no_grad():
        model.lm_head.weight[40, 300] = torch.nan
    finite = make_decoder(model, quantization).forward(batch).isfinite()
    assert not finite[:, 40].any()
    assert finite[:, torch.arange(VOCAB_SIZE) != 40].all()


REFUSED = """
import ctypes, errno, struct
# Linux' seccomp: arch_prctl(ARCH_REQ_XCOMP_PERM) fails as it does in a sandbox that does not let AMX through.
LOAD, JUMP_IF_EQUAL, RETURN, ALLOW, FAIL = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050000 | errno.EPERM
steps = [(LOAD, 0, 0, 0), (JUMP_IF_EQUAL, 0, 3, 158), (LOAD, 0, 0, 16), (JUMP_IF_EQUAL, 0, 1, 0x1023),
         (RETURN, 0, 0, FAIL), (RETURN, 0, 0, ALLOW)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0, "no new privileges"
if libc.prctl(22, 2, program):
    raise SystemExit("no seccomp")

import torch
from app.model.native import compiler
from tests.test_native_products import make_batch, make_decoder, make_model
assert not compiler.processor_flags() & compiler.AMX
torch.save(make_decoder(make_model(torch.bfloat16), "int8").forward(make_batch()), {path!r})
"""


@pytest.mark.skipif(not compiler.processor_flags() >= compiler.AMX, reason="this processor has no AMX")
def test_under_a_system_that_refuses_amx_vectors_multiply(tmp_path: Path) -> None:
    """An instruction of AMX would end the process. Sums of integers are exact, so that the numbers are the same."""
    path = tmp_path / "logits"
    ended = subprocess.run(
        [sys.executable, "-c", REFUSED.format(path=str(path))], capture_output=True, text=True, timeout=120
    )
    if ended.stderr.strip() == "no seccomp":
        pytest.skip("this system filters no system calls")
    assert ended.returncode == 0, ended.stderr
    assert torch.equal(torch.load(path), make_decoder(make_model(torch.bfloat16), "int8").forward(make_batch()))

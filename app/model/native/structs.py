"""The structures of `decoder.c` and its headers, field by field; loading compares them with the compiler's layout."""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_float, c_int32, c_int64, c_void_p
from itertools import count, takewhile

from app.model.sampling.columns import COLUMNS


class Matrix(ctypes.Structure):
    _fields_ = (("data", c_void_p), ("bias", c_void_p), ("inputs", c_int32), ("columns", c_int32))


class Layer(ctypes.Structure):
    _fields_ = (
        ("qkv", Matrix),
        ("output", Matrix),
        ("gate_up", Matrix),
        ("down", Matrix),
        ("input_norm", c_void_p),
        ("post_norm", c_void_p),
        ("query_norm", c_void_p),
        ("key_norm", c_void_p),
        ("keys", c_void_p),
        ("values", c_void_p),
        ("window", c_int64),
    )


class Model(ctypes.Structure):
    _fields_ = (
        *((name, c_int32) for name in ("num_layers", "hidden", "num_heads", "num_kv_heads", "head_size")),
        *((name, c_int32) for name in ("intermediate", "block_size", "num_threads")),
        ("epsilon", c_float),
        ("scale", c_float),
        ("layers", ctypes.POINTER(Layer)),
        ("embedding", c_void_p),
        ("final_norm", c_void_p),
        ("cosines", c_void_p),
        ("sines", c_void_p),
        ("head", Matrix),
    )


class Tile(ctypes.Structure):
    _fields_ = tuple((name, c_int32) for name in ("row", "begin", "count", "to"))


class Step(ctypes.Structure):
    _fields_ = (
        *((name, c_int32) for name in ("num_tokens", "num_rows", "num_logits", "tables_stride")),
        *((name, c_void_p) for name in ("input_ids", "positions", "slots", "cu_seqlens", "tables", "logits_indices")),
        *((name, c_void_p) for name in ("residual", "normed", "qkv", "attended", "activated", "wanted")),
        ("operand", c_void_p),
        ("scores", c_void_p),
        ("scores_stride", c_int64),
        ("tiles", c_void_p),
        ("logits", c_void_p),
    )


class Sampling(ctypes.Structure):
    _fields_ = (
        *((name, c_int32) for name in ("num_rows", "vocab_size", "stride", "room")),
        *((name, c_void_p) for name in ("logits", "draws", "weights", "token_ids")),
    )


class Draw(ctypes.Structure):
    """A row of `SamplingColumns`, as its matrix lies in memory."""

    _fields_ = tuple((name, c_float) for name in COLUMNS)


MIRRORED: tuple[type[ctypes.Structure], ...] = (Matrix, Layer, Model, Tile, Step, Sampling, Draw)


class FieldLayout(ctypes.Structure):
    """Where the compiler put a field, `Step.slots`, or a whole structure, `Step`, in bytes."""

    _fields_ = (("name", c_char_p), ("offset", c_int64), ("size", c_int64))


class LayoutMismatch(RuntimeError):
    """The compiled structures differ from these: every field after a difference would be read as another one."""


def check_layouts(library: ctypes.CDLL) -> None:
    """Compare all offsets and sizes with the compiler's (`layout.h`). Raises LayoutMismatch, naming what differs."""
    compiled, written = _compiled_layouts(library), _written_layouts()
    differing = [
        f"{name} has (offset, size) {written.get(name)} in structs.py and {compiled.get(name)} in the compiled kernels"
        for name in {**written, **compiled}
        if written.get(name) != compiled.get(name)
    ]
    if differing:
        raise LayoutMismatch("; ".join(differing))


def _compiled_layouts(library: ctypes.CDLL) -> dict[str, tuple[int, int]]:
    library.field_layout.restype = ctypes.POINTER(FieldLayout)
    found = takewhile(bool, map(library.field_layout, count()))
    layouts = [pointer.contents for pointer in found]
    return {layout.name.decode(): (layout.offset, layout.size) for layout in layouts}


def _written_layouts() -> dict[str, tuple[int, int]]:
    layouts = {}
    for structure in MIRRORED:
        layouts[structure.__name__] = (0, ctypes.sizeof(structure))
        for name in [field[0] for field in structure._fields_]:
            field = getattr(structure, name)
            layouts[f"{structure.__name__}.{name}"] = (field.offset, field.size)
    return layouts

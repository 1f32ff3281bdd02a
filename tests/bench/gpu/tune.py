"""Which tiles are fastest on this device, as the file that is to be `app/model/triton/tuned.json`."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import median

import torch

from app.model.triton import tiling
from app.model.triton.tiling import Kind, Shape
from tests.bench.gpu.figures import Figure, Tell
from tests.bench.gpu.layer import Layer
from tests.bench.gpu.scale import Scale

HEAD_SIZES = (128, 64, 256)
GROUP = 4
PROGRAMS = (1, 2, 4, 8, 16)


def measure(scale: Scale, tell: Tell) -> None:
    """Each candidate for each kind and head size, by decreasing use; what does not compile is told and left out."""
    scale.needs_triton()
    for size, kind in product(HEAD_SIZES, tiling.SHAPES):
        layer = layer_of(scale, kind, size)
        shapes = tiling.SHAPES[kind]
        before = shapes[size]
        times = time_shapes(scale, layer, kind, size, [before, *candidates(scale, kind)])
        shapes[size] = min(times, key=lambda shape: times[shape])
        gain = times[before] / times[shapes[size]]
        tell(Figure("tune", f"{kind}, head size {size}: {shapes[size]}", (gain,), "times", note="as fast as before"))
        write(scale, scale.out)
    tune_programs(scale, tell)
    write(scale, scale.out)


def layer_of(scale: Scale, kind: Kind, size: int) -> Layer:
    rows, queries, context = (64, 1, 4096) if kind == "decode" else (1, 4096, 4096)
    return Layer(8 * GROUP, 8, size, scale.of(rows, 1), scale.of(queries, min(queries, 5)), scale.of(context, 20))


def candidates(scale: Scale, kind: Kind) -> Iterator[Shape]:
    if scale.smoke:
        yield Shape(16, 32, 4, 2)
    elif kind == "decode":
        yield from (Shape(16, *rest) for rest in product([32, 64, 128], [2, 4, 8], [2, 3, 4]))
    else:
        yield from (Shape(*parts) for parts in product([64, 128], [32, 64, 128], [4, 8], [2, 3]))


def time_shapes(scale: Scale, layer: Layer, kind: Kind, size: int, shapes: list[Shape]) -> dict[Shape, float]:
    """Seconds of the layer's attention with each of them."""
    from triton.errors import TritonError

    attend, before, times = layer.make(scale), tiling.SHAPES[kind][size], {}
    for shape in shapes:
        tiling.SHAPES[kind][size] = shape
        try:
            times[shape] = median(scale.times(attend))
        except (TritonError, RuntimeError) as error:
            print(f"{kind}, head size {size}, {shape}: {type(error).__name__}: {error}", flush=True)
    tiling.SHAPES[kind][size] = before
    return times


def tune_programs(scale: Scale, tell: Tell) -> None:
    """Into how many programs few rows are divided."""
    num_heads, context = 8 * GROUP, scale.of(16_384, 40)
    layers = [Layer(num_heads, 8, 128, rows, 1, context) for rows in (1, 4, 16)]
    runs = [layer.make(scale) for layer in layers[: scale.of(3, 1)]]
    times = {}
    for tiling.PROGRAMS_PER_CORE in PROGRAMS[: scale.of(len(PROGRAMS), 1)]:
        times[tiling.PROGRAMS_PER_CORE] = sum(median(scale.times(run)) for run in runs)
    tiling.PROGRAMS_PER_CORE = min(times, key=lambda programs: times[programs])
    tell(Figure("tune", "programs per multiprocessor", (float(tiling.PROGRAMS_PER_CORE),), ""))


def write(scale: Scale, directory: Path) -> None:
    on = "a CPU" if scale.smoke else torch.cuda.get_device_name()
    fields = [field.name for field in dataclasses.fields(Shape)]
    shapes = {
        kind: {str(size): list(dataclasses.astuple(shape)) for size, shape in sizes.items()}
        for kind, sizes in tiling.SHAPES.items()
    }
    lines = {
        "found_on": f"{on}, {datetime.date.today()}, by tests/bench/gpu/tune.py",
        "shape": fields,
        **shapes,
        "programs_per_core": tiling.PROGRAMS_PER_CORE,
    }
    text = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in lines.items())
    (directory / "tuned.json").write_text(f"{{\n{text}\n}}\n")

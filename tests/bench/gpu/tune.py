"""Which tiles are fastest on this device, as the file that is to be `app/model/triton/tuned.json`."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import torch

from app.model.triton import tiling
from app.model.triton.tiling import FEW_ROWS, ONE_ROW, ProductTiling, Shape
from tests.bench.gpu.figures import Figure, Tell
from tests.bench.gpu.layer import Layer
from tests.bench.gpu.product import Product
from tests.bench.gpu.scale import Scale
from tests.bench.gpu.side_by_side import side_by_side

PROGRAMS = (1, 2, 4, 8)
HEAD_SIZE = 128
"""Nearly all models have it; tiles for others are chosen after its."""
Choice = tuple[str, int, Shape | ProductTiling]
"""A kind, the size that it is for, and tiles."""


def prepare(scale: Scale, tell: Tell) -> None:
    """Compile every candidate, so that it is found on disk when it is timed."""
    scale.needs_triton()
    asked = [*all_choices(scale)]
    failed = sum(side_by_side(scale, partial(fails, scale), asked))
    tell(Figure("prepare", "candidates that do not fit the device", (float(failed),), f"of {len(asked)}"))


def measure(scale: Scale, tell: Tell) -> None:
    """Each candidate for each kind and size; what does not compile is left out."""
    scale.needs_triton()
    choices: dict[tuple[str, int], list[Shape | ProductTiling]] = {}
    for kind, size, candidate in all_choices(scale):
        choices.setdefault((kind, size), []).append(candidate)
    for (kind, size), candidates in choices.items():
        table = table_of(kind)
        before = table[size]
        times = {c: time for c in candidates if (time := time_of(scale, (kind, size, c))) is not None}
        table[size] = min(times, key=lambda candidate: times[candidate])
        what = f"{kind}, {size}: {', '.join(map(str, dataclasses.astuple(table[size])))}"
        tell(Figure("tune", what, (times[before] / times[table[size]],), "times", note="as fast as before"))
        write(scale, scale.out)
    tune_programs(scale, tell)
    write(scale, scale.out)


def table_of(kind: str) -> dict[int, Any]:
    tables: Mapping[str, dict[int, Any]] = {**tiling.SHAPES, **tiling.PRODUCTS}
    return tables[kind]


def all_choices(scale: Scale) -> Iterator[Choice]:
    """Those in use come first of their kind and size."""
    kinds: dict[str, Callable[[], Iterator[Any]]] = {
        ONE_ROW: one_row_candidates,
        FEW_ROWS: few_rows_candidates,
        "decode_few": decode_candidates,
        "decode": decode_candidates,
        "prefill": prefill_candidates,
    }
    for kind, candidates in kinds.items():
        for size in [size for size in table_of(kind) if kind not in tiling.SHAPES or size == HEAD_SIZE]:
            before = table_of(kind)[size]
            yield kind, size, before
            yield from ((kind, size, other) for other in scale.few(candidates()) if other != before)


def one_row_candidates() -> Iterator[ProductTiling]:
    for tile_n, tile_k, warps in product([1, 2, 4, 8, 16], [512, 1024, 2048], [2, 4, 8]):
        if 16 <= tile_n * tile_k // (32 * warps) <= 64:
            yield ProductTiling(tile_n, tile_k, warps, 1)


def few_rows_candidates() -> Iterator[ProductTiling]:
    yield from (ProductTiling(*rest, 4, stages) for *rest, stages in product([16, 32, 64], [128, 256], [3, 4]))


def decode_candidates() -> Iterator[Shape]:
    yield from (Shape(16, *rest) for rest in product([16, 32, 64, 128], [1, 2, 4], [2, 3, 4]))


def prefill_candidates() -> Iterator[Shape]:
    yield from (Shape(*parts) for parts in product([64, 128], [64, 128], [4, 8], [2, 3]))


def runs_of(scale: Scale, kind: str, size: int) -> list[Callable[[], torch.Tensor]]:
    """What a choice is judged by."""
    if kind in tiling.SHAPES:
        return [layer.make(scale) for layer in layers_of(scale, kind, size)]
    num_rows = 1 if kind == ONE_ROW else 8
    return [made.make(scale, num_rows) for made in scale.few(PRODUCTS[size])]


PRODUCTS = {
    2048: [Product(1024, 2048), Product(1024, 3072)],
    8192: [Product(4096, 1024, True), Product(3072, 1024, True, True), Product(4096, 4096), Product(4096, 14_336)],
    1_000_000: [Product(14_336, 4096, True, True), Product(151_936, 1024, True)],
}
"""By the number of a matrix's rows: those of the 0.6B and of the 8B."""


def layers_of(scale: Scale, kind: str, size: int) -> list[Layer]:
    judged = {
        "decode_few": [(1, 1, 1024), (1, 1, 8192), (8, 1, 2048)],
        "decode": [(64, 1, 1024), (256, 1, 64), (256, 1, 256), (17, 1, 8192)],
        "prefill": [(1, 8192, 8192), (16, 512, 512)],
    }
    return [
        Layer(32, 8, size, scale.of(rows, 1), scale.of(queries, min(queries, 5)), scale.of(context, 20))
        for rows, queries, context in scale.few(judged[kind])
    ]


def with_choice(choice: Choice, run: Callable[[], Any]) -> Any:
    """None where the choice does not fit the device."""
    from triton.errors import TritonError

    kind, size, candidate = choice
    table = table_of(kind)
    before = table[size]
    table[size] = candidate
    try:
        return run()
    except (TritonError, RuntimeError) as error:
        print(f"{choice}: {type(error).__name__}: {str(error)[:200]}", flush=True)
        return None
    finally:
        table[size] = before


def fails(scale: Scale, choice: Choice) -> bool:
    def run_all() -> bool:
        for run in runs_of(scale, choice[0], choice[1]):
            run()
        return True

    return with_choice(choice, run_all) is None


def time_of(scale: Scale, choice: Choice) -> float | None:
    """Geometric mean of the seconds of all that it is judged by."""

    def time_all() -> float:
        runs = runs_of(scale, choice[0], choice[1])
        return geometric_mean([median(scale.times(scale.recorded(run), at_least=0.004)) for run in runs])

    seconds: float | None = with_choice(choice, time_all)
    return seconds


def tune_programs(scale: Scale, tell: Tell) -> None:
    """Into how many programs few rows are divided."""
    layers = [Layer(heads, 8, 128, rows, 1, scale.of(context, 40)) for heads in (16, 32) for rows, context in FEW]
    times = {}
    for tiling.PROGRAMS_PER_CORE in scale.few(PROGRAMS):
        runs = [scale.recorded(layer.make(scale)) for layer in scale.few(layers)]
        times[tiling.PROGRAMS_PER_CORE] = geometric_mean([median(scale.times(run)) for run in runs])
    tiling.PROGRAMS_PER_CORE = min(times, key=lambda programs: times[programs])
    told = ", ".join(f"{programs}: {1e6 * time:.3g} us" for programs, time in times.items())
    tell(Figure("tune", "programs per multiprocessor", (float(tiling.PROGRAMS_PER_CORE),), "", note=told))


FEW = ((1, 1024), (1, 16_384), (4, 2048), (16, 1024))


def write(scale: Scale, directory: Path) -> None:
    on = "a CPU" if scale.smoke else torch.cuda.get_device_name()
    lines: dict[str, Any] = {"found_on": f"{on}, {datetime.date.today()}, by tests/bench/gpu/tune.py"}
    for name, fields, tables in (("shape", Shape, tiling.SHAPES), ("product", ProductTiling, tiling.PRODUCTS)):
        lines[name] = [field.name for field in dataclasses.fields(fields)]
        lines |= {
            kind: {str(size): list(dataclasses.astuple(chosen)) for size, chosen in sizes.items()}
            for kind, sizes in tables.items()
        }
    lines["programs_per_core"] = tiling.PROGRAMS_PER_CORE
    text = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in lines.items())
    (directory / "tuned.json").write_text(f"{{\n{text}\n}}\n")

"""The most likely token; and draws from any number of most likely tokens, by searching their threshold, not by sorting.

Positive floats keep their order when read as integers, so the threshold is found bit by bit: by how many tokens, or how
much probability mass, are above a candidate.
"""

from __future__ import annotations

import triton
import triton.language as tl

from app.model.sampling.columns import COLUMNS

# Indices into a row of SamplingColumns.
NUM_COLUMNS: tl.constexpr = tl.constexpr(len(COLUMNS))
TOP_K: tl.constexpr = tl.constexpr(COLUMNS.index("top_k"))
TOP_P: tl.constexpr = tl.constexpr(COLUMNS.index("top_p"))
MIN_P: tl.constexpr = tl.constexpr(COLUMNS.index("min_p"))
UNIFORM: tl.constexpr = tl.constexpr(COLUMNS.index("uniform"))


@triton.jit
def first_of_largest(values, tokens, VOCAB: tl.constexpr):
    """The largest value, and the first token that has it."""
    largest = tl.max(values, 0)
    return largest, tl.min(tl.where(values == largest, tokens, VOCAB), 0)


@triton.jit(do_not_specialize=["num_parts"])
def most_likely_kernel(
    logits,  # [num_rows, VOCAB]
    largest,  # float32 [num_rows, num_parts]
    first,  # int32 [num_rows, num_parts]
    num_parts,
    VOCAB: tl.constexpr,
    TILE: tl.constexpr,
):
    """The first of the largest logits in a part of one row; what is not a number counts as infinite."""
    row, part = tl.program_id(0), tl.program_id(1)
    size = tl.cdiv(tl.cdiv(VOCAB, TILE), num_parts) * TILE
    begin, lanes = part * size, tl.arange(0, TILE)
    logits += row.to(tl.int64) * VOCAB
    values, tokens = tl.full([TILE], float("-inf"), tl.float32), begin + lanes
    for start in range(begin, tl.minimum(begin + size, VOCAB), TILE):
        given = tl.load(logits + start + lanes, mask=start + lanes < VOCAB, other=float("-inf")).to(tl.float32)
        given = tl.where(given == given, given, float("inf"))
        is_larger = given > values
        values, tokens = tl.where(is_larger, given, values), tl.where(is_larger, start + lanes, tokens)
    value, token = first_of_largest(values, tokens, VOCAB)
    tl.store(largest + row * num_parts + part, value)
    tl.store(first + row * num_parts + part, token)


@triton.jit(do_not_specialize=["num_parts"])
def gather_most_likely_kernel(
    largest,  # float32 [num_rows, num_parts]
    first,  # int32 [num_rows, num_parts]
    token_ids,  # int64 [num_rows]; -1 where the largest logit is not finite
    num_parts,
    VOCAB: tl.constexpr,
    MAX_PARTS: tl.constexpr,
):
    """The first of the largest logits of one row, from those of all its parts."""
    row, parts = tl.program_id(0), tl.arange(0, MAX_PARTS)
    is_part = parts < num_parts
    values = tl.load(largest + row * num_parts + parts, mask=is_part, other=float("-inf"))
    tokens = tl.load(first + row * num_parts + parts, mask=is_part, other=VOCAB)
    value, token = first_of_largest(values, tokens, VOCAB)
    tl.store(token_ids + row, tl.where(tl.abs(value) < float("inf"), token, -1).to(tl.int64))


@triton.jit
def weights_at(probabilities, tokens, VOCAB: tl.constexpr):
    """The probabilities of some tokens, and the same read as integers; 0 beyond the vocabulary."""
    weights = tl.load(probabilities + tokens, mask=tokens < VOCAB, other=0.0)
    return weights, weights.to(tl.int32, bitcast=True)


@triton.jit
def all_from(probabilities, edge, VOCAB: tl.constexpr, TILE: tl.constexpr, IS_COUNT: tl.constexpr):
    """The mass, or the number, of the tokens whose probabilities, read as integers, are at least `edge`."""
    total = tl.zeros([TILE], dtype=tl.float32)
    for begin in range(0, VOCAB, TILE):
        weights, keys = weights_at(probabilities, begin + tl.arange(0, TILE), VOCAB)
        total += tl.where(keys >= edge, 1.0 if IS_COUNT else weights, 0.0)
    return tl.sum(total, 0)


@triton.jit
def find_edge(probabilities, edge, above, wanted, VOCAB: tl.constexpr, TILE: tl.constexpr, IS_COUNT: tl.constexpr):
    """The highest threshold up to `above` that keeps at least `wanted` (mass, or tokens), as `edge` does."""
    while edge < above:
        middle = above - (above - edge) // 2
        is_enough = all_from(probabilities, middle, VOCAB, TILE, IS_COUNT) >= wanted
        edge, above = tl.where(is_enough, middle, edge), tl.where(is_enough, above, middle - 1)
    return edge


@triton.jit
def weights_inside(probabilities, tokens, edge, num_equal, floor, VOCAB: tl.constexpr):
    """The weights of some tokens, 0 for those that are out; and how many more at the edge may still be in."""
    weights, keys = weights_at(probabilities, tokens, VOCAB)
    is_equal = (keys == edge).to(tl.int32)
    is_inside = (keys > edge) | ((keys == edge) & (tl.cumsum(is_equal, 0) <= num_equal))
    return tl.where(is_inside & (weights >= floor), weights, 0.0).to(tl.float64), num_equal - tl.sum(is_equal, 0)


@triton.jit
def draw_beyond_kernel(
    probabilities,  # float32 [num_rows, VOCAB]
    candidates,  # float32 [num_rows, NUM_CANDIDATES]: the largest, in order
    lacking,  # bool [num_rows]: where more are to be drawn from than these, and this is to draw
    columns,  # float32 [num_rows, NUM_COLUMNS]: SamplingColumns
    token_ids,  # int64 [num_rows]
    VOCAB: tl.constexpr,
    NUM_CANDIDATES: tl.constexpr,
    TILE: tl.constexpr,
):
    """Invert the cumulative distribution of one row's most likely tokens, in the vocabulary's order.

    Of equal probabilities at the edge, the first are in, as many as needed. Passes that only sum use larger tiles.
    """
    row = tl.program_id(0)
    if tl.load(lacking + row):
        probabilities += row.to(tl.int64) * VOCAB
        candidates += row * NUM_CANDIDATES
        columns += row * NUM_COLUMNS
        most, wanted = tl.load(columns + TOP_K), tl.load(columns + TOP_P)
        above = tl.load(candidates + NUM_CANDIDATES - 1).to(tl.int32, bitcast=True)
        if most < VOCAB:
            edge = find_edge(probabilities, tl.full((), 0, tl.int32), above, most, VOCAB, 4 * TILE, True)
            most -= all_from(probabilities, edge + 1, VOCAB, 4 * TILE, True)
            weight = all_from(probabilities, edge + 1, VOCAB, 4 * TILE, False)
            wanted *= weight + most * edge.to(tl.float32, bitcast=True)
        else:  # tokens less likely than (1 - top_p) / VOCAB weigh less than 1 - top_p together
            edge = ((1.0 - wanted) / VOCAB).to(tl.int32, bitcast=True)
        nucleus = find_edge(probabilities, edge, above, wanted, VOCAB, 4 * TILE, False)
        missing = wanted - all_from(probabilities, nucleus + 1, VOCAB, 4 * TILE, False)
        at_edge = tl.maximum(tl.ceil(missing / nucleus.to(tl.float32, bitcast=True)), 1.0)
        num_equal = tl.minimum(at_edge, tl.where(nucleus == edge, most, VOCAB)).to(tl.int32)
        floor = tl.load(candidates) * tl.load(columns + MIN_P)

        total, left = tl.full((), 0.0, tl.float64), num_equal
        for begin in range(0, VOCAB, TILE):
            tokens = begin + tl.arange(0, TILE)
            weights, left = weights_inside(probabilities, tokens, nucleus, left, floor, VOCAB)
            total += tl.sum(weights, 0)
        target = total * tl.load(columns + UNIFORM).to(tl.float64)
        before, left = tl.full((), 0.0, tl.float64), num_equal
        found, last = tl.full((), VOCAB, tl.int32), tl.full((), 0, tl.int32)
        for begin in range(0, VOCAB, TILE):
            tokens = begin + tl.arange(0, TILE)
            weights, left = weights_inside(probabilities, tokens, nucleus, left, floor, VOCAB)
            is_behind = (weights > 0) & (before + tl.cumsum(weights, 0) > target)
            found = tl.minimum(found, tl.min(tl.where(is_behind, tokens, VOCAB), 0))
            last = tl.maximum(last, tl.max(tl.where(weights > 0, tokens, 0), 0))
            before += tl.sum(weights, 0)
        # Sums in another order may miss by a rounding what the last token has.
        tl.store(token_ids + row, tl.where(found < VOCAB, found, last).to(tl.int64))

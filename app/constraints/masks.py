"""The masks of a step: which tokens may be sampled in each of its rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from llguidance import LLExecutor
from numpy.typing import NDArray

from app.constraints.errors import MatcherError
from app.constraints.matcher import Matcher
from app.constraints.tokens import WORD_BITS, TokenTable

Masks = NDArray[np.int32]
"""[rows, TokenTable.num_words], C-contiguous. Bits of tokens that may be sampled are 1, those behind the logits 0."""


class MaskRequest(NamedTuple):
    """The masks of one sequence: in row `row` for what follows its output, in the next ones behind each draft token.

    The drafts are allowed by its grammar (`Matcher.verify`). Rows behind the end of the grammar allow everything.
    """

    matcher: Matcher
    row: int
    draft_token_ids: Sequence[int] = ()


class MaskFiller:
    """Fills masks in a thread of its own, without the interpreter's lock but for some microseconds a row."""

    def __init__(self, table: TokenTable, num_threads: int = 1) -> None:
        """`num_threads` compute the masks of one call; more than one hardly helps below some dozens of rows."""
        self._table = table
        self._executor = LLExecutor(num_threads)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="masks")

    def start(self, requests: Sequence[MaskRequest], masks: Masks) -> Future[dict[int, MatcherError]]:
        """Begin to fill. Until the future is done, neither the matchers nor the masks may be touched.

        Its result has the sequences, by the row of their request, that cannot go on; their masks allow everything.
        """
        return self._thread.submit(self.fill, requests, masks)

    def fill(self, requests: Sequence[MaskRequest], masks: Masks) -> dict[int, MatcherError]:
        """The same at once, in the caller's thread."""
        plain = [(request.matcher.inner, request.row) for request in requests if not request.draft_token_ids]
        drafted = [
            (request.matcher.inner, request.row, list(request.draft_token_ids))
            for request in requests
            if request.draft_token_ids
        ]
        num_rows, num_words = masks.shape
        address, stride = masks.ctypes.data, num_words * masks.itemsize
        for request in requests:
            if request.draft_token_ids:
                masks[request.row : request.row + 1 + len(request.draft_token_ids)] = -1
        if plain:
            self._executor.unsafe_compute_mask_ptr(plain, address, stride, num_rows)
        if drafted:
            self._executor.unsafe_compute_mask_ptr_with_draft_token(drafted, address, stride, num_rows)
        return self._finish(requests, masks)

    def close(self) -> None:
        self._thread.shutdown()

    def _finish(self, requests: Sequence[MaskRequest], masks: Masks) -> dict[int, MatcherError]:
        """Put each sequence's stop tokens in the place of the end, which is no token of the model."""
        errors = {}
        bits = masks.view(np.uint32)
        rows_by_stops: defaultdict[frozenset[int], list[int]] = defaultdict(list)
        for matcher, row, draft_token_ids in requests:
            rows = range(row, row + 1 + len(draft_token_ids))
            rows_by_stops[matcher.stop_token_ids] += rows
            try:
                matcher.raise_error()
            except MatcherError as error:
                errors[row] = error
                bits[rows] = _ALL
        for stop_token_ids, together in rows_by_stops.items():
            self._put_stops(bits, np.array(together), stop_token_ids)
        return errors

    def _put_stops(self, bits: NDArray[np.uint32], rows: NDArray[np.int_], stop_token_ids: frozenset[int]) -> None:
        end_word, end_bit = divmod(self._table.end_id, WORD_BITS)
        ends = bits[rows, end_word]
        accepting = ends >> end_bit & 1
        bits[rows, end_word] = ends & np.uint32((1 << end_bit) - 1)
        for word, bit in (divmod(token_id, WORD_BITS) for token_id in stop_token_ids):
            bits[rows, word] = bits[rows, word] & np.uint32(_ALL ^ 1 << bit) | accepting << bit


_ALL = 0xFFFFFFFF

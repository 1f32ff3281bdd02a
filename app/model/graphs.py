"""Decode steps captured once for a few batch sizes, and replayed (CUDA graphs).

A decode step is hundreds of kernels of a few microseconds each. Launched one by one, they leave the device waiting for
the host; recorded, they are one launch. A recording holds for one number of rows and fixed addresses, so each step is
copied into the recording's own buffers, and padded to the next size that was recorded.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from app.model.device_batch import DeviceBatch
from app.model.inputs import ForwardBatch
from app.model.transfer import copy_to
from app.scheduler.batch import Sampled

logger = logging.getLogger("millrace.engine")

MAX_RECORDING_SECONDS = 10.0
"""How long recording may take at the start. Sizes that are left out are padded to larger ones."""

NO_SLOT = -1

Run = Callable[[], torch.Tensor]


class Recorder(Protocol):
    """Runs a function once, and returns a replay of it over the same input buffers.

    A result is valid until the next run of anything recorded by the same recorder.
    """

    def __call__(self, run: Run) -> Run: ...


class CudaRecorder:
    """Records on one device. All recordings share one memory pool, since they never run at the same time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, run: Run) -> Run:
        """Raises RuntimeError if the function does something that cannot be recorded, like waiting for the device."""
        current = torch.cuda.current_stream(self._device)
        self._aside.wait_stream(current)
        with torch.cuda.stream(self._aside):
            run()  # compiles kernels and makes workspaces, which must not happen while recording
        current.wait_stream(self._aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            output = run()

        def replay() -> torch.Tensor:
            graph.replay()
            return output

        return replay


@runtime_checkable
class OnDevice(Protocol):
    """A decoder that can run from a batch on the device, without waiting for the device."""

    name: str

    @property
    def weight_bytes(self) -> int: ...

    def forward(self, batch: ForwardBatch) -> torch.Tensor: ...

    def sample(self, logits: torch.Tensor, sequences: list[Sampled]) -> torch.Tensor: ...

    def run(self, batch: DeviceBatch) -> torch.Tensor: ...


class DecodeInputs:
    """A decode step of up to `max_rows` rows at fixed addresses: one int32 tensor, which one copy fills except for its
    beginning.

    First what the previous step sampled, then the width of the block tables, then columns of `max_rows` (token,
    position, slot, length, and the index in this tensor where the token is: in its column, or among the samples if the
    host does not know it), then the block tables, end to end.
    """

    def __init__(self, max_rows: int, max_blocks: int, device: torch.device) -> None:
        num_columns = 5
        self._header = np.zeros(1 + num_columns * max_rows, dtype=np.int32)
        self._columns = self._header[1:].reshape(num_columns, max_rows)
        self._known = np.arange(max_rows + 1, 2 * max_rows + 1)
        self._columns[2], self._columns[4] = NO_SLOT, self._known  # recording stores nothing
        sizes = [max_rows, 1, num_columns * max_rows, max_rows * max_blocks]
        self._all = torch.zeros(sum(sizes), dtype=torch.int32, device=device)
        self._sampled, self._width, columns, self._tables = self._all.split_with_sizes(sizes)
        self._on_device = columns.view(num_columns, max_rows)
        self._filled = self._all[max_rows:]
        copy_to(self._filled, self._header)
        self._row_numbers = torch.arange(max_rows + 1, device=device)
        self._cu_seqlens_q = self._row_numbers.int()

    def first(self, size: int) -> DeviceBatch:
        """The first `size` rows as they are now. This is recorded too, so it takes few operators."""
        positions, slot_mapping = self._on_device[1:3, :size].long()
        seq_lens, places = self._on_device[3:, :size]
        return DeviceBatch(
            input_ids=self._all.index_select(0, places).clamp(min=0),
            positions=positions,
            slot_mapping=slot_mapping,
            logits_indices=self._row_numbers[:size],
            cu_seqlens_q=self._cu_seqlens_q[: size + 1],
            seq_lens=seq_lens,
            table_width=self._width,
            block_tables=self._tables,
            num_decode_rows=size,
            lengths_q=(1,) * size,
            is_decode=True,
        )

    def fill(self, batch: ForwardBatch, size: int) -> None:
        """Copy in a step's rows. The padding after them, up to `size`, has no tokens and no slots, so that nothing is
        read or written for it."""
        num_rows, width = batch.block_tables.shape
        self._header[0], columns = width, self._columns
        columns[:3, :num_rows] = batch.columns
        columns[3, :num_rows] = batch.seq_lens
        columns[4, :num_rows] = self._known[:num_rows]
        columns[2, num_rows:size] = NO_SLOT
        columns[3, num_rows:size] = 0
        if batch.unknown is not None:
            columns[4, batch.unknown.places] = batch.unknown.indices
            self._sampled[: len(batch.unknown.sampled)].copy_(batch.unknown.sampled)
        copy_to(self._filled, np.concatenate((self._header, batch.block_tables.ravel())))


class GraphDecoder:
    """Replays the steps in which every sequence decodes one token, and leaves all others to the decoder itself."""

    def __init__(self, decoder: OnDevice, inputs: DecodeInputs, graphs: dict[int, Run]) -> None:
        """`graphs[size]` computes the logits `[size, vocab]` of the first `size` rows of `inputs`."""
        self.name = decoder.name
        self.sizes = sorted(graphs)
        self._decoder = decoder
        self._inputs = inputs
        self._graphs = graphs

    @property
    def weight_bytes(self) -> int:
        return self._decoder.weight_bytes

    def forward(self, batch: ForwardBatch) -> torch.Tensor:
        """Logits `[num_logits, vocab]` of one step, valid until the next; it stores keys and values in the cache."""
        num_rows = len(batch.seq_lens)
        if not batch.is_decode or num_rows > self.sizes[-1]:
            return self._decoder.forward(batch)
        size = self.sizes[bisect_left(self.sizes, num_rows)]
        self._inputs.fill(batch, size)
        return self._graphs[size]()[:num_rows]

    def sample(self, logits: torch.Tensor, sequences: list[Sampled]) -> torch.Tensor:
        return self._decoder.sample(logits, sequences)


def batch_sizes(most: int) -> list[int]:
    """Sizes to record: coarse up to 16 rows, which hardly cost more than one; beyond, at most a third is padding."""
    sizes = [1, 2, 4, 8, *(size << power for power in range(3, most.bit_length()) for size in (2, 3))]
    return sorted({size for size in sizes if size < most} | {most})


@torch.inference_mode()
def record_decoding(
    decoder: OnDevice,
    inputs: DecodeInputs,
    sizes: Sequence[int],
    record: Recorder,
    clock: Callable[[], float] = perf_counter,
) -> GraphDecoder | None:
    """Record the largest size first, whose memory the others reuse, then from the smallest up while there is time.

    None if this model cannot be recorded; the log says why.
    """
    began = clock()
    graphs: dict[int, Run] = {}
    for size in (sizes[-1], *sizes[:-1]):
        if graphs and clock() - began > MAX_RECORDING_SECONDS:
            logger.warning("recording CUDA graphs took more than %.0f s: %s are left out", MAX_RECORDING_SECONDS, size)
            break
        try:
            graphs[size] = record(partial(_run_first, decoder, inputs, size))
        except RuntimeError as error:
            logger.warning("decode steps are not recorded as CUDA graphs: %s", error)
            return None
    return GraphDecoder(decoder, inputs, graphs)


def _run_first(decoder: OnDevice, inputs: DecodeInputs, size: int) -> torch.Tensor:
    return decoder.run(inputs.first(size))

"""Commands in, one step at a time out, with a scripted model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.messages import Abort, FinishReason, Generate, SamplingParams, StepStats
from app.scheduler.batch import ModelOutput, ScheduledBatch
from tests.builders import ScriptedRunner, ids, make_core, make_scheduler, run_to_end, tokens_alone


class RecordingRunner(ScriptedRunner):
    """Remembers what it was asked to execute, and, like a real model, cannot compute nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[ScheduledBatch] = []

    def execute(self, batch: ScheduledBatch) -> ModelOutput:
        assert batch.rows, "a model has no forward pass over no tokens"
        self.batches.append(batch)
        return super().execute(batch)


def generate(seq_id: int, prompt: list[int], max_tokens: int = 3) -> Generate:
    return Generate(seq_id, prompt, SamplingParams(max_tokens))


def test_a_command_becomes_a_sequence_with_all_its_fields() -> None:
    core = make_core()
    params = SamplingParams(max_tokens=5, seed=8, logprobs=2)
    core.apply(Generate(4, [7, 8], params, priority=3, cache_salt="salt"))
    [waiting] = core.scheduler.waiting
    assert (waiting.seq_id, list(waiting.token_ids), waiting.params) == (4, [7, 8], params)
    assert (waiting.priority, waiting.cache_salt) == (3, "salt")


def test_a_step_schedules_executes_and_advances() -> None:
    runner = RecordingRunner()
    core = make_core(runner=runner)
    core.apply(generate(0, [7, 8]))
    step = core.step()
    assert [row.sequence.seq_id for row in runner.batches[0].rows] == [0]
    assert (step.seq_ids, step.token_ids) == ([0], tokens_alone([7, 8], 1))
    assert list(core.scheduler.running[0].token_ids) == [7, 8, *step.token_ids]
    assert step.finished == {}
    assert step.admitted == {0: 0}


def test_a_sequence_runs_from_its_command_to_its_finish_reason() -> None:
    core = make_core()
    core.apply(generate(0, [7, 8]))
    steps = [core.step() for _ in range(3)]
    assert [token_id for step in steps for token_id in step.token_ids] == tokens_alone([7, 8], 3)
    assert [step.finished for step in steps] == [{}, {}, {0: FinishReason.LENGTH}]
    assert not core.has_work


def test_sequences_that_come_at_different_times_get_what_they_would_have_had_alone() -> None:
    core = make_core(make_scheduler(max_num_batched_tokens=6, max_num_seqs=2))
    core.apply(generate(0, [1, 2, 3]))
    first = core.step().token_ids
    core.apply(generate(1, [4] * 9))
    core.apply(generate(2, [5]))
    rest = run_to_end(core)
    assert first + rest[0] == tokens_alone([1, 2, 3], 3)
    assert (rest[1], rest[2]) == (tokens_alone([4] * 9, 3), tokens_alone([5], 3))


def test_one_abort_may_name_several_sequences_including_ended_ones() -> None:
    core = make_core()
    for seq_id in range(4):
        core.apply(generate(seq_id, [seq_id]))
    core.step()
    core.apply(Abort((2, 99, 0)))
    assert ids(core.scheduler.running) == [1, 3]
    assert sorted(core.step().seq_ids) == [1, 3]


def test_a_step_reports_how_long_each_phase_took() -> None:
    core = make_core()
    core.apply(generate(0, [7, 8]))
    stats = core.step().stats
    assert min(stats.schedule_seconds, stats.execute_seconds, stats.update_seconds) > 0


def test_the_rest_of_the_execution_besides_inputs_and_forward_is_sampling() -> None:
    class TimedRunner(ScriptedRunner):
        def execute(self, batch: ScheduledBatch) -> ModelOutput:
            return replace(super().execute(batch), forward_seconds=-2.0, input_seconds=-1.0)

    core = make_core(runner=TimedRunner())
    core.apply(generate(0, [7, 8]))
    stats = core.step().stats
    assert (stats.forward_seconds, stats.input_seconds) == (-2.0, -1.0)
    assert stats.sample_seconds == pytest.approx(stats.execute_seconds + 3.0)


def test_a_step_keeps_the_counts_beside_the_times() -> None:
    core = make_core(make_scheduler(num_blocks=10))
    core.apply(generate(0, [7, 8]))
    stats = core.step().stats
    assert (stats.num_running, stats.num_free_blocks, stats.num_blocks, stats.num_prefill_tokens) == (1, 9, 10, 2)


def test_a_step_with_nothing_to_do_reports_zeros() -> None:
    step = make_core(make_scheduler(num_blocks=10)).step()
    assert (step.seq_ids, step.token_ids, step.finished, step.admitted) == ([], [], {}, {})
    timeless = replace(step.stats, schedule_seconds=0.0, execute_seconds=0.0, update_seconds=0.0)
    assert timeless == StepStats(0, 0, 10, 10, 0, 0, 0, 0, 0)


def test_a_step_with_nothing_to_do_leaves_the_model_alone() -> None:
    """The last client leaving must not end the engine: the abort is answered by a step with no rows."""
    runner = RecordingRunner()
    core = make_core(runner=runner)
    core.apply(generate(0, [7, 8]))
    core.step()
    core.apply(Abort((0,)))
    step = core.step()
    assert (step.stats.num_running, step.stats.num_free_blocks) == (0, step.stats.num_blocks)
    assert len(runner.batches) == 1


def test_the_step_after_an_abort_reports_the_blocks_as_free() -> None:
    core = make_core(make_scheduler(num_blocks=10))
    core.apply(generate(0, [7] * 8))
    core.apply(generate(1, [8] * 8))
    assert core.step().stats.num_free_blocks == 6
    core.apply(Abort((0, 1)))
    core.apply(generate(2, [9]))
    step = core.step()
    assert step.seq_ids == [2]
    assert (step.stats.num_running, step.stats.num_free_blocks) == (1, 9)

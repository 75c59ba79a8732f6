"""Steps whose numbers are not finite: they change nothing, are counted, and stop a training if many."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from hybridfit.errors import InputError
from hybridfit.network import training
from hybridfit.network.architecture import PatternNet
from hybridfit.network.samples import Ranges, Samples
from hybridfit.network.settings import TrainingSettings
from hybridfit.network.state import Plan, begin, read_checkpoint
from hybridfit.network.step import step
from hybridfit.network.training import train

CPU = torch.device("cpu")


@pytest.fixture
def samples(small_library):
    return Samples(small_library, Ranges.of(small_library), device=CPU, seed=3, pool=16)


def numbers(state):
    """Everything that a step changes."""
    moments = (v for p in state.optimiser.state.values() for v in p.values())
    return [*state.module.state_dict().values(), *state.average.state_dict().values(), *moments]


def same(before, state):
    floats = [v for v in numbers(state) if v.is_floating_point()]
    return all(torch.equal(a, b) for a, b in zip(before, floats, strict=True))


@pytest.mark.parametrize("what", ["crops", "truth"])
def test_a_batch_with_a_nan_changes_nothing(what, samples, little):
    state = begin(partial(PatternNet, little), Plan(samples=9), CPU)
    step(state, *samples.batch(8))
    before = [v.clone() for v in numbers(state) if v.is_floating_point()]
    crops, truth = samples.batch(8)
    if what == "crops":
        crops[3, 0, 40, 40] = float("nan")
    else:
        truth = truth._replace(thickness=truth.thickness * float("nan"))
    value = step(state, crops, truth)
    assert value != value and same(before, state)
    assert (state.steps, state.skipped, state.in_a_row, state.samples) == (1, 1, 1, 16)
    good = step(state, *samples.batch(8))
    assert good == good and not same(before, state) and state.in_a_row == 0
    assert all(torch.isfinite(v).all() for v in numbers(state))


def test_too_many_skipped_steps_stop_the_training(samples, little):
    crops, truth = samples.batch(4)
    crops[:] = float("nan")
    state = begin(partial(PatternNet, little), Plan(samples=9), CPU)
    settings = TrainingSettings(skipped_in_a_row=3)
    step(state, crops, truth, settings), step(state, crops, truth, settings)
    with pytest.raises(InputError, match=r"3 of 3 steps gave numbers that are not finite, the last 3"):
        step(state, crops, truth, settings)
    state = begin(partial(PatternNet, little), Plan(samples=9), CPU)
    settings = TrainingSettings(share_after=4)
    with pytest.raises(InputError, match=r"stopped: 3 of 6 steps"):
        for i in range(9):
            step(state, crops if i % 2 else torch.ones_like(crops), truth, settings)


@pytest.fixture
def spoilt(monkeypatch):
    """spoilt(indices): batches with these indices hold a NaN."""

    def spoil(which):
        batch, count = Samples.batch, iter(range(10**6))

        def with_nan(self, n):
            crops, truth = batch(self, n)
            if next(count) in which:
                crops[0, 0, 40, 40] = float("nan")
            return crops, truth

        monkeypatch.setattr(Samples, "batch", with_nan)

    monkeypatch.setattr(training, "HELD_BACK", 16)
    monkeypatch.setattr(training, "CALIBRATION", 16)
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 0.0)
    return spoil


def test_one_nan_does_not_poison_a_training(spoilt, small_library, little, tmp_path):
    spoilt({2})
    reports = []
    network = train(
        small_library,
        Plan(samples=48, batch=8, pool=16),
        device="cpu",
        checkpoint=tmp_path / "net.checkpoint",
        progress=reports.append,
        architecture=little,
    )
    record = network.origin.record
    assert (record["steps"], record["skipped"], reports[-1].skipped) == (5, 1, 1)
    assert reports[-1].loss == reports[-1].loss
    network.save(tmp_path / "net.safetensors")
    assert read_checkpoint(tmp_path / "net.checkpoint", small_library, little).progress.skipped == 1


def test_a_training_of_nothing_but_nans_stops_and_keeps_the_checkpoint(
    spoilt, small_library, little, tmp_path
):
    spoilt(range(2, 10**6))
    path = tmp_path / "net.checkpoint"
    plan = Plan(samples=4000, batch=4, pool=8)
    with pytest.raises(InputError, match="20 of 22 steps gave numbers that are not finite"):
        train(small_library, plan, device="cpu", checkpoint=path, architecture=little)
    assert read_checkpoint(path, small_library, little).progress.steps == 2

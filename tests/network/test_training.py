"""Training, checkpoints, weights files and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from hybridfit.errors import InputError, LibraryError
from hybridfit.network import training
from hybridfit.network.architecture import PatternNet, represent
from hybridfit.network.conversion import folded
from hybridfit.network.evaluation import temperature
from hybridfit.network.samples import Ranges, Samples
from hybridfit.network.state import Plan, begin, read_checkpoint, restore, write_checkpoint
from hybridfit.network.step import step
from hybridfit.network.training import train
from hybridfit.network.weights import Network


@pytest.fixture(scope="module", autouse=True)
def few_samples():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "HELD_BACK", 64)
        patch.setattr(training, "CALIBRATION", 64)
        yield


@pytest.fixture(scope="module")
def trained(small_library, little, tmp_path_factory):
    """A short training, its reports and its checkpoint."""
    checkpoint = tmp_path_factory.mktemp("training") / "net.checkpoint"
    reports = []
    plan = Plan(samples=16 * 50, batch=16, pool=32, seed=4)
    network = train(
        small_library,
        plan,
        device="cpu",
        checkpoint=checkpoint,
        progress=reports.append,
        architecture=little,
    )
    return network, reports, checkpoint


def test_training_learns(trained):
    network, reports, _ = trained
    # before: nothing is known, and every class is as likely as another
    ignorant = np.log(60) + np.log(len(network.tilts) ** 2)
    assert reports[-1].validation["loss"] < 0.95 * reports[0].loss
    assert ignorant < reports[0].loss
    assert reports[-1].fraction == 1 and reports[-1].samples == 800
    assert network.origin.record["samples"] == 800
    assert network.origin.record["history"][-1]["samples"] == 800


def test_same_seed_same_network(small_library, little):
    plan = Plan(samples=48, batch=16, pool=32, seed=9)
    a, b = (train(small_library, plan, device="cpu", architecture=little) for _ in range(2))
    for x, y in zip(a.module.state_dict().values(), b.module.state_dict().values(), strict=True):
        assert torch.equal(x, y)


def test_checkpoint_gives_back_the_state(trained, small_library, little, tmp_path):
    """The next step of the training that goes on is the one that would have come, bit for bit."""
    plan, cpu = Plan(samples=100, batch=16, pool=32, seed=4), torch.device("cpu")
    ranges = Ranges.of(small_library)
    samples = [Samples(small_library, ranges, device=cpu, seed=s, pool=32) for s in (3, 0)]
    first = begin(partial(PatternNet, little), plan, cpu)
    for _ in range(3):
        step(first, *samples[0].batch(16))
    first.seconds, first.history = 4.5, [{"loss": 1.5, "samples": 48}]
    path = tmp_path / "net.checkpoint"
    write_checkpoint(path, first, samples[0], plan, small_library)
    second = begin(partial(PatternNet, little), plan, cpu)
    restore(second, samples[1], read_checkpoint(path, small_library, little))
    assert (second.samples, second.steps, second.seconds, second.history) == (48, 3, 4.5, first.history)
    samples[0]._oldest = samples[0].filled = 0  # the pool is left out of checkpoints
    for state, source in ((first, samples[0]), (second, samples[1])):
        step(state, *source.batch(16))
    for name in ("module", "average"):
        a, b = (getattr(state, name).state_dict() for state in (first, second))
        assert all(torch.equal(a[key], b[key]) for key in a if not key.endswith("num_batches_tracked"))


def test_training_goes_on_from_a_checkpoint(trained, small_library, little):
    _, _, checkpoint = trained
    plan = Plan(samples=848, seed=99)
    network = train(small_library, plan, device="cpu", resume=checkpoint, architecture=little)
    record = network.origin.record
    assert record["samples"] == 848 and record["steps"] == 53
    assert record["plan"]["seed"] == 4  # that of the training which goes on
    assert len(record["history"]) >= 2


def test_weights_come_back_from_their_file(trained, tmp_path):
    network, _, _ = trained
    path = tmp_path / "net.safetensors"
    network.save(path)
    again = Network.open(path, device="cpu")
    assert again.architecture == network.architecture
    assert again.origin == replace(network.origin, record=again.origin.record)
    assert again.origin.record["samples"] == 800
    rng = np.random.default_rng(0)
    crops = rng.random((5, 2, 80, 80), np.float32)
    a, b = network.predict(crops, 12.0), again.predict(crops, np.full(5, 12.0))
    for x, y in zip(a, b, strict=True):
        assert np.array_equal(x, y)
    assert a.thickness.shape == (5, 60) and a.thickness.sum(axis=1) == pytest.approx(1, abs=1e-5)
    n = len(again.tilts)
    assert a.tilt.shape == (5, n, n) and a.tilt.sum(axis=(1, 2)) == pytest.approx(1, abs=1e-5)
    assert again.tilts[n // 2] == 0 and again.tilts[-1] >= 3.0
    assert again.thicknesses[0] == 1 and again.thicknesses[-1] == 60
    assert np.abs(a.rotation_deg).max() <= 45
    assert again.predict(crops[:0], 12.0).tilt.shape == (0, n, n)


def test_folding_changes_nothing(little):
    torch.manual_seed(1)
    net = PatternNet(little)
    net.train()
    alpha = torch.full((8,), 10.0)
    channels = represent(torch.rand(8, 2, 80, 80), alpha)
    for _ in range(3):
        net(channels, alpha)
    net.eval()
    with torch.inference_mode():
        for a, b in zip(net(channels, alpha), folded(net)(channels, alpha), strict=True):
            assert torch.allclose(a, b, atol=1e-4)


def test_check_names_what_does_not_fit(trained, small_library, build_library):
    network, _, _ = trained
    network.check(small_library)
    network.check(small_library, 12.0)
    with pytest.raises(InputError, match=r"semi-angle 5 mrad is not .* \(8\.4 … 14 mrad\)"):
        network.check(small_library, 5.0)
    with pytest.raises(LibraryError, match="crystal SrTiO3"):
        network.check(build_library("Si", (0, 0, 1)))
    other = Network(network.module, replace(network.origin, energy_kv=300.0), device="cpu")
    with pytest.raises(LibraryError, match="energy 300 kV, this one has 200 kV"):
        other.check(small_library)
    other = Network(network.module, replace(network.origin, checksum="0" * 64), device="cpu")
    with pytest.raises(LibraryError, match="checksum 000000000000"):
        other.check(small_library)


def test_files_that_are_no_weights(trained, tmp_path):
    network, _, _ = trained
    with pytest.raises(InputError, match="there is no weights file"):
        Network.open(tmp_path / "none.safetensors")
    broken = tmp_path / "broken.safetensors"
    network.save(broken)
    broken.write_bytes(broken.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be read as weights"):
        Network.open(broken)
    from safetensors.torch import save_file

    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(1)}, foreign)
    with pytest.raises(InputError, match="holds no hybridfit network"):
        Network.open(foreign)
    with pytest.raises(InputError, match="no network comes with library 'nothing'"):
        Network.shipped("nothing")


def test_checkpoints_that_cannot_be_used(trained, small_library, little, tmp_path):
    _, _, checkpoint = trained
    with pytest.raises(InputError, match="there is no checkpoint"):
        read_checkpoint(tmp_path / "none", small_library, little)
    broken = tmp_path / "broken.checkpoint"
    broken.write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        read_checkpoint(broken, small_library, little)
    with pytest.raises(InputError, match="another shape"):
        read_checkpoint(checkpoint, small_library, replace(little, features=65))


@pytest.mark.parametrize(
    "values, message",
    [
        ({}, "either minutes or samples"),
        ({"minutes": 1.0, "samples": 5}, "either minutes or samples"),
        ({"minutes": -1.0}, "positive number"),
        ({"minutes": float("nan")}, "positive number"),
        ({"samples": 0}, "positive number"),
    ],
)
def test_plans_that_cannot_be(values, message):
    with pytest.raises(InputError, match=message):
        Plan(**values)


def test_ranges_and_devices_that_cannot_be(small_library):
    with pytest.raises(InputError, match="semi-angles 10 … 30 mrad"):
        Ranges.of(small_library, (10.0, 30.0))
    with pytest.raises(InputError, match="device 'abacus' cannot be used"):
        train(small_library, Plan(samples=1), device="abacus")


def test_temperature_finds_how_overconfident_logits_are():
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(4000, 10, generator=generator) * 2
    label = torch.multinomial(torch.softmax(logits, dim=1), 1, generator=generator).squeeze(1)
    found = temperature(1.7 * logits, lambda x: torch.nn.functional.cross_entropy(x, label, reduction="none"))
    assert found == pytest.approx(1.7, rel=0.08)

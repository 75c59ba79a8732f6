"""The alignment network: numpy against torch, files, training that goes on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybridfit.errors import InputError
from hybridfit.network.alignment import training
from hybridfit.network.alignment.architecture import AlignmentNet, loss, read, represent
from hybridfit.network.alignment.coarse import HALF, Coarse, Material
from hybridfit.network.alignment.network import AlignmentNetwork
from hybridfit.network.alignment.network import read as read_numpy
from hybridfit.network.alignment.network import represent as represent_numpy
from hybridfit.network.alignment.shape import EACH, AlignmentShape
from hybridfit.network.alignment.training import DISCS, train, weights_of
from hybridfit.network.crop import CROP
from hybridfit.network.state import Plan

LITTLE = AlignmentShape(widths=(8, 8, 16, 16), blocks=(0, 1, 0, 0), squeezed=8, features=16, hidden=8)


@pytest.fixture(scope="module")
def net() -> AlignmentNet:
    torch.manual_seed(0)
    made = AlignmentNet(LITTLE)
    for part in made.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.uniform_(-0.3, 0.3)
            part.running_var.uniform_(0.5, 1.5)
    return made.eval()


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    rng = np.random.default_rng(1)
    image = rng.gamma(2.0, 3.0, (7, CROP, CROP)).astype(np.float32)
    image[0, 4, 4] = 1e7  # a hot pixel
    image[1] = 0
    image[2] -= 3
    valid = (rng.random((7, CROP, CROP)) > 0.2).astype(np.float32)
    return np.stack([image * valid, valid], axis=1)


def test_numpy_says_what_torch_says(net, crops):
    network = AlignmentNetwork(LITTLE, weights_of(net))
    seen = torch.from_numpy(crops)
    np.testing.assert_allclose(represent_numpy(crops), represent(seen), atol=2e-5)
    with torch.inference_mode():
        said = net(represent(seen))
    wanted, found = read_numpy(said.numpy().astype(float)), network.predict(crops)
    for one, other in zip(wanted, found, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)
    assert (np.diff(found.odds, axis=1) <= 0).all()
    np.testing.assert_allclose(found.odds.sum(axis=1), 1)


def test_brightness_does_not_matter(crops):
    np.testing.assert_allclose(
        represent_numpy(crops[2:] * np.float32([[[[1e4]], [[1]]]])), represent_numpy(crops[2:]), atol=2e-4
    )


def test_a_file_keeps_the_network(net, tmp_path):
    path = tmp_path / "net.safetensors"
    network = AlignmentNetwork(LITTLE, weights_of(net), {"samples": 3})
    network.save(path)
    again = AlignmentNetwork.open(path)
    assert again.shape == LITTLE and again.record == {"samples": 3}
    assert all(np.array_equal(again.arrays[n], value) for n, value in network.arrays.items())
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="cannot be read as weights"):
        AlignmentNetwork.open(path)
    with pytest.raises(InputError, match="there is no weights file"):
        AlignmentNetwork.open(tmp_path / "none.safetensors")


def test_the_shipped_network_is_small_and_says_how_it_was_trained():
    network = AlignmentNetwork.shipped()
    assert sum(value.nbytes for value in network.arrays.values()) < 12e6
    assert network.record["samples"] > 0 and network.record["history"]


def test_loss_is_least_at_the_truth():
    """And it is a density: sharper is better where it is right, worse where it is wrong."""
    said = torch.zeros(1, 2, EACH)
    said[..., 0] = torch.tensor([4.0, -4.0])
    said[0, 0, 4:] = -1.0
    centre, size = torch.zeros(1, 2), torch.zeros(1)
    here = loss(said, centre, size)
    for off in (0.05, 0.3):
        assert loss(said, centre + off, size) > here and loss(said, centre, size + off) > here
    sharper = said.clone()
    sharper[0, 0, 4:] = -3.0
    assert loss(sharper, centre, size) < here
    assert loss(sharper, centre + 0.5, size) > loss(said, centre + 0.5, size)


def test_the_density_adds_up_to_one():
    """Over size, at the best centre: ∫ p ds is the same for every σ (up to the constant of t₁)."""
    size = torch.linspace(-8, 8, 160001)
    totals = []
    for sigma in (-4.0, 0.0, 2.0):
        said = torch.zeros(1, 1, EACH)
        said[..., 5] = sigma
        cost = loss(said.expand(len(size), 1, EACH), torch.zeros(len(size), 2), size)
        totals.append(float(torch.exp(-cost).sum() * (size[1] - size[0])))
    assert totals == pytest.approx([totals[0]] * 3, rel=2e-2)


def test_of_two_discs_either_is_right():
    said = torch.zeros(1, 2, EACH)
    said[0, 0, 1], said[0, 1, 1] = 1.0, -1.0  # centres at ±0.5
    said[..., 4:] = -3.0
    costs = [float(loss(said, torch.tensor([[x, 0.0]]), torch.zeros(1))) for x in (0.5, -0.5, 0.0)]
    assert costs[0] == pytest.approx(costs[1], abs=1e-4) and costs[2] > costs[0] + 3
    odds, centres, *_ = read(said)
    assert odds.exp().tolist() == [[0.5, 0.5]] and centres[0, :, 0].tolist() == [0.5, -0.5]


def test_of_few_crystals_one_is_held_back(monkeypatch, tmp_path):
    monkeypatch.setattr(training, "kept", lambda material, seed, folder: material.cif.stem)
    found = [Material(tmp_path / f"{name}.cif", (0, 0, 1)) for name in "abc"]
    assert training.libraries(found, tmp_path, each=2) == (["a", "b", "a", "b"], ["c", "c"])
    with pytest.raises(InputError, match="too few for a training"):
        training.libraries(found[:1], tmp_path)


def test_nothing_is_invented_from_crystals_held_back(monkeypatch, tmp_path):
    monkeypatch.setattr(training, "kept", lambda material, seed, folder: (material, seed))
    found = [Material(tmp_path / f"{name}.cif", (0, 0, 1)) for name in "abc"]
    train, held_back = training.libraries(found, tmp_path, invented=2)
    assert [(m.cif.stem, m.invented) for m, _ in held_back] == [("c", False)]
    assert [m.cif.stem for m, _ in train] == [*"ababab"]
    assert [m.invented for m, _ in train] == [False] * 2 + [True] * 4
    assert len({seed for m, seed in train if m.invented}) == 4


@pytest.fixture(scope="module")
def discs() -> list[Coarse]:
    side = 2 * HALF + 1
    intensity = np.full((1, 1, side, side), 65535, np.uint16)
    return [Coarse(intensity, np.zeros((1, 2)), 1.5, (10.0, 15.0), np.array([1.0]))]


def test_a_training_goes_on_where_it_was(discs, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "VALIDATION", 32)
    path, plan = tmp_path / "a.checkpoint", Plan(samples=24, batch=8, seed=2, pool=8)
    reports = []
    module, record = train(
        DISCS, discs, discs, plan, device="cpu", checkpoint=path, shape=LITTLE, progress=reports.append
    )
    assert record["samples"] == 24 and len(reports) == 3 and reports[-1].fraction == 1
    assert path.is_file() and 0 <= record["held_back"]["found"] <= 1
    more, record = train(
        DISCS, discs, discs, Plan(samples=40, pool=8), device="cpu", resume=path, shape=LITTLE
    )
    assert record["samples"] == 40 and record["steps"] == 5
    before, after = weights_of(module), weights_of(more)
    assert any(not np.array_equal(before[n], after[n]) for n in before)
    with pytest.raises(InputError, match="another shape"):
        train(DISCS, discs, discs, plan, device="cpu", resume=path)
    with pytest.raises(InputError, match="there is no checkpoint"):
        train(DISCS, discs, discs, plan, device="cpu", resume=tmp_path / "b.checkpoint", shape=LITTLE)

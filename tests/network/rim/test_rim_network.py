"""The rim network: the sum along circles, its loss as a density, numpy against torch, files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybridfit.errors import InputError
from hybridfit.network.alignment.architecture import represent
from hybridfit.network.alignment.coarse import HALF, Coarse
from hybridfit.network.alignment.network import AlignmentNetwork
from hybridfit.network.alignment.samples import Samples, Truth
from hybridfit.network.alignment.shape import SHOWN
from hybridfit.network.alignment.training import train, weights_of
from hybridfit.network.conversion import stored_tensors
from hybridfit.network.crop import axis
from hybridfit.network.rim.architecture import RimNet, Target, energy, loss, on_rings
from hybridfit.network.rim.forward import on_rings as on_rings_numpy
from hybridfit.network.rim.network import RimNetwork
from hybridfit.network.rim.posterior import circles
from hybridfit.network.rim.shape import (
    ANGLES,
    CHANNELS,
    FINE,
    FOLD,
    RADII,
    ROWS,
    SHIFT,
    SIZE,
    VOLUME,
    RimShape,
    angles,
    points,
    radii,
)
from hybridfit.network.rim.training import CUTS, RIM, target
from hybridfit.network.state import Plan

LITTLE = RimShape(widths=(8, 16, 16, 24))


def ridge(x: float, y: float, size: float, *, width: float = 0.03, height: float = 2.0) -> np.ndarray:
    """Evidence (ROWS, RADII) that is largest along a circle."""
    theta, r = angles(ROWS)[:, None], radii()
    across = x * np.sin(theta) - y * np.cos(theta)
    rim = x * np.cos(theta) + y * np.sin(theta) + np.sqrt(np.exp(2 * size) - across**2)
    return (height * np.exp(-0.5 * ((r - rim) / width) ** 2)).astype(np.float32)


@pytest.fixture(scope="module")
def net() -> RimNet:
    torch.manual_seed(0)
    made = RimNet(LITTLE)
    for part in made.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.uniform_(-0.3, 0.3)
            part.running_var.uniform_(0.5, 1.5)
    return made.eval()


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    rng = np.random.default_rng(1)
    image = rng.gamma(2.0, 3.0, (3, FINE.side, FINE.side)).astype(np.float32)
    image[0, 4, 4] = 1e7  # a hot pixel
    image[1] = 0
    valid = (rng.random((3, FINE.side, FINE.side)) > 0.2).astype(np.float32)
    return np.stack([image * valid, valid], axis=1)


def test_the_shipped_networks_are_small_and_say_how_they_were_trained():
    rim, discs = RimNetwork.shipped(), AlignmentNetwork.shipped()
    assert sum(value.nbytes for one in (rim, discs) for value in one.arrays.values()) < 12e6
    assert rim.record["samples"] > 0 and rim.record["history"]


def test_names_and_shapes_are_those_of_torch(net):
    expected = {name: tuple(value.shape) for name, value in stored_tensors(net).items()}
    shapes = LITTLE.weight_shapes()
    assert shapes == expected


def test_numpy_says_what_torch_says(net, crops):
    seen = represent(torch.from_numpy(crops))
    with torch.inference_mode():
        rings = on_rings(seen).numpy()
        said = net(seen).numpy()
    for one, wanted in zip(seen.numpy(), rings, strict=True):
        np.testing.assert_allclose(on_rings_numpy(one).transpose(2, 0, 1), wanted, atol=5e-5)
    network = RimNetwork(LITTLE, weights_of(net))
    np.testing.assert_allclose(network.evidence(crops), said, atol=3e-4)
    alone = np.concatenate([network.evidence(crops[i : i + 1]) for i in range(len(crops))])
    assert np.array_equal(alone, network.evidence(crops))


def test_rings_are_read_where_they_are():
    """Of an image that is the angle or the radius itself."""
    u = axis(FINE) / SHOWN
    x, y = np.meshgrid(u, u)
    channels = np.stack([x, y, np.ones_like(x)]).astype(np.float32)
    read = on_rings_numpy(channels).reshape(ROWS, RADII, CHANNELS, FOLD).transpose(2, 0, 3, 1)
    read = read.reshape(CHANNELS, ANGLES, RADII)
    theta = angles(ANGLES)[:, None]
    np.testing.assert_allclose(read[0], radii() * np.cos(theta), atol=1e-5)
    np.testing.assert_allclose(read[1], radii() * np.sin(theta), atol=1e-5)
    assert points().min() > 0 and points().max() < FINE.side - 1


@pytest.mark.parametrize("circle", [(0.0, 0.0, 0.0), (0.21, -0.13, 0.08), (-0.05, 0.28, -0.2)])
def test_a_ridge_is_found(circle):
    found = circles(ridge(*circle)[None])
    assert found.centre[0] == pytest.approx(circle[:2], abs=2e-3)
    assert found.size[0] == pytest.approx(circle[2], abs=2e-3)
    assert found.there[0] > 0.99 and found.first[0] > 0.9
    # a sum of n ridges of width w has a peak of w/√(n h/2) for a shift, w/√(n h) for the size, relative
    assert found.sigma[0] == pytest.approx(0.03 / np.sqrt(ROWS) * np.ones(2), rel=0.3)
    assert found.spread[0] == pytest.approx(0.03 * np.exp(-circle[2]) / np.sqrt(2 * ROWS), rel=0.3)


def test_what_is_known_stays():
    evidence = ridge(0.1, -0.05, 0.0, height=0.3)[None]
    free, sized = circles(evidence), circles(evidence, (SHIFT, SHIFT, 0.0))
    assert sized.size[0] == 0 and sized.spread[0] < 1e-5
    assert sized.centre[0] == pytest.approx(free.centre[0], abs=2e-3)
    assert sized.sigma[0] == pytest.approx(free.sigma[0], rel=0.2)
    centred = circles(ridge(0.0, 0.0, 0.06)[None], (0.0, 0.0, SIZE))
    assert centred.centre[0].tolist() == [0, 0] and centred.size[0] == pytest.approx(
        0.06, abs=8e-3
    )  # between rings
    assert centred.there[0] > 0.99 and centred.spread[0] == pytest.approx(0.003, rel=0.3)


def test_any_evidence_gives_numbers():
    """Of noise, peaks are many, alike, and may lie at the edge of the window."""
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(12, ROWS, RADII)).astype(np.float32)
    noise[1] = 0
    noise[2] *= 1e4
    noise[3, :, -1] = 50
    said = np.column_stack([np.asarray(each).reshape(12, -1) for each in circles(noise)])
    assert np.isfinite(said).all() and (said[:, -2:] <= 1 + 1e-9).all() and (said[:, 3:] >= 0).all()


def test_the_sum_along_a_circle_is_the_same_in_torch():
    evidence = np.random.default_rng(3).normal(size=(2, ROWS, RADII)).astype(np.float32)
    grid = torch.tensor([[[0.1, -0.2, 0.05], [0.0, 0.0, -0.2]]] * 2)
    from hybridfit.network.rim import hough

    cos, sin = np.cos(angles(ROWS)), np.sin(angles(ROWS))
    wanted = [[hough.energy(one.astype(float), cos, sin, *c) for c in grid[0].tolist()] for one in evidence]
    np.testing.assert_allclose(energy(torch.from_numpy(evidence), grid), wanted, rtol=1e-4, atol=1e-4)


def test_nothing_is_said_to_be_nothing():
    """Even evidence: Z is e^E, whatever the circle, and its probability e^E/(1 + e^E)."""
    for level in (-0.1, 0.0, 0.05):
        even = np.full((1, ROWS, RADII), level, np.float32)
        generator = torch.Generator().manual_seed(0)
        nowhere = Target(torch.zeros(1, 3), torch.tensor([False]))
        cost = float(loss(torch.from_numpy(even), nowhere, generator))
        assert cost == pytest.approx(np.log1p(np.exp(level * ROWS)), rel=0.15)


def test_loss_is_the_density_of_the_truth():
    """−log p, with Z summed over all of the window; near the peak, where points are drawn."""
    truth = (0.05, 0.1, 0.02)
    evidence = torch.from_numpy(ridge(*truth, height=0.4))[None]
    lines = [torch.linspace(-reach, reach, n) for reach, n in ((SHIFT, 61), (SHIFT, 61), (SIZE, 51))]
    grid = torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1).reshape(1, -1, 3)
    near = torch.tensor(truth) + 0.01 * torch.randn(64, 3, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        z = energy(evidence, grid).exp().mean()
        exact = torch.log1p(z) - energy(evidence, near[None])[0] + np.log(VOLUME)
        there = Target(near, torch.ones(64, dtype=torch.bool))
        costs = loss(evidence.expand(64, -1, -1), there, torch.Generator().manual_seed(0))
    assert float((costs - exact).mean()) == pytest.approx(0, abs=0.1)
    assert float((costs - exact).square().mean().sqrt()) < 0.5


def test_the_window_decides_what_is_there():
    centre = torch.tensor([[0.0, 0.29], [0.31, 0.0], [0.0, 0.0]])
    aim = target(Truth(centre, torch.tensor([0.0, 0.0, 0.26])))
    assert aim.there.tolist() == [True, False, False]


@pytest.fixture(scope="module")
def vacuum() -> list[Coarse]:
    side = 2 * HALF + 1
    intensity = np.full((1, 1, side, side), 65535, np.uint16)
    return [Coarse(intensity, np.zeros((1, 2)), 1.5, (10.0, 15.0), np.array([1.0]))]


def test_samples_are_near_and_far(vacuum):
    samples = Samples(vacuum, seed=1, device=torch.device("cpu"), pool=8, cuts=CUTS)
    there = torch.cat([target(samples.batch(96)[1]).there for _ in range(3)])
    assert 0.5 < float(there.float().mean()) < 0.9


def test_a_training_goes_on_and_its_file_keeps_it(vacuum, tmp_path, monkeypatch):
    monkeypatch.setattr("hybridfit.network.alignment.training.VALIDATION", 32)
    path = tmp_path / "a.checkpoint"
    plan = Plan(samples=16, batch=8, seed=2, pool=8)
    train(RIM, vacuum, vacuum, plan, shape=LITTLE, device="cpu", checkpoint=path)
    longer = Plan(samples=24, pool=8)
    module, record = train(RIM, vacuum, vacuum, longer, shape=LITTLE, device="cpu", resume=path)
    assert record["samples"] == 24 and 0 <= record["held_back"]["known"] <= 1
    network = RimNetwork(LITTLE, weights_of(module), {"samples": 24})
    network.save(tmp_path / "a.safetensors")
    again = RimNetwork.open(tmp_path / "a.safetensors")
    assert again.record == {"samples": 24}
    assert all(np.array_equal(again.arrays[n], value) for n, value in network.arrays.items())
    with pytest.raises(InputError, match="no weights file"):
        RimNetwork.open(tmp_path / "b.safetensors")

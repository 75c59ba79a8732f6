"""Samples of the alignment network: the disc is where the truth says, patterns are what the physics says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybridfit.errors import InputError
from hybridfit.library.recipe import shipped_folder
from hybridfit.network.alignment import samples as made
from hybridfit.network.alignment.coarse import HALF, TILT_MAX, Coarse, Material, kept, materials, solve
from hybridfit.network.alignment.compose import add_discs
from hybridfit.network.alignment.samples import Samples
from hybridfit.network.alignment.shape import SHOWN
from hybridfit.network.alignment.views import Bars, covered, draw_framing
from hybridfit.network.crop import CROP, PIXEL
from hybridfit.network.views import Draw

CPU = torch.device("cpu")
SIDE = 2 * HALF + 1


@pytest.fixture(scope="module")
def vacuum() -> Coarse:
    """Nothing but the direct beam."""
    intensity = np.full((1, 1, SIDE, SIDE), 65535, np.uint16)
    return Coarse(intensity, np.zeros((1, 2)), 1.5, (10.0, 15.0), np.array([1.0]))


@pytest.fixture(scope="module")
def silicon(crystals) -> Coarse:
    return solve(Material(crystals["Si"], (1, 1, 0)), 3)


def test_a_pattern_is_the_sum_of_its_discs():
    """Where I_g is linear in q interpolation is exact, and P(k) follows by hand."""
    step, alpha, tilt, spacing = 1.5, 9.0, np.array([2.3, -1.1]), 0.4
    line = step * np.arange(-HALF, HALF + 1)
    qx, qy = np.meshgrid(line, line)
    beams = np.array([[0.0, 0.0], [11.0, 4.0], [-6.0, 9.5]])
    planes = np.stack([0.5 + 0.004 * qx, 0.3 - 0.003 * qy, 0.2 + 0.002 * (qx + qy)])
    out = np.zeros((101, 101), np.float32)
    add_discs(np.rint(65535 * planes).astype(np.uint16), beams, step, tilt, alpha, 0.2, spacing, out)
    k = spacing * (np.arange(101) - 50)
    kx, ky = np.meshgrid(k, k)
    wanted, near = np.zeros_like(kx), np.zeros(kx.shape, bool)
    for (gx, gy), (a, bx, by) in zip(
        beams, [(0.5, 0.004, 0), (0.3, 0, -0.003), (0.2, 0.002, 0.002)], strict=True
    ):
        r = np.hypot(kx - gx, ky - gy)
        wanted += (r < alpha) * (a + bx * (kx - gx + tilt[0]) + by * (ky - gy + tilt[1]))
        near |= np.abs(r - alpha) < 0.25
    np.testing.assert_allclose(out[~near], wanted[~near], atol=3e-5)


def test_a_coarse_library_covers_its_tilts_and_absorbs(silicon):
    coarse = silicon
    assert coarse.intensity.shape[2:] == (SIDE, SIDE) and coarse.beams[0].tolist() == [0, 0]
    assert (HALF - 2) * coarse.step == pytest.approx(coarse.semi_angles[1] + TILT_MAX)
    total = coarse.intensity.sum(axis=1)[:, HALF, HALF] / 65535
    assert (np.diff(total) < 0.01).all() and 0.2 < total[-1] < total[0] <= 1.001  # absorption


def test_solves_are_kept(crystals, tmp_path, silicon):
    material = Material(crystals["Si"], (1, 1, 0))
    first = kept(material, 3, tmp_path)
    again = kept(material, 3, tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == 1
    for one in (first, again):
        np.testing.assert_array_equal(one.intensity, silicon.intensity)
        assert (one.step, one.semi_angles) == (silicon.step, silicon.semi_angles)


def test_materials_of_a_folder_without_zones_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"zones\.toml"):
        materials(tmp_path)


def test_shipped_materials_are_many():
    found = materials(shipped_folder() / "training")
    assert len({each.cif.stem for each in found}) >= 60 and len(found) >= 150


def test_the_disc_is_where_the_truth_says(vacuum):
    """Of a frame of vacuum: bright inside the circle, dark outside, edge in the right place."""
    samples = Samples([vacuum], seed=2, device=CPU, pool=8)
    crops, truth = samples.batch(96)
    u = (torch.arange(CROP) - (CROP - 1) / 2) * PIXEL
    checked = 0
    for crop, centre, size in zip(crops, truth.centre, truth.size, strict=True):
        radius = SHOWN * size.exp()
        if radius < 5:
            continue
        r = torch.hypot(u[None, :] - SHOWN * centre[0], u[:, None] - SHOWN * centre[1]) / radius
        valid = crop[1] > 0.5
        inside, outside = valid & (r < 0.85), valid & (r > 1.15) & (r < 1.4)
        if inside.sum() < 60 or outside.sum() < 60:
            continue
        checked += 1
        middle = (crop[0][inside].median() + crop[0][outside].median()) / 2
        assert crop[0][inside].median() > crop[0][outside].median()
        area = (valid & (r < 1.4) & (crop[0] > middle)).sum() / (valid & (r < 1)).sum()
        assert 0.6 < area < 1.5
    assert checked > 50


def test_samples_depend_on_the_seed_alone(silicon):
    first, second = (Samples([silicon], seed=[4, 0], device=CPU, pool=6).batch(6) for _ in range(2))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1].size, second[1].size)
    assert torch.isfinite(first[0]).all()


def test_views_are_seen_within_the_patterns_reach():
    draw = Draw(4000, torch.Generator().manual_seed(1))
    framing = draw_framing(draw)
    from hybridfit.network.alignment.views import seen

    asked = seen(framing)
    assert (asked > 0).all() and float((asked > made.REACHES[-1] * 1.25).float().mean()) < 0.01
    left, right, top, bottom = framing.edges.T
    scale = framing.size.exp()
    # the disc's middle lies in its frame
    assert ((framing.centre[:, 0] > left) & (framing.centre[:, 0] < right)).all()
    assert ((framing.centre[:, 1] > top) & (framing.centre[:, 1] < bottom)).all()
    assert (framing.frame_pixel <= scale / 3 + 1e-6).all()


def test_bars_cover_what_they_cross():
    one = torch.tensor
    bars = Bars(
        angle=one([[0.0, 0.0], [0.0, 0.0]]),
        place=one([[3.0, 0.0], [0.0, 0.0]]),
        width=one([[2.0, 0.0], [0.0, 0.0]]),
        starts=one([[0.0, 0.0], [0.0, 0.0]]),
        dark=one([[-1.0, -1.0], [-1.0, -1.0]]),
    )
    u = torch.arange(-10.0, 11.0).expand(2, 21)
    some, through, valid = covered(bars, u, torch.zeros(2, 2))
    assert some.tolist() == [0] and (through == 1).all()
    expected = torch.ones(21, 21)
    expected[13, 11:] = 0  # y = 3 (2 < y < 4), x > 0
    assert torch.equal(valid[0], expected)

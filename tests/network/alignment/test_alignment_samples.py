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
from hybridfit.network.alignment.network import Discs
from hybridfit.network.alignment.samples import Samples
from hybridfit.network.alignment.shape import SHOWN
from hybridfit.network.alignment.views import Bars, Cuts, covered, draw_framing, draw_shown, seen_from
from hybridfit.network.crop import CROP, PIXEL, CropGrid
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


def test_what_is_invented_is_kept_apart(crystals, tmp_path, silicon):
    material = Material(crystals["Si"], (1, 1, 0))
    other = kept(material._replace(invented=True), 3, tmp_path)
    assert len(list(tmp_path.glob("*-invented-*.npz"))) == 1
    assert not np.array_equal(silicon.beams[1], other.beams[1])
    again = kept(material._replace(invented=True), 3, tmp_path)
    np.testing.assert_array_equal(again.intensity, other.intensity)


def test_materials_of_a_folder_without_zones_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"zones\.toml"):
        materials(tmp_path)


def test_shipped_materials_are_many():
    found = materials(shipped_folder() / "training")
    assert len({each.cif.stem for each in found}) >= 60 and len(found) >= 150


def named(crops: np.ndarray) -> Discs:
    """Two discs, the same in every crop: somewhat beside the middle, and larger than it looks."""
    n = len(crops)
    centre = np.tile([[0.1, -0.05], [-0.1, 0.1]], (n, 1, 1))
    size = np.tile([0.05, -0.05], (n, 1))
    return Discs(np.tile([0.8, 0.2], (n, 1)), centre, size, np.full((n, 2), 0.1), np.full((n, 2), 0.1))


@pytest.mark.parametrize("led", [0.0, 1.0])
def test_the_disc_is_where_the_truth_says(vacuum, led):
    """Of a frame of vacuum: bright inside the circle, dark outside, edge in the right place."""
    samples = Samples([vacuum], seed=2, device=CPU, pool=8, cuts=Cuts(led=led), guide=named)
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


def test_crops_of_finer_pixels_show_the_same(silicon):
    """What is drawn for them is drawn alike; noise and the camera's pixels differ."""
    plain, fine = (
        Samples([silicon], seed=[4, 0], device=CPU, pool=24, grid=grid).batch(24)
        for grid in (CropGrid(), CropGrid(2 * CROP, PIXEL / 2))
    )
    assert torch.equal(plain[1].centre, fine[1].centre) and torch.equal(plain[1].size, fine[1].size)
    means = fine[0][:, 0].reshape(24, CROP, 2, CROP, 2).mean(dim=(2, 4))
    pairs = zip(plain[0][:, 0].flatten(1), means.flatten(1), strict=True)
    alike = [float(np.corrcoef(*pair)[0, 1]) for pair in pairs]
    assert np.median(alike) > 0.9


def test_samples_depend_on_the_seed_alone(silicon):
    first, second = (
        Samples([silicon], seed=[4, 0], device=CPU, pool=6, cuts=Cuts(led=0.5), guide=named).batch(6)
        for _ in range(2)
    )
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


def test_a_frame_stays_what_it_is_from_wherever_it_is_seen():
    draw = Draw(50, torch.Generator().manual_seed(3))
    framing = draw_framing(draw, Cuts().of_frames)
    whole = draw_shown(framing, draw)
    near = seen_from(whole, framing.centre, framing.size)  # cut at the disc itself
    assert near.framing.size.abs().max() < 1e-6 and near.framing.centre.abs().max() < 1e-5
    radius = framing.size.exp()
    width = (framing.edges[:, 1] - framing.edges[:, 0]) / radius
    torch.testing.assert_close(near.framing.edges[:, 1] - near.framing.edges[:, 0], width)
    torch.testing.assert_close(near.framing.frame_pixel, framing.frame_pixel / radius)
    torch.testing.assert_close(near.recording.edges, SHOWN * near.framing.edges)
    torch.testing.assert_close(near.view.frame_pixel, SHOWN * near.framing.frame_pixel)
    torch.testing.assert_close(near.recording.blocked[:, 2], whole.recording.blocked[:, 2] / radius)
    torch.testing.assert_close(near.bars.width, whole.bars.width / radius[:, None])
    back = seen_from(near, -framing.centre / radius[:, None], -framing.size)
    for one, other in zip(back.framing, framing, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(back.recording.electrons, whole.recording.electrons)


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

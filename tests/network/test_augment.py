"""Augmentation against simulated camera frames: what is trained on is what the camera gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybridfit.network.augment import blurred, render, shot_noise, to_crops, truth_of
from hybridfit.network.compose import Parameters
from hybridfit.network.crop import CROP, PIXEL, crops
from hybridfit.network.samples import Ranges, Samples
from hybridfit.network.targets import Truth
from hybridfit.network.views import Draw, View
from hybridfit.simulate.frame import simulate_frame

CPU = torch.device("cpu")
FAR = torch.tensor([[-1e3, 1e3, -1e3, 1e3]])
NOTHING = torch.zeros(1, 3)


@pytest.fixture(scope="module")
def samples(small_library) -> Samples:
    made = Samples(small_library, Ranges.of(small_library), device=CPU, seed=3, pool=16)
    made.compose(16)
    return made


def one_pattern(samples: Samples, monkeypatch, thickness, tilt, semi_angle):
    wanted = Parameters(np.array([thickness]), np.array([tilt]), np.array([semi_angle]))
    monkeypatch.setattr(Ranges, "draw", lambda self, n, rng: wanted)
    at = samples._oldest
    samples.compose(1)
    return samples.patterns(torch.tensor([at]))


def view(**changes) -> View:
    values = {
        "size": [0.0],
        "centre": [[0.0, 0.0]],
        "rotation": [0.0],
        "ellipticity": [[0.0, 0.0]],
        "mirrored": [False],
        "frame_pixel": [0.2],
        "phase": [[0.0, 0.0]],
        "blur": [0.3],
        "background": [0.0],
        "heights": [[0.0, 0.0, 0.0]],
        "widths": [[1.0, 1.0]],
    }
    return View(**{name: torch.tensor(value) for name, value in (values | changes).items()})


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("scale, difference", [(6.0, 0.04), (2.5, 0.04), (1.1, 0.045)])
def test_crop_of_a_frame_is_what_augmentation_renders(
    samples, small_library, monkeypatch, scale, difference, mirrored
):
    thickness, tilt, alpha = 31.4, (1.7, -0.8), 11.0
    rotation, ellipticity, blur = 33.0, (0.01, -0.006), 0.4
    rough, offset = 1.08, np.array([1.9, -1.2])  # scale too large by 8 %; mrad of the rough scale
    side = 2 * int(32 * scale) + 1
    centre = np.array([side / 2 + 1.3, side / 2 - 2.1])
    # the mirror (kx → −kx) of the pattern of one tilt is the pattern of the mirrored tilt
    frame_tilt = (-tilt[0], tilt[1]) if mirrored else tilt
    image, truth = simulate_frame(
        small_library,
        thickness=thickness,
        tilt=frame_tilt,
        semi_angle=alpha,
        shape=(side, side),
        centre=tuple(centre),
        scale=scale,
        rotation=rotation,
        ellipticity=ellipticity,
        blur=blur,
        electrons=3e10,
        background=0.0,
    )
    rough_scale = scale * rough
    rough_centre = centre - offset * rough_scale
    found = crops(image, np.ones(image.shape, bool), rough_centre[None], np.array([rough_scale]))[0]
    seen = view(
        size=[-np.log(rough)],
        centre=[list(offset)],
        rotation=[rotation],
        ellipticity=[list(ellipticity)],
        mirrored=[mirrored],
        frame_pixel=[1 / rough_scale],
        blur=[blur],
    )
    seen = View(*(v.float() if v.is_floating_point() else v for v in seen))
    pattern = one_pattern(samples, monkeypatch, thickness, tilt, alpha)
    camera = render(pattern, seen, samples.mirror)
    made = to_crops(camera, seen, FAR, NOTHING)[0].numpy()
    u = (np.arange(CROP) - (CROP - 1) / 2) * PIXEL
    x, y = np.meshgrid(u, u)
    inside = (np.hypot(x, y) < 16) & (found[1] > 0.99)
    a, b = found[0] / found[0][inside].mean(), made[0] / made[0][inside].mean()
    assert np.std((a - b)[inside]) < difference * np.std(a[inside])
    # what is left over is no shift, size or rotation
    gy, gx = np.gradient(b, PIXEL)
    columns = np.stack([gx, gy, x * gx + y * gy, x * gy - y * gx, b, np.ones_like(b)], axis=-1)
    shift_x, shift_y, growth, turn, *_ = np.linalg.lstsq(columns[inside], (a - b)[inside], rcond=None)[0]
    assert np.abs([shift_x, shift_y]).max() < 0.02
    assert max(abs(growth), abs(turn)) < 0.002
    answer = truth_of(pattern, seen, samples.mirror, pattern.semi_angle)
    c, s = np.cos(np.deg2rad(rotation)), np.sin(np.deg2rad(rotation))
    expected = np.array([[c, -s], [s, c]]) @ frame_tilt
    assert answer.tilt[0].numpy() == pytest.approx(expected, abs=1e-5)
    assert truth["rotation"] == answer.rotation[0]
    # re-aligned with the answers, centre and scale are the true ones
    assert rough_centre + answer.centre[0].numpy() * rough_scale == pytest.approx(centre, abs=1e-4)
    assert rough_scale * np.exp(answer.size[0].item()) == pytest.approx(scale)


def test_wrong_signs_would_show(samples, monkeypatch):
    pattern = one_pattern(samples, monkeypatch, 31.4, (1.7, -0.8), 11.0)
    right = render(pattern, view(rotation=[33.0]), samples.mirror)
    for changes in ({"rotation": [-33.0]}, {"mirrored": [True], "rotation": [33.0]}):
        wrong = render(pattern, view(**changes), samples.mirror)
        assert (right - wrong).square().mean().sqrt() > 0.1 * right.std()


def test_discrete_gaussian_has_its_variance():
    image = torch.zeros(3, 41, 41)
    image[:, 20, 20] = 1
    v = torch.tensor([0.0, 0.05, 3.0])
    out = blurred(image, v)
    place = torch.arange(41) - 20.0
    assert out.sum(dim=(1, 2)) == pytest.approx(1, abs=1e-5)
    assert (out.sum(dim=1) * place**2).sum(dim=1).numpy() == pytest.approx(v.numpy(), abs=1e-3)


@pytest.mark.parametrize("electrons", [0.02, 1.0, 5.9, 6.1, 300.0])
def test_shot_noise_has_mean_variance_and_empty_pixels_of_poisson(electrons):
    draw = Draw(4, torch.Generator().manual_seed(1))
    counts = shot_noise(torch.full((4, 300, 300), electrons), draw)
    assert counts.mean().item() == pytest.approx(electrons, rel=0.01, abs=0.002)
    assert counts.var().item() == pytest.approx(electrons, rel=0.05)
    assert (counts == 0).float().mean().item() == pytest.approx(np.exp(-electrons), abs=3e-3)


def test_background_and_offset_leave_the_mean(samples, monkeypatch):
    pattern = one_pattern(samples, monkeypatch, 20.0, (0.0, 0.0), 12.0)
    plain = render(pattern, view(), samples.mirror)
    glowing = render(pattern, view(background=[0.4], heights=[[0.1, 1.0, 0.5]]), samples.mirror)
    assert plain.mean().item() == pytest.approx(1, rel=1e-4)
    assert glowing.mean().item() == pytest.approx(1, rel=1e-4)
    assert (glowing - 0.6 * plain).min() > 0


def test_frame_edges_and_masks_are_empty(samples):
    image = torch.ones(1, 88, 88)
    cut = to_crops(image, view(), torch.tensor([[-13.0, 1e3, -1e3, 1e3]]), torch.tensor([[5.0, 0.0, 2.0]]))[0]
    u = (np.arange(CROP) - (CROP - 1) / 2) * PIXEL
    assert (cut[:, :, u < -13.7] == 0).all()
    x, y = np.meshgrid(u, u)
    assert (cut[:, np.hypot(x - 5, y) < 1.5] == 0).all()
    assert (cut[:, (np.hypot(x - 5, y) > 3) & (x > -12)] == 1).all()


def test_same_seed_same_samples(small_library):
    def batch(seed):
        made = Samples(small_library, Ranges.of(small_library), device=CPU, seed=seed, pool=32)
        made.batch(8)
        return made.batch(8)

    (crops_a, truth_a), (crops_b, truth_b), (other, _) = batch(5), batch(5), batch(6)
    assert torch.equal(crops_a, crops_b)
    assert all(torch.equal(*pair) for pair in zip(truth_a, truth_b, strict=True))
    assert not torch.equal(crops_a, other)
    assert torch.isfinite(crops_a).all()
    assert isinstance(truth_a, Truth)

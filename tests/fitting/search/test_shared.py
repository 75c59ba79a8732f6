"""The match of frames of one known camera with the library, and least squares of its best template."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hybridfit import make_frame, simulate_frame
from hybridfit.fitting.search.settings import SharedSettings
from hybridfit.fitting.search.shared import SharedMatcher
from hybridfit.library.library import Library
from hybridfit.pattern.background import basis
from hybridfit.pattern.camera import Camera, to_angles
from hybridfit.pattern.compose import pattern_at

SEMI_ANGLE, TILT_MOST = 9.0, 2.0
CAMERA = Camera(0.0, 0.0, 2.6, 20.0)
SETTINGS = SharedSettings(thickness_step=4.0)


@pytest.fixture(scope="module")
def library(small_library: Library) -> Library:
    return Library(small_library.dataset.load())


@pytest.fixture(scope="module")
def matcher(library):
    return SharedMatcher(library, CAMERA, SEMI_ANGLE, TILT_MOST, SETTINGS)


def shot(library, thickness, tilt, centre=(47.3, 48.6), **changes):
    values = {
        "semi_angle": SEMI_ANGLE,
        "shape": (96, 96),
        "centre": centre,
        "scale": CAMERA.scale,
        "rotation": CAMERA.rotation,
        "blur": 0.1,
        "electrons": 1e8,
        **changes,
    }
    return make_frame(simulate_frame(library, thickness=thickness, tilt=tilt, **values)[0]), centre


def test_the_curve_is_that_of_least_squares(library, matcher):
    """Of patterns composed the other way, with a background; nearest grid points move χ² a little."""
    frame, centre = shot(library, 30.0, (0.7, -0.9))
    ((found, curve),) = matcher.match([frame], np.array([centre]))
    reference = matcher.reference
    image, mask = reference.cut(frame.image, frame.valid, *reference.place(*centre))
    assert mask[reference.mask].all()
    row, col = np.nonzero(reference.mask)
    k = to_angles(col.astype(float), row.astype(float), reference.camera)
    half_edge = max(library.step, SETTINGS.edge / reference.camera.scale) / 2
    data, background, table = image[reference.mask], basis("radial", k, SEMI_ANGLE)[0], library.table()

    def left(thickness, tilt):
        values = {"thickness": thickness, "tilt": tuple(tilt), "semi_angle": SEMI_ANGLE}
        columns = np.column_stack([pattern_at(*k, table, half_edge=half_edge, **values), background.T])
        if np.linalg.lstsq(columns, data, rcond=None)[0][0] < 0:  # no crystal takes light away
            columns = columns[:, 1:]
        rest = data - columns @ np.linalg.lstsq(columns, data, rcond=None)[0]
        return (rest**2).sum() / ((data - data.mean()) ** 2).sum()

    assert curve.shape == (2, len(matcher.thickness))
    for i in (2, 6, 7, 8, 12):
        slow = min(left(curve[0, i], tilt) for tilt in matcher.tilts)
        assert curve[1, i] == pytest.approx(slow, abs=SETTINGS.noise)
    assert found[0].chi2 == pytest.approx(left(found[0].thickness, found[0].tilt), abs=SETTINGS.noise)
    assert found[0].chi2 == pytest.approx(curve[1].min()) and np.ptp(curve[1]) > 15 * SETTINGS.noise


@pytest.mark.parametrize(
    ("thickness", "tilt"), [(22.0, (0.0, 0.0)), (29.0, (1.1, -0.6)), (38.0, (-0.4, 1.6))]
)
def test_the_nearest_template_is_found(library, matcher, thickness, tilt):
    frame, centre = shot(library, thickness, tilt)
    ((found, _),) = matcher.match([frame], np.array([centre]))
    assert abs(found[0].thickness - thickness) <= 3 and np.hypot(*np.subtract(found[0].tilt, tilt)) <= 0.7
    assert (found[0].centre_x, found[0].centre_y) == centre and found[0].scale == CAMERA.scale
    assert [c.chi2 for c in found] == sorted(c.chi2 for c in found)


def test_candidates_are_apart_and_few(library, matcher):
    frame, centre = shot(library, 27.0, (0.5, 0.5), electrons=3e4)
    ((found, _),) = matcher.match([frame], np.array([centre]))
    assert 1 <= len(found) <= SETTINGS.candidates
    for i, a in enumerate(found):
        for b in found[:i]:
            near = np.hypot(*np.subtract(a.tilt, b.tilt)) < SETTINGS.apart[1]
            assert not near or abs(a.thickness - b.thickness) >= SETTINGS.apart[0]
    assert found[-1].chi2 <= found[0].chi2 * (1 + SETTINGS.deeper) + SETTINGS.noise


def test_frames_are_matched_each_by_itself(library, matcher):
    """Together or alone; brighter, on a pedestal, or with dead pixels."""
    frame, centre = shot(library, 33.0, (0.9, 0.3))
    other, beside = shot(library, 24.0, (-1.2, 0.2), centre=(49.1, 46.2))
    dead = frame.valid.copy()
    dead[40:44, 50:53] = False
    frames = [frame, other, replace(frame, image=7 * frame.image + 500.0), replace(frame, valid=dead)]
    together = matcher.match(frames, np.array([centre, beside, centre, centre]))
    ((alone, _),) = matcher.match([other], np.array([beside]))
    first, second, brighter, masked = (found[0] for found, _ in together)
    assert (second.thickness, second.tilt) == (alone[0].thickness, alone[0].tilt)
    assert second.chi2 == pytest.approx(alone[0].chi2, abs=1e-4)
    assert (brighter.thickness, brighter.tilt) == (first.thickness, first.tilt)
    assert brighter.chi2 == pytest.approx(first.chi2, abs=1e-4)
    assert (masked.thickness, masked.tilt) == (first.thickness, first.tilt)


def test_nothing_is_resembled_by_nothing(matcher):
    noise = np.random.default_rng(1).poisson(100.0, (96, 96)).astype(float)
    ((found, curve),) = matcher.match([make_frame(noise)], np.array([[47.0, 48.0]]))
    assert curve[1].min() > 0.9 and found[0].chi2 == pytest.approx(curve[1].min())

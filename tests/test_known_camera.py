"""The model of a known camera against the forward model, and its slopes with finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.known_camera import ROWS, KnownCameraModel
from hybridfit.known_images import KnownCamera
from hybridfit.model import ForwardModel
from hybridfit.pattern.camera import Camera

SEMI_ANGLE = 9.0
CAMERA = Camera(41.3, 34.8, 2.4, 12.0, 0.004, -0.006)
VALUES = {
    "thickness": 30.4,
    "tilt_x": 0.8,
    "tilt_y": -1.1,
    **CAMERA._asdict(),
    "semi_angle": SEMI_ANGLE,
    "blur": 0.4,
}
NAMES = ROWS[1:]
STEPS = {"thickness": 0.02, "tilt_x": 2e-3, "tilt_y": 2e-3, "centre_x": 2e-3, "centre_y": 2e-3, "blur": 1e-4}


@pytest.fixture(scope="module")
def known(small_library):
    return KnownCamera(small_library, CAMERA, semi_angle=SEMI_ANGLE)


@pytest.fixture(scope="module", params=["whole", "in part"])
def model(known, request):
    mask = known.mask.copy()
    if request.param == "in part":
        mask[: known.reference.middle // 2] = False
        mask[known.reference.middle + 2, known.reference.middle + 3 : known.reference.middle + 9] = False
    return KnownCameraModel(known, mask, *known.reference.place(CAMERA.centre_x, CAMERA.centre_y))


@pytest.fixture(scope="module")
def exact(small_library, model):
    """Finely divided, so that its own pixels are no source of error."""
    return ForwardModel(
        small_library, model.mask, CAMERA, semi_angle=SEMI_ANGLE, origin=model.origin, fine_pixel=0.05
    )


def test_it_is_the_forward_model(model, exact):
    found, expected = model.evaluate(VALUES, NAMES), exact.evaluate(VALUES, NAMES)
    assert np.abs(found.columns[0] - expected.columns[0]).max() < 6e-3 * expected.columns[0].max()
    np.testing.assert_allclose(found.columns[1:], expected.columns[1:], atol=1e-12)
    for a, b in zip(found.pattern_slopes, expected.pattern_slopes, strict=True):
        assert np.std(a - b) < 0.03 * np.std(b)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.31, -0.44), (-0.5, 0.2), (1.2, 0.9)])
def test_the_centre_may_be_anywhere_in_a_pixel(known, small_library, shift):
    left, top = known.reference.place(CAMERA.centre_x, CAMERA.centre_y)
    at = {
        **VALUES,
        "centre_x": left + known.reference.middle + shift[0],
        "centre_y": top + known.reference.middle + shift[1],
    }
    model = KnownCameraModel(known, known.mask, left, top)
    camera = Camera(*(at[name] for name in Camera._fields))
    exact = ForwardModel(
        small_library, known.mask, camera, semi_angle=SEMI_ANGLE, origin=model.origin, fine_pixel=0.05
    )
    found, expected = (m.evaluate(at).columns[0] for m in (model, exact))
    assert np.abs(found - expected).max() < 6e-3 * expected.max()


@pytest.mark.parametrize("name", NAMES)
def test_slopes_are_finite_differences(model, name):
    slope = model.evaluate(VALUES, NAMES).pattern_slopes[NAMES.index(name)]
    ends = [
        model.evaluate({**VALUES, name: VALUES[name] + side}).columns[0]
        for side in (STEPS[name], -STEPS[name])
    ]
    difference = (ends[0] - ends[1]) / (2 * STEPS[name])
    assert np.abs(slope - difference).max() < 0.02 * np.abs(slope).max()


def test_vacuum_is_an_empty_disc(model, small_library):
    exact = ForwardModel(small_library, model.mask, CAMERA, semi_angle=SEMI_ANGLE, origin=model.origin)
    for share in (0.0, 0.3):
        at, names = {**VALUES, "vacuum": share}, ("vacuum", "centre_x")
        found, expected = model.evaluate(at, names), exact.evaluate(at, names)
        assert np.abs(found.columns[0] - expected.columns[0]).max() < 6e-3 * expected.columns[0].max()
        for a, b in zip(found.pattern_slopes, expected.pattern_slopes, strict=True):
            assert np.std(a - b) < 0.05 * np.std(b)


def test_second_derivatives_along_the_tilt_are_differences(model, exact):
    step, names = 0.2, ("tilt_x", "tilt_y")
    xx, xy, yy = model.tilt_bends(VALUES)
    beside = [
        [
            exact.evaluate({**VALUES, name: VALUES[name] + side * step / 2}, names).pattern_slopes
            for side in (1, -1)
        ]
        for name in names
    ]
    (d_xx, d_xy), (d_yx, d_yy) = ((up - down) / step for up, down in beside)
    for bend, difference in ((xx, d_xx), (xy, (d_xy + d_yx) / 2), (yy, d_yy)):
        assert np.std(bend - difference) < 0.1 * np.std(difference)
    turned = {**VALUES, "rotation": 57.0}
    np.testing.assert_allclose(model.tilt_bends(turned), model.general.tilt_bends(turned))


def test_second_derivatives_along_the_thickness_are_differences(model, exact):
    step = 0.5
    up, here, down = (
        exact.evaluate({**VALUES, "thickness": VALUES["thickness"] + side * step}).columns[0]
        for side in (1, 0, -1)
    )
    difference = (up - 2 * here + down) / step**2
    assert np.std(model.thickness_bend(VALUES) - difference) < 0.1 * np.std(difference)


@pytest.mark.parametrize("thickness", [22.0, 30.0, 45.0])
@pytest.mark.parametrize("share", [0.0, 0.2])
def test_patterns_at_other_thicknesses_have_node_images_where_many_are_asked_for(
    small_library, thickness, share
):
    at = {**VALUES, "thickness": thickness, "vacuum": share}
    models = []
    for many in (False, True):
        known = KnownCamera(small_library, CAMERA, semi_angle=SEMI_ANGLE, many=many)
        place = known.reference.place(CAMERA.centre_x, CAMERA.centre_y)
        models.append(KnownCameraModel(known, known.mask, *place))
    exact, found = (model.pattern(at) for model in models)
    assert np.std(found - exact) < 0.02 * np.std(exact)
    assert "others" not in vars(models[0].known) and models[1].known.others.made
    between = {**at, "thickness": thickness + 0.3}
    np.testing.assert_array_equal(models[1].pattern(between), models[0].pattern(between))


def test_slopes_along_what_is_assumed(model, exact):
    found, expected = model.assumption_slopes(VALUES), exact.assumption_slopes(VALUES)
    assert found.keys() == expected.keys()
    for name, slope in expected.items():
        assert np.std(found[name] - slope) < 0.15 * np.std(slope), name


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"scale": 2.41}, ()),
        ({"rotation": 57.0}, ()),
        ({"semi_angle": 9.1}, NAMES),
        ({"tilt_spread": 0.3}, ()),
        ({}, ("thickness", "rotation")),
    ],
)
def test_what_moves_the_points_is_left_to_the_forward_model(model, small_library, changes, names):
    at = {**VALUES, **changes}
    assert not model.covers(at, names)
    exact = ForwardModel(
        small_library, model.mask, CAMERA, semi_angle=SEMI_ANGLE, origin=model.origin
    ).evaluate(at, names)
    found = model.evaluate(at, names)
    assert np.abs(found.columns - exact.columns).max() < 1e-3 * exact.columns[0].max()


def test_frames_are_binned(small_library):
    camera = CAMERA._replace(scale=4.8, centre_x=90.2, centre_y=77.7)
    known = KnownCamera(small_library, camera, semi_angle=SEMI_ANGLE, factor=2)
    model = KnownCameraModel(known, known.mask, *known.reference.place(camera.centre_x, camera.centre_y))
    exact = ForwardModel(
        small_library,
        known.mask,
        camera,
        semi_angle=SEMI_ANGLE,
        origin=model.origin,
        pixel=2,
        fine_pixel=0.05,
    )
    at = {**VALUES, **camera._asdict()}
    found, expected = model.evaluate(at, NAMES), exact.evaluate(at, NAMES)
    assert np.abs(found.columns[0] - expected.columns[0]).max() < 6e-3 * expected.columns[0].max()
    for a, b in zip(found.pattern_slopes, expected.pattern_slopes, strict=True):
        assert np.std(a - b) < 0.03 * np.std(b)

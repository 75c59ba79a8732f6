"""The forward model compared with a plain one, and all derivatives with finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import convolve1d
from scipy.optimize import brentq
from scipy.stats import norm

from hybridfit.errors import InputError
from hybridfit.model import MODEL, PARAMETERS, ForwardModel
from hybridfit.pattern.background import NAMES, RADIAL_WIDTHS
from hybridfit.pattern.blur import gaussian_weights, sigma_of_variance
from hybridfit.pattern.camera import Camera, to_angles
from hybridfit.pattern.compose import pattern_at

SEMI_ANGLE = 9.0
SHAPE = (72, 80)
CAMERA = Camera(41.3, 34.8, 1.7, 12.0)
VALUES = {
    "thickness": 30.4,
    "tilt_x": 0.8,
    "tilt_y": -1.1,
    **CAMERA._asdict(),
    "semi_angle": SEMI_ANGLE,
    "blur": 0.5,
}
STEPS = {
    "thickness": 0.02,
    "blur": 1e-5,  # the reach of the kernel, whole pixels, must not change on the way
    "centre_x": 1e-3,
    "centre_y": 1e-3,
    "rotation": 1e-3,
    "scale": 1e-4,
    "ellipticity_a": 1e-5,
    "ellipticity_b": 1e-5,
}


@pytest.fixture(scope="module")
def mask():
    row, col = np.indices(SHAPE)
    inside = np.hypot(col - CAMERA.centre_x, row - CAMERA.centre_y) <= (SEMI_ANGLE + 7.5) * CAMERA.scale
    inside[30:33, 50] = False  # dead pixels
    return inside


@pytest.fixture
def model(small_library, mask):
    return ForwardModel(small_library, mask, CAMERA, semi_angle=SEMI_ANGLE)


def displaced(seed):
    """Values that a refinement may reach from CAMERA."""
    rng = np.random.default_rng(seed)
    return {
        "thickness": rng.uniform(5, 55),
        "tilt_x": rng.uniform(-2, 2),
        "tilt_y": rng.uniform(-2, 2),
        "centre_x": CAMERA.centre_x + rng.uniform(-1.5, 1.5),
        "centre_y": CAMERA.centre_y + rng.uniform(-1.5, 1.5),
        "scale": CAMERA.scale * rng.uniform(0.98, 1.02),
        "rotation": rng.uniform(-45, 45),
        "ellipticity_a": rng.uniform(-0.01, 0.01),
        "ellipticity_b": rng.uniform(-0.01, 0.01),
        "semi_angle": SEMI_ANGLE * rng.uniform(0.97, 1.03),
        "blur": rng.uniform(0.2, 0.6),
    }


def kernel_of_variance(variance):
    """Weights of the Gaussian, integrated over pixels, whose variance on the pixels this is."""
    at = np.arange(-15, 16)

    def weights(sigma):
        return np.diff(norm.cdf(np.arange(-15, 17) - 0.5, scale=sigma))

    return weights(brentq(lambda sigma: at**2 @ weights(sigma) - variance, 0.05, 5))


def plain_image(library, values, half_edge, s):
    """mean(blur(P(k(fine pixel)))) + P_d over the whole frame, with everything the library has."""
    shape = (s * (SHAPE[0] + 30), s * (SHAPE[1] + 30))
    row, col = ((index + 0.5) / s - 0.5 - 15 for index in np.indices(shape))
    kx, ky = to_angles(col.ravel(), row.ravel(), Camera(*(values[name] for name in Camera._fields)))
    image = pattern_at(
        kx,
        ky,
        library.table(),
        thickness=values["thickness"],
        tilt=(values["tilt_x"], values["tilt_y"]),
        semi_angle=values["semi_angle"],
        half_edge=half_edge,
    ).reshape(col.shape)
    edge = 2 * half_edge * values["scale"] * s
    weights = kernel_of_variance((values["blur"] * values["scale"] * s) ** 2 + 1 / 12 - edge**2 / 28)
    for axis in (0, 1):
        image = convolve1d(image, weights, axis=axis, mode="constant")
    image = image.reshape(shape[0] // s, s, shape[1] // s, s).mean(axis=(1, 3))[15:-15, 15:-15]
    row, col = (index.ravel().astype(float) for index in np.indices(SHAPE))
    k = to_angles(col, row, Camera(*(values[name] for name in Camera._fields)))
    tilt = values["tilt_x"], values["tilt_y"]
    diffuse = library.diffuse.at(k, values["thickness"], tilt, values["semi_angle"]).value
    return image + diffuse.reshape(SHAPE)


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_plain_model(model, small_library, mask, seed):
    values = displaced(seed)
    expected = plain_image(small_library, values, model.half_edge, model.oversampling)[mask]
    pattern = model.evaluate(values).columns[0]
    np.testing.assert_allclose(pattern, expected, atol=2e-3 * expected.max())


def test_the_edge_is_as_soft_as_the_grid_or_a_fine_pixel(small_library, mask):
    coarse = ForwardModel(small_library, mask, CAMERA, semi_angle=SEMI_ANGLE, fine_pixel=0.6)
    fine = ForwardModel(small_library, mask, CAMERA._replace(scale=5.0), semi_angle=SEMI_ANGLE)
    assert coarse.half_edge == MODEL.edge_width / CAMERA.scale / 2
    assert fine.half_edge == small_library.step / 2


def test_wide_pixels_are_divided(small_library, mask):
    for scale, width, pixel, s in ((4.0, 0.3, 1, 1), (1.7, 0.3, 1, 2), (1.7, 0.6, 1, 1), (1.7, 0.3, 2, 4)):
        camera = CAMERA._replace(scale=scale)
        model = ForwardModel(
            small_library, mask, camera, semi_angle=SEMI_ANGLE, pixel=pixel, fine_pixel=width
        )
        assert model.oversampling == s


@pytest.mark.parametrize("background", NAMES)
def test_columns_are_the_pattern_and_the_background(small_library, mask, background):
    model = ForwardModel(
        small_library, mask, CAMERA, semi_angle=SEMI_ANGLE, background=background, per_nm=0.01
    )
    out = model.evaluate(VALUES)
    n = {"none": 0, "uniform": 1, "uniform-per-nm": 0, "radial": 3}[background]
    assert out.columns.shape == (1 + n, mask.sum())
    assert out.slopes is None and out.per_nm == 0
    np.testing.assert_allclose(out.fixed, 0.01 * 30.4 if background == "uniform-per-nm" else 0)
    if background == "radial":
        row, col = np.nonzero(mask)
        r = np.hypot(col - CAMERA.centre_x, row - CAMERA.centre_y) / CAMERA.scale
        for width, column in zip(RADIAL_WIDTHS, out.columns[2:], strict=True):
            np.testing.assert_allclose(column, np.exp(-((r / width / SEMI_ANGLE) ** 2) / 2), atol=1e-12)


def test_an_unknown_background_is_refused(small_library, mask):
    with pytest.raises(InputError, match="unknown background 'parabolic'; choose one of"):
        ForwardModel(small_library, mask, CAMERA, semi_angle=SEMI_ANGLE, background="parabolic")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("background", "s"), [*((name, 2) for name in NAMES), ("radial", 1), ("none", 4)])
def test_every_derivative_equals_finite_differences(small_library, mask, background, s, seed):
    model = ForwardModel(
        small_library,
        mask,
        CAMERA,
        semi_angle=SEMI_ANGLE,
        background=background,
        per_nm=0.02,
        fine_pixel=1 / CAMERA.scale / s,
    )
    assert model.oversampling == s
    values = displaced(seed + 10)
    out = model.evaluate(values, PARAMETERS)
    assert out.slopes.shape == (len(PARAMETERS), *out.columns.shape)
    for i, name in enumerate(PARAMETERS):
        h = STEPS.get(name, 1e-3)
        up, down = (model.evaluate(values | {name: values[name] + step}) for step in (h, -h))
        numerical = (up.columns - down.columns) / (2 * h)
        scale = np.abs(numerical[0]).max()
        np.testing.assert_allclose(out.slopes[i, 0], numerical[0], atol=4e-3 * scale, err_msg=name)
        np.testing.assert_allclose(out.slopes[i, 1:], numerical[1:], atol=1e-6, err_msg=name)
        fixed = out.per_nm if name == "thickness" else 0
        np.testing.assert_allclose(fixed, (up.fixed - down.fixed) / (2 * h), atol=1e-9)
        unit = np.eye(len(out.columns))[0]
        np.testing.assert_allclose(out.sensitivity(unit)[i], out.slopes[i, 0] + fixed)


def test_derivatives_come_in_the_order_asked_for(model):
    everything = model.evaluate(VALUES, PARAMETERS)
    some = model.evaluate(VALUES, ("blur", "thickness", "centre_y"))
    np.testing.assert_allclose(some.columns, everything.columns, atol=1e-12)
    for i, name in enumerate(("blur", "thickness", "centre_y")):
        np.testing.assert_allclose(some.slopes[i], everything.slopes[PARAMETERS.index(name)], atol=1e-12)


@pytest.mark.parametrize("seed", range(2))
def test_second_derivatives_along_the_tilt_are_differences_of_slopes(model, seed):
    values, step = displaced(seed), 0.05

    def slopes(name, to):
        return model.evaluate({**values, name: values[name] + to}, ("tilt_x", "tilt_y")).pattern_slopes

    x, y = ((slopes(name, step) - slopes(name, -step)) / (2 * step) for name in ("tilt_x", "tilt_y"))
    expected = np.array([x[0], (x[1] + y[0]) / 2, y[1]])
    found = model.tilt_bends(values)
    for one, other in zip(found, expected, strict=True):
        assert np.std(one - other) < 0.1 * np.std(other)


def test_vacuum_lowers_the_pattern_and_adds_a_disc(model):
    values, step = {**displaced(0), "vacuum": 0.2}, 1e-3
    ends = [model.evaluate({**values, "vacuum": 0.2 + side}).columns[0] for side in (-step, step)]
    found = model.evaluate(values, ("tilt_x", "vacuum")).pattern_slopes
    numerical = (ends[1] - ends[0]) / (2 * step)
    assert found[1] == pytest.approx(numerical, abs=1e-3 * np.abs(numerical).max())


def test_the_kernel_has_the_variance_asked_for():
    for variance in (0.01, 0.0476, 0.3, 1.0, 7.0):
        sigma, slope = sigma_of_variance(variance, MODEL.narrowest_blur)
        weights, _ = gaussian_weights(sigma)
        at = np.arange(len(weights)) - len(weights) // 2
        assert at**2 @ weights == pytest.approx(variance, rel=1e-4)
        h = 1e-4 * variance
        ends = [sigma_of_variance(variance + side, MODEL.narrowest_blur) for side in (-h, h)]
        numerical = (ends[1][0] - ends[0][0]) / (2 * h)
        assert slope == pytest.approx(numerical, rel=1e-3)


@pytest.mark.parametrize("variance", [-0.1, 0.0, 1e-5])
def test_a_variance_below_the_smallest_is_the_smallest_and_flat(variance):
    assert sigma_of_variance(variance, MODEL.narrowest_blur) == (MODEL.narrowest_blur, 0.0)


def test_a_pixel_widens_the_edge_of_a_bare_aperture(small_library, mask):
    """The variance of the edge, blur included, is that of pixels that average over their area."""
    for blur in (0.3, 0.5, 0.8):
        model = ForwardModel(small_library, mask, CAMERA, semi_angle=SEMI_ANGLE)
        sigma, _ = model.kernel_of(blur, CAMERA.scale)
        weights, _ = gaussian_weights(sigma)
        at = np.arange(len(weights)) - len(weights) // 2
        per_mrad = CAMERA.scale * model.oversampling
        edge = (2 * model.half_edge * per_mrad) ** 2 / 28
        assert at**2 @ weights + edge == pytest.approx((blur * per_mrad) ** 2 + 1 / 12)


def test_what_came_before_leaves_no_trace(model):
    first = model.evaluate(VALUES, PARAMETERS)
    for seed in range(3):
        model.evaluate(displaced(seed))
    again = model.evaluate(VALUES, PARAMETERS)
    np.testing.assert_array_equal(again.columns, first.columns)
    np.testing.assert_array_equal(again.slopes, first.slopes)


def test_a_window_gives_the_same_model(model, small_library, mask):
    window = small_library.window(30.0, (0.5, -1.0), semi_angle=SEMI_ANGLE * 1.06)
    narrow = ForwardModel(window, mask, CAMERA, semi_angle=SEMI_ANGLE)
    np.testing.assert_allclose(narrow.evaluate(VALUES).columns, model.evaluate(VALUES).columns, atol=1e-6)


def test_a_pattern_cut_by_the_frame_is_modelled_where_it_is_seen(small_library):
    cut = CAMERA._replace(centre_x=15.0)
    row, col = np.indices(SHAPE)
    inside = np.hypot(col - cut.centre_x, row - cut.centre_y) <= 25
    values = VALUES | {"centre_x": 15.0}
    model = ForwardModel(small_library, inside, cut, semi_angle=SEMI_ANGLE, background="none")
    expected = plain_image(small_library, values, model.half_edge, model.oversampling)[inside]
    pattern = model.evaluate(values).columns[0]  # the blur brings in what is beyond the frame
    np.testing.assert_allclose(pattern, expected, atol=1e-3 * expected.max())


def test_an_n_fold_turn_of_camera_and_tilt_changes_nothing(model):
    """Turning the camera by 90° and the tilt by −90° leaves the image of a fourfold crystal as it was."""
    turned = VALUES | {"rotation": 12.0 + 90, "tilt_x": VALUES["tilt_y"], "tilt_y": -VALUES["tilt_x"]}
    pattern = model.evaluate(VALUES).columns[0]
    np.testing.assert_allclose(model.evaluate(turned).columns[0], pattern, atol=1e-5)

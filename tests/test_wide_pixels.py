"""Pixels wider than details of the pattern: the model compared with exact means over pixels."""

from __future__ import annotations

import lmfit
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hybridfit.fitting.refine.least_squares import refine
from hybridfit.fitting.refine.settings import REFINE, Effort
from hybridfit.model import MODEL, PARAMETERS, ForwardModel
from hybridfit.pattern.camera import Camera, to_angles
from hybridfit.pattern.compose import pattern_at

SEMI_ANGLE = 12.0
BEYOND = 7.5  # mrad
FINE = 0.08  # mrad: a tenth of the widest pixel and less


def exact_frame(library, camera, values, shape):
    """Pattern with a sharp aperture, blurred and averaged on a grid that is far finer than the pixels."""
    s, margin = int(np.ceil(1 / FINE / camera.scale)), int(np.ceil(5 * values["blur"] * camera.scale))
    row, col = ((np.arange(s * (n + 2 * margin)) + 0.5) / s - 0.5 - margin for n in shape)
    cols, rows = (v.ravel() for v in np.meshgrid(col, row))
    k = to_angles(cols, rows, camera)
    fine = pattern_at(
        k[0],
        k[1],
        library.table(),
        thickness=values["thickness"],
        tilt=(values["tilt_x"], values["tilt_y"]),
        semi_angle=SEMI_ANGLE,
        half_edge=FINE / 2,
    )
    tilt = values["tilt_x"], values["tilt_y"]
    fine = fine + library.diffuse.at(k, values["thickness"], tilt, SEMI_ANGLE).value
    fine = fine.reshape(len(row), len(col))
    fine = gaussian_filter(fine, values["blur"] * camera.scale * s, truncate=5)
    rows, cols = (n + 2 * margin for n in shape)
    return fine.reshape(rows, s, cols, s).mean(axis=(1, 3))[margin : rows - margin, margin : cols - margin]


def setting(library, scale, thickness, blur):
    """Frame, mask and values of a pattern that just fits into the frame."""
    radius = (SEMI_ANGLE + BEYOND) * scale
    shape = (int(2 * radius) + 3, int(2 * radius) + 4)
    camera = Camera(radius + 1.4, radius + 0.8, scale, 21.0, 0.004, -0.006)
    values = {"thickness": thickness, "tilt_x": 1.1, "tilt_y": -1.7, **camera._asdict()}
    values |= {"semi_angle": SEMI_ANGLE, "blur": blur}
    row, col = np.indices(shape)
    mask = np.hypot(col - camera.centre_x, row - camera.centre_y) <= radius
    return exact_frame(library, camera, values, shape), mask, camera, values


@pytest.mark.parametrize("blur", [0.3, 0.7])
@pytest.mark.parametrize("thickness", [3.0, 55.0])
@pytest.mark.parametrize("scale", [0.7, 1.3, 2.2])
def test_equals_the_exact_mean_over_pixels(small_library, scale, thickness, blur):
    image, mask, camera, values = setting(small_library, scale, thickness, blur)
    model = ForwardModel(small_library, mask, camera, semi_angle=SEMI_ANGLE)
    error = (model.evaluate(values).columns[0] - image[mask]) / image.max()
    assert np.sqrt((error**2).mean()) < 1.5e-3
    assert np.abs(error).max() < 2e-2


def test_light_from_beyond_the_compared_pixels_is_there(small_library):
    """At the rim of the compared region, with a blur several pixels wide."""
    image, mask, camera, values = setting(small_library, 4.0, 30.0, 0.8)
    row, col = np.indices(mask.shape)
    distance = np.hypot(col - camera.centre_x, row - camera.centre_y) / camera.scale
    rim = distance[mask] > SEMI_ANGLE + BEYOND - 1
    model = ForwardModel(small_library, mask, camera, semi_angle=SEMI_ANGLE)
    error = (model.evaluate(values).columns[0] - image[mask])[rim]
    assert np.abs(error).max() < 0.02 * image[mask][rim].max()


@pytest.mark.parametrize("scale", [0.8, 1.3])
def test_the_fitted_parameters_have_no_bias(small_library, scale):
    image, mask, camera, values = setting(small_library, scale, 50.0, 0.4)
    model = ForwardModel(small_library, mask, camera, semi_angle=SEMI_ANGLE, background="none")
    params = lmfit.Parameters()
    off = {"thickness": 0.8, "tilt_x": 0.2, "centre_x": 0.3, "blur": -0.15, "scale": 0.005 * scale}
    for name in PARAMETERS:
        params.add(name, value=values[name] + off.get(name, 0.0), vary=name != "semi_angle")
    found = refine(model, image[mask], params, effort=Effort(1, REFINE.tolerance, MODEL.fine_pixel)).values
    assert found["blur"] == pytest.approx(0.4, abs=8e-3)  # the edge is as soft as the small library's grid
    assert found["thickness"] == pytest.approx(50.0, abs=0.05)
    assert found["tilt_x"] == pytest.approx(1.1, abs=0.01)
    assert found["tilt_y"] == pytest.approx(-1.7, abs=0.01)

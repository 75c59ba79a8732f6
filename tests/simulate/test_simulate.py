"""Simulated frames, and the public names of the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hybridfit
from hybridfit.errors import InputError, LibraryError
from hybridfit.library.library import Library
from hybridfit.simulate.frame import simulate_frame

VALUES = {"thickness": 20.0, "semi_angle": 12.0, "shape": (64, 80)}


def test_electrons_are_counted_and_repeatable(small_library: Library):
    image, truth = simulate_frame(small_library, **VALUES, electrons=1e6, seed=5)
    assert image.shape == (64, 80) and image.dtype == np.int64 and image.min() >= 0
    assert abs(image.sum() - 1e6) < 5e3
    assert truth["centre_x"] == 39.5 and truth["centre_y"] == 31.5 and truth["electrons"] == 1e6
    np.testing.assert_array_equal(image, simulate_frame(small_library, **VALUES, electrons=1e6, seed=5)[0])
    assert (image != simulate_frame(small_library, **VALUES, electrons=1e6, seed=6)[0]).any()


def test_pixels_follow_the_camera_equation(small_library: Library):
    """Compares with the library's own patterns at pixel = centre + scale · R(rotation) · k."""
    scale, rotation, centre = 1.5, 30.0, (36.3, 33.2)
    values = VALUES | {"shape": (68, 72)}
    image, _ = simulate_frame(
        small_library,
        **values,
        tilt=(1.2, -0.6),
        scale=scale,
        rotation=rotation,
        centre=centre,
        blur=0.0,
        background=0.0,
        electrons=1e12,
    )
    axis = np.arange(-22, 22.01, 0.1)
    pattern = small_library.patterns(thickness=20.0, tilt_x=1.2, tilt_y=-0.6, semi_angle=12.0, k=axis)
    row, col = np.indices(image.shape)
    x, y = (col - centre[0]) / scale, (row - centre[1]) / scale
    c, s = np.cos(np.deg2rad(rotation)), np.sin(np.deg2rad(rotation))
    kx, ky = c * x + s * y, -s * x + c * y
    i, j = (np.rint((k + 22) / 0.1).astype(int) for k in (ky, kx))
    inside = np.hypot(x, y) < 10.5  # within the direct disc nothing has an edge but the other discs
    expected = pattern.values[0, 0, 0][i[inside], j[inside]]
    correlation = np.corrcoef(expected, image[inside])[0, 1]
    assert correlation > 0.97


def test_blur_and_background_do_what_they_say(small_library: Library):
    sharp, _ = simulate_frame(small_library, **VALUES, blur=0.0, background=0.0, electrons=1e12)
    soft, _ = simulate_frame(small_library, **VALUES, blur=1.0, background=0.0, electrons=1e12)
    assert np.abs(np.diff(soft, axis=1)).max() < 0.6 * np.abs(np.diff(sharp, axis=1)).max()
    glow, _ = simulate_frame(small_library, **VALUES, blur=0.0, background=0.5, electrons=1e12)
    difference = glow - 0.5 * sharp
    assert difference.sum() == pytest.approx(0.5e12, rel=1e-4)
    assert difference[32, 40] == pytest.approx(difference.max(), rel=0.01)
    assert difference.min() > 0.02 * difference.max()


@pytest.mark.parametrize(
    ("error", "words", "change"),
    [
        (LibraryError, "500", {"thickness": 500.0}),
        (LibraryError, "tilt 30", {"tilt": (30.0, 0.0)}),
        (LibraryError, "24 mrad", {"semi_angle": 24.0}),
        (InputError, "background 1.5", {"background": 1.5}),
        (InputError, "electrons 0", {"electrons": 0.0}),
        (InputError, "scale -1", {"scale": -1.0}),
        (InputError, r"shape \(100000, 100000\)", {"shape": (100000, 100000)}),
        (InputError, "scale 1e-09 px/mrad", {"scale": 1e-9}),
        (InputError, r"blur 1e\+09 mrad", {"blur": 1e9}),
        (TypeError, r"simulate_frame\(\) has no option 'tlit'; the options are thickness", {"tlit": 1.0}),
    ],
)
def test_what_no_camera_records(small_library: Library, error, words, change):
    with pytest.raises(error, match=words):
        simulate_frame(small_library, **(VALUES | change))


def test_thickness_and_semi_angle_are_needed(small_library: Library):
    with pytest.raises(TypeError, match="needs thickness and semi_angle"):
        simulate_frame(small_library)


def test_public_names():
    assert set(hybridfit.__all__) <= set(dir(hybridfit))
    for name in hybridfit.__all__:
        assert getattr(hybridfit, name) is not None
    assert hybridfit.Fitter.__module__ == "hybridfit.fitting.fitter"
    assert issubclass(InputError, hybridfit.errors.HybridfitError)
    assert isinstance(hybridfit.__version__, str)
    with pytest.raises(AttributeError, match="nosuch"):
        hybridfit.nosuch  # noqa: B018


def test_import_is_lazy():
    code = "import hybridfit, sys; print({'numpy', 'torch', 'numba', 'xarray'} & set(sys.modules))"
    root = Path(hybridfit.__file__).parents[1]
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=60)
    assert ran.stdout == "set()\n", ran


def test_wide_pixels_are_blurred_by_as_much_as_narrow_ones(small_library: Library):
    """A blur narrower than a third of a pixel, compared with pixels a quarter as wide."""
    values = {"thickness": 20.0, "semi_angle": 12.0, "blur": 0.1, "background": 0.0, "electrons": 1e15}
    wide, _ = simulate_frame(small_library, **values, shape=(40, 40), scale=0.8)
    narrow, _ = simulate_frame(small_library, **values, shape=(160, 160), scale=3.2)
    binned = narrow.reshape(40, 4, 40, 4).sum(axis=(1, 3))
    error = (wide - binned) / binned.max()
    assert np.sqrt((error**2).mean()) < 1e-3

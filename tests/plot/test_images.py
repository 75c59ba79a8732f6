"""Experiment, fit and residual: their scales, and where things are drawn on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hybridfit.pattern.camera import Camera, to_pixels
from hybridfit.plot import plot_fit


def test_experiment_and_fit_share_a_scale_and_the_residual_is_their_difference(result, axes_titled, image_of):
    figure = plot_fit(result)
    experiment, fit, residual = (image_of(figure, title) for title in ("experiment", "fit", "residual"))
    assert experiment.get_clim() == fit.get_clim()
    low, high = residual.get_clim()
    assert low == -high
    share = high / (fit.get_clim()[1] - fit.get_clim()[0])
    assert f"±{100 * share:.0f} % of" in axes_titled(figure, "residual").get_title(loc="right")
    np.testing.assert_allclose(experiment.get_array() - fit.get_array(), residual.get_array())
    np.testing.assert_array_equal(experiment.get_array().filled(np.nan), result.thumbnail.experiment)
    labels = [a.get_ylabel() for axes in figure.axes for a in (axes, *axes.child_axes)]
    assert sum("(frame units)" in label for label in labels) == 3  # both bars and the profile


def test_large_numbers_are_shown_as_powers_of_ten(result, image_of):
    shown = result.thumbnail
    large = replace(shown, experiment=shown.experiment * 1e5, fit=shown.fit * 1e5)
    figure = plot_fit(replace(result, thumbnail=large))
    power = int(np.floor(np.log10(np.nanmax(large.experiment))))
    assert any(f"$10^{{{power}}}$ frame units" in axes.get_ylabel() for axes in figure.axes)
    assert 1 <= np.nanmax(image_of(figure, "experiment").get_array()) < 10


def test_zone_axis_axes_disc_and_scale_bar_are_where_the_fit_has_them(result, axes_titled):
    camera = Camera(*(result[name].value for name in Camera._fields))
    figure = plot_fit(result)
    fit, experiment = axes_titled(figure, "fit"), axes_titled(figure, "experiment")

    crosses = [line for line in fit.lines if line.get_marker() == "+"]
    tilt = np.array([result["tilt_x"].value, result["tilt_y"].value])
    expected = to_pixels(-tilt[:1], -tilt[1:], camera)
    for cross in crosses:
        np.testing.assert_allclose([*cross.get_xdata(), *cross.get_ydata()], np.ravel(expected))
    assert f"{np.hypot(*tilt):.2f} mrad" in fit.get_title(loc="right")

    letters = {text.get_text(): np.array(text.get_position()) for text in fit.texts if text.get_text()}
    arrows = [text for text in fit.texts if getattr(text, "arrow_patch", None) is not None]
    start = np.array(arrows[0].xyann)
    centre = np.array([camera.centre_x, camera.centre_y])
    for name, k in (("x", (1.0, 0.0)), ("y", (0.0, 1.0))):
        along = np.ravel(to_pixels(*np.array(k)[:, None], camera)) - centre
        along /= np.linalg.norm(along)
        direction = letters[name] - start  # px: columns to the right, rows downwards
        np.testing.assert_allclose(direction / np.linalg.norm(direction), along, atol=1e-6)

    (disc,) = experiment.patches
    assert disc.center == (camera.centre_x, camera.centre_y)
    assert disc.radius == pytest.approx(12.0 * camera.scale)
    (bar,) = experiment.lines
    (label,) = [text.get_text() for text in experiment.texts]
    assert np.ptp(bar.get_xdata()) == pytest.approx(float(label.split()[0]) * camera.scale)
    assert experiment.get_xlim() == result.thumbnail.extent[:2]
    assert experiment.get_ylim() == result.thumbnail.extent[2:]

"""Radial profiles, and χ² against thickness."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hybridfit.plot import other_minima, plot_fit
from hybridfit.plot.profiles import ring_means
from hybridfit.plot.settings import PICTURE
from hybridfit.plot.words import measured


def test_radial_profiles_are_ring_means():
    radius = np.hypot(*np.mgrid[-20:21, -20:21]) * 0.5
    fit = 100.0 - 3.0 * radius
    experiment = np.where(radius < 8, fit + 2.0, np.nan)
    r, mean, model, spread = ring_means(radius, experiment, fit)
    np.testing.assert_allclose(mean - model, 2.0)
    np.testing.assert_allclose(model, 100.0 - 3.0 * r)
    np.testing.assert_allclose(spread, 0.0, atol=1e-6)
    assert r.max() < 8
    counts = np.histogram(radius[radius < 8], [0, r[0] + r[1]])[0]
    assert counts[0] >= PICTURE.ring_pixels


def test_other_minima_are_marked_and_ripples_are_not(result, axes_titled):
    t = np.arange(1.0, 126.0, 2.0)
    curve = 0.6 + 0.002 * np.cos(np.pi * t)
    for depth, at, width in ((0.5, 33, 4), (0.3, 71, 4), (0.2, 101, 4), (0.1, 11, 4)):
        curve -= depth * np.exp(-(((t - at) / width) ** 2))
    curve[40] *= 0.99
    marked = other_minima(replace(result, whole_curve=np.stack([t, curve])))
    assert [m.thickness for m in marked] == [71.0, 101.0, 11.0]
    figure = plot_fit(replace(result, whole_curve=np.stack([t, curve])))
    shown = "\n".join(text.get_text() for text in axes_titled(figure, "χ² against thickness").texts)
    assert all(f"{thickness} nm" in shown for thickness in (71, 101, 11))
    assert other_minima(replace(result, whole_curve=None)) == []


def test_the_answer_its_interval_and_the_runners_up(result, axes_titled):
    best = result.candidates[0]
    rival = replace(best, thickness=17.4, chi2=1.031 * best.chi2)
    axes = axes_titled(plot_fit(replace(result, candidates=(best, rival))), "χ² against thickness")
    t = result["thickness"]
    assert any(list(line.get_xdata()) == [t.value, t.value] for line in axes.lines)
    span = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (span.x0, span.x1) == pytest.approx(t.interval95)
    shown = [text.get_text() for text in axes.texts]
    assert "17.4 nm (× 1.03)" in shown
    assert axes.get_title(loc="right") == f"{measured(t)} nm"
    assert axes.get_yscale() == "log"

"""The width of the minima that least squares found, also where one knows nothing of a parameter."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.fitting.judge.modes import log_widths


def spread(scale: float) -> np.ndarray:
    root = scale * np.array([[0.5, 0, 0], [0.08, 0.06, 0], [0.01, 0, 0.02]])
    return root @ root.T


def test_the_width_is_the_root_of_the_determinant():
    widths = log_widths([spread(1.0), spread(2.0)])
    assert widths[0] == pytest.approx(0.5 * np.linalg.slogdet(spread(1.0))[1])
    assert widths[1] - widths[0] == pytest.approx(3 * np.log(2))


def test_a_parameter_on_its_bound_leaves_the_odds_to_the_others():
    on_bound = spread(1.0)
    on_bound[2], on_bound[:, 2] = 0.0, 0.0
    widths = log_widths([on_bound, spread(2.0)])
    assert np.isfinite(widths).all()
    assert widths[1] - widths[0] == pytest.approx(2 * np.log(2))


def test_parameters_that_go_together_are_finite():
    tied = np.outer([1.0, 2.0], [1.0, 2.0])
    assert np.isfinite(log_widths([tied, np.eye(2)])).all()

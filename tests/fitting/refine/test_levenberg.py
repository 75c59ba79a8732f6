"""Levenberg–Marquardt without lmfit: the minimum of a curved problem, its bounds, and when it ends."""

from __future__ import annotations

import lmfit
import numpy as np
import pytest

from hybridfit.fitting.refine.gram import Normal
from hybridfit.fitting.refine.levenberg import solve
from hybridfit.fitting.refine.lmfit_face import lmfit_face

X = np.linspace(0, 3, 400)
TRUTH = {"height": 2.0, "rate": 1.3}


class Decay:
    """height · exp(−rate · x), against data with noise of σ = 0.05."""

    def __init__(self):
        clean = TRUTH["height"] * np.exp(-TRUTH["rate"] * X)
        self.data = clean + 0.05 * np.random.default_rng(0).normal(size=X.size)

    def residual(self, params):
        v = params.valuesdict()
        return (self.data - v["height"] * np.exp(-v["rate"] * X)) / 0.05

    def sensitivity(self, params):
        v = params.valuesdict()
        e = np.exp(-v["rate"] * X) / 0.05
        every = {"height": e, "rate": -v["height"] * X * e}
        return np.stack([every[name] for name, p in params.items() if p.vary])

    def normal_equations(self, params):
        r, s = self.residual(params), self.sensitivity(params)
        return Normal(float(r @ r), s @ s.T, s @ r)


def parameters(**bounds):
    params = lmfit.Parameters()
    for name, value in (("height", 0.5), ("rate", 0.3)):
        low, high = bounds.get(name, (-np.inf, np.inf))
        params.add(name, value=value, min=low, max=high)
    return params


def test_it_finds_what_lmfit_finds():
    problem = Decay()
    expected = lmfit.Minimizer(problem.residual, parameters()).leastsq().params
    found = solve(problem, parameters(), 0.01, 60)
    assert found.success and found.nfev < 20
    for name, p in expected.items():
        assert abs(found.params[name].value - p.value) < 0.02 * p.stderr


def test_bounds_hold_and_the_rest_is_at_its_minimum():
    problem, bound = Decay(), (0.0, 1.1)
    found = solve(problem, parameters(rate=bound), 0.01, 60)
    held = parameters()
    held["rate"].set(value=1.1, vary=False)
    expected = lmfit.Minimizer(problem.residual, held).leastsq().params["height"].value
    assert found.success and found.params["rate"].value == bound[1]
    assert found.params["height"].value == pytest.approx(expected, abs=1e-3)


def test_it_says_when_it_has_not_settled():
    assert not solve(Decay(), parameters(), 0.01, 2).success


class Wrong(Decay):
    """The decay against data that it does not describe: the last steps change little."""

    def __init__(self):
        super().__init__()
        self.data = np.cos(2 * X) + X
        self.evaluations = 0

    def residual(self, params):
        self.evaluations += 1
        return super().residual(params)


def test_a_model_that_does_not_fit_may_end_where_it_hardly_improves():
    patient, hasty = Wrong(), Wrong()
    whole = solve(patient, parameters(), 1e-6, 60)
    early = solve(hasty, parameters(), 1e-6, 60, 0.02)
    assert early.success and early.nfev < whole.nfev and hasty.evaluations == early.nfev
    left = [
        float((wrong.residual(end.params) ** 2).sum()) for wrong, end in ((patient, whole), (hasty, early))
    ]
    assert left[0] <= left[1] < 1.02 * left[0]


def test_lmfit_sees_what_it_would_say_itself():
    problem = Decay()
    solved = solve(problem, parameters(rate=(0.1, 5.0)), 1e-4, 60)
    found, minimizer = lmfit_face(problem, solved, 60)
    expected = lmfit.Minimizer(problem.residual, solved.params, scale_covar=False).leastsq()
    assert found.success and found.var_names == expected.var_names and found.nfev == solved.nfev
    for name in ("ndata", "nvarys", "nfree", "chisqr", "redchi", "aic", "bic"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-6)
    assert "[[Variables]]" in lmfit.fit_report(found)
    again = minimizer.leastsq()
    for name in TRUTH:
        assert again.params[name].value == pytest.approx(found.params[name].value, rel=1e-3)


class Kink:
    """(x − 1)² + 2 |x − 1|, of whose slopes at x = 1 there are two, as of interpolated patterns at a node."""

    data = np.zeros(50)

    def __init__(self):
        self.seen = []

    def normal_equations(self, params):
        away = params["x"].value - 1
        self.seen.append(away)
        side = 1.0 if away >= 0 else -1.0
        return Normal(50 + away**2 + 2 * abs(away), np.array([[1.0]]), np.array([-away - side]))


def test_a_minimum_in_a_kink_is_one():
    """No short step lowers χ² there, though the slopes on either side promise it."""
    params = lmfit.Parameters()
    params.add("x", value=3.0)
    problem = Kink()
    found = solve(problem, params, 0.1, 60)
    assert found.success and found.nfev < 20
    assert abs(found.params["x"].value - 1) < 0.1

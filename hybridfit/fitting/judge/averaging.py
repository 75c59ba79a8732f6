"""What the averaged area holds besides one flat crystal: which extension of the model the residual asks for.

An extension adds columns D (n, m) to the image.  With D⊥ what is left of them beside the parameters and the
linear columns, and r the residual, all weighted, it would take away

    drop = rᵀ D⊥ (D⊥ᵀ D⊥)⁻¹ D⊥ᵀ r

of χ²: a score test, nothing is refined.  Two figures decide: the drop in units of independent pixels, the
square of standard deviations, and the gain, the share that it is of the misfit.  A correct model has no drop;
a model with a smooth misfit of another origin has a drop, but little gain.  Where neighbouring pixels share
noise, D⊥ is beside the tails of a point spread, too: they smear discs as a bend does.  The extensions are

    vacuum             a bare disc
    thickness_spread   the mean over t ± s; another thickness, any of the library
    tilt_spread        second derivatives along the tilt, in all directions: a bend, or two tilts
    turned             the same crystal turned about the beam: a twin
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.judge.settings import JudgeSettings
from hybridfit.fitting.judge.status import against, misfits, on_bound
from hybridfit.fitting.refine.least_squares import Refinement
from hybridfit.fitting.refine.minima import Finder, Minima
from hybridfit.fitting.refine.refiner import is_thin
from hybridfit.fitting.refine.spread import tails_of
from hybridfit.frame import Frame
from hybridfit.known_camera import KnownCameraModel, Model

Array = NDArray[np.float64]
At = Callable[..., Array]  # the pattern with some parameters changed

VACUUM, TURNED = "vacuum", "turned"
THICKNESS, TILT = "thickness_spread", "tilt_spread"


@dataclass(frozen=True)
class Extension:
    """What one extension would do.

    Attributes
    ----------
    name : str
        "vacuum", "thickness_spread", "tilt_spread" or "turned".
    drop : float
        Of χ², in independent pixels.
    gain : float
        Share of the misfit that it takes away.
    size : float
        Share of the area (vacuum, turned), or standard deviation (nm, mrad).
    at : float
        Thickness (nm) or angle (degrees) of a second crystal; NaN where there is none.
    """

    name: str
    drop: float
    gain: float
    size: float
    at: float = np.nan

    def __str__(self) -> str:
        part = f"{min(self.gain, 1.0):.0%} of the misfit"
        if self.name == VACUUM:
            return f"{self.size:.0%} of vacuum would take away {part}: --free vacuum"
        if self.name == TURNED:
            return f"a crystal turned by {self.at:g}° would take away {part}: two crystals, a twin?"
        if self.name == TILT:
            return (
                f"a spread of tilt of {self.size:.2g} mrad would take away {part}: --free tilt_spread, or "
                "average over less"
            )
        other = "" if np.isnan(self.at) else f", or a second thickness of about {self.at:.0f} nm,"
        return (
            f"a spread of thickness of {self.size:.2g} nm{other} would take away {part}: "
            "--free thickness_spread, or average over less"
        )


class ScoreTest:
    """Score tests of extensions, about where a fit ended.

    Parameters
    ----------
    fit : Refinement
        With its problem.
    """

    def __init__(self, fit: Refinement) -> None:
        problem = fit.problem
        assert problem is not None
        params = fit.lmfit_result.params
        columns = problem.columns(params)
        (self._intensity, image), self._linear = problem.linear(columns), problem.basis(columns)
        slopes = problem.sensitivity(params)
        self._root = problem.root_weights
        if fit.noise.correlation:
            tails = [*tails_of(image, problem.model.mask, problem.model.pixel).values()] * self._root
            slopes = np.concatenate([slopes, tails - (tails @ self._linear) @ self._linear.T])
        self._slopes, self._inverse = slopes, pseudo_inverse(slopes @ slopes.T)
        self._residual = self._root * (problem.data - image)
        self._along = slopes @ self._residual, self._linear.T @ self._residual
        self._total = float(self._residual @ self._residual)
        mean_weight = float((self._root**2).mean())
        noise = float((fit.noise.counting(fit.model) * self._root**2).sum())
        # of a correct fit nothing is misfit but what is left by chance
        chance = np.sqrt(2 / fit.residual.size) * self._total
        self._misfit = max(fit.noise.misfit * mean_weight * fit.residual.size, self._total - noise, chance)
        self._n_effective = fit.n_effective

    def __call__(self, added: Sequence[Array]) -> tuple[float, float, Array]:
        """Drop and gain of columns (m of n), in units of the pattern, and their coefficients (m,)."""
        d = np.asarray(added) * (self._intensity[0] * self._root)
        linear, slopes = d @ self._linear, d @ self._slopes.T
        whole, beside = d @ d.T, slopes @ self._inverse
        normal = whole - linear @ linear.T - beside @ slopes.T + np.diag(1e-9 * np.diag(whole) + 1e-300)
        target = d @ self._residual - linear @ self._along[1] - beside @ self._along[0]
        coefficients = np.linalg.solve(normal, target)
        drop = float(coefficients @ target)
        return drop / self._total * self._n_effective, drop / self._misfit, coefficients


def pseudo_inverse(normal: Array) -> Array:
    """Of a normal matrix (p, p) whose rows may depend on each other, or be 0."""
    size = np.sqrt(np.diag(normal))
    scale = np.where(size > 0, size, 1.0)
    square, turn = np.linalg.eigh(normal / scale / scale[:, None])
    kept = square > 1e-12 * square.max(initial=0.0)
    turn = turn[:, kept]
    return np.asarray((turn / square[kept]) @ turn.T / scale / scale[:, None], float)


class Averaged:
    """Finds minima, with vacuum where a frame asks for it.

    Parameters
    ----------
    finder, with_vacuum : Finder
        Without vacuum, or as the user wants it; and with vacuum as a parameter.
    """

    def __init__(self, finder: Finder, with_vacuum: Finder) -> None:
        self.finder, self.with_vacuum = finder, with_vacuum

    def find(self, frame: Frame, found: Sequence[Candidate]) -> tuple[Minima, str]:
        """The minima that candidates lead to, and what their best one asks for; empty where it is nothing.

        Raises
        ------
        InputError
            Too few pixels are usable.
        """
        minima = self.finder.find(frame, found)
        limits = self.finder.refiner.settings.judging
        if _hopeless(minima):  # it is poor, unless vacuum says why
            few = tested(frame, minima, few=True)
            if not any(e.name == VACUUM and e.gain >= limits.vacuum_gain for e in few):
                return minima, ""
        thin = is_thin(minima.best.answer.thickness, minima.refiner.library, minima.refiner.settings.refining)
        all_of_them = tested(
            frame, minima, few=thin
        )  # next to nothing is no mean of thicknesses, and no twin
        vacuum = next((e for e in all_of_them if e.name == VACUUM), None)
        least = max(
            limits.averaging_drop, limits.vacuum_among * max((e.drop for e in all_of_them), default=0)
        )
        if vacuum is not None and vacuum.drop >= least and vacuum.gain >= limits.vacuum_gain:
            # without vacuum another minimum may have been the deepest
            other = self.with_vacuum.find(frame, found)
            most = (1 - limits.averaging_gain) * excess(minima.best.fit)
            if excess(other.best.fit) < most and other.best.fit.values[VACUUM] >= limits.vacuum_matters:
                minima = other
                all_of_them = tested(frame, minima)
        asked = [e for e in all_of_them if _asked(e, limits)]
        first = max(asked, key=lambda e: e.drop, default=None)
        return minima, "" if first is None else str(first)


def _hopeless(minima: Minima) -> bool:
    """Whether a match is poor whatever the area holds besides: asked where many extensions would be tried."""
    best, settings = minima.best, minima.refiner.settings
    if misfits(best, settings.judging):
        return True
    if excess(best.fit) <= settings.judging.averaging_excess:
        return False
    return bool(against(best, on_bound(best, minima.refiner.library, settings), settings.judging))


def excess(fit: Refinement) -> float:
    """By how many standard deviations the residual is larger than noise."""
    n = fit.residual.size
    ratio = float((fit.residual**2 / np.maximum(fit.noise.counting(fit.model), 1e-300)).sum()) / n
    return (ratio - 1) * float(np.sqrt(n / 2))


def tested(frame: Frame, minima: Minima, *, few: bool = False) -> list[Extension]:
    """What every extension would do to the best minimum; what is fitted, or held by a user, is left out.

    Parameters
    ----------
    frame : Frame
    minima : Minima
    few : bool
        Leave out twins and second thicknesses, of which many are tried.
    """
    refiner, best = minima.refiner, minima.best
    fit, limits = best.fit, refiner.settings.judging
    if fit.problem is None or fit.covariance is None or fit.coefficients[0] <= 0:
        return []
    model = cast(Model, fit.problem.model)  # of a single frame
    if model.oversampling > 1:  # differences of patterns need no finely divided pixels
        model = refiner.model(frame, best.answer, best.region, refiner.settings.refining.coarse_pixel)
    found = extensions(model, fit, refiner.library.rotation_order, limits, few=few)
    known = {*fit.names, *refiner.settings.fix, *refiner.settings.expressions}
    return [e for e in found if e.name not in known]


def _asked(extension: Extension, limits: JudgeSettings) -> bool:
    """Whether data ask for an extension, and it is large enough to matter."""
    if extension.drop < limits.averaging_drop or extension.gain < limits.averaging_gain:
        return False
    least = {
        VACUUM: limits.vacuum_matters,
        TURNED: limits.turned_matters,
        THICKNESS: limits.thickness_spread_matters,
        TILT: limits.tilt_spread_matters,
    }
    return extension.size >= least[extension.name]


def extensions(
    model: Model, fit: Refinement, order: int, limits: JudgeSettings, *, few: bool = False
) -> list[Extension]:
    """What every extension would do.

    Parameters
    ----------
    model : ForwardModel or KnownCameraModel
        On the pixels of the fit.
    fit : Refinement
        With its problem.
    order : int
        Of the rotation axis of the crystal.
    limits : JudgeSettings
    few : bool
        Leave out twins and second thicknesses.
    """
    values, test = fit.values, ScoreTest(fit)

    def at(**changes: float) -> Array:
        return model.pattern({**values, **changes})

    first = model.evaluate(values, (VACUUM,))
    assert first.pattern_slopes is not None
    drop, gain, (share,) = test([first.pattern_slopes[0]])
    out = [Extension(VACUUM, drop, gain, float(share)), _tilt(test, model, values)]
    if not few and excess(fit) > limits.averaging_excess:
        plain = first.columns[0]
        out += _turned(test, at, values, plain, order)
        out += _thickness(test, at, values, plain, model, limits)
    return [each for each in out if np.isfinite(each.drop) and each.size > 0]


def _tilt(test: ScoreTest, model: Model, values: Mapping[str, float]) -> Extension:
    """The Hessian along the tilt: D has a column for each of its three elements."""
    xx, xy, yy = model.tilt_bends(values)
    drop, gain, (along_x, _, along_y) = test([xx / 2, xy, yy / 2])
    return Extension(TILT, drop, gain, float(np.sqrt(max(along_x + along_y, 0.0) / 2)))


def _turned(
    test: ScoreTest, at: At, values: Mapping[str, float], plain: Array, order: int
) -> list[Extension]:
    x, y, out = values["tilt_x"], values["tilt_y"], []
    for degrees in (45.0, 60.0, 90.0, 180.0):
        if degrees % (360 / order) == 0:
            continue
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        # the tilt stays where it is in the camera
        turned = at(rotation=values["rotation"] + degrees, tilt_x=c * x + s * y, tilt_y=c * y - s * x)
        drop, gain, (share,) = test([turned - plain])
        out.append(Extension(TURNED, drop, gain, float(share), degrees))
    return out


def _thickness(
    test: ScoreTest,
    at: At,
    values: Mapping[str, float],
    plain: Array,
    model: Model,
    limits: JudgeSettings,
) -> list[Extension]:
    (low, high), t, s = model.thickness_range, values["thickness"], limits.thickness_step
    if isinstance(model, KnownCameraModel) and model.covers(values):
        pair = model.thickness_bend(values) * s**2 / 2
    else:
        pair = (at(thickness=min(t + s, high)) + at(thickness=max(t - s, low))) / 2 - plain
    drop, gain, (variance,) = test([pair])
    out = [Extension(THICKNESS, drop, gain, s * float(np.sqrt(max(variance, 0.0))))]
    for other in np.arange(low + s, high, limits.second_step):
        if abs(other - t) < limits.second_step / 2:
            continue
        drop, gain, (share,) = test([at(thickness=float(other)) - plain])
        share = float(np.clip(share, 0, 1))
        spread = float(np.sqrt(share * (1 - share))) * abs(other - t)
        out.append(Extension(THICKNESS, drop, gain, spread, float(other)))
    return out

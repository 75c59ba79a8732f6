"""What a fit returns: one immutable object of plain values, with sentences for its status."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.assumptions import Assumed
from hybridfit.fitting.budget_words import budget_lines, correlation_words
from hybridfit.fitting.camera_noise import CameraNoise
from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.correlations import correlations_of
from hybridfit.fitting.equality import equal
from hybridfit.fitting.lmfit_copy import lmfit_copy, profiled
from hybridfit.fitting.mirroring import mirrored
from hybridfit.fitting.modes import Mode, samples_of
from hybridfit.fitting.parameter import Parameter
from hybridfit.fitting.route import Route
from hybridfit.fitting.status import OtherMinimum, Status
from hybridfit.quantities import quantity

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]
SHOWN = ("thickness", "tilt_x", "tilt_y")  # beside the structure


@dataclass(frozen=True)
class Thumbnail:
    """The compared region, for pictures: images (rows, cols) with NaN where nothing was compared.

    extent is (left, right, bottom, top) in px of the frame.
    """

    experiment: Array
    fit: Array
    radius_mrad: Array
    extent: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class FitResult:
    """The answer for one pattern.

    Results hold plain values: they can be compared (``==`` leaves out the time that was spent), used as keys,
    pickled and shared by threads.

    Attributes
    ----------
    source : str
        Where the frame came from.
    library : str
        Crystal, zone axis and energy.
    method : str
        "lsf", "cnn" or "hybrid".
    route : Route
        How the answer was reached: "network", "wider window", "library match", "full search",
        "neighbour" (in a map), or "seed given".
    status : Status
    detail : str or OtherMinimum
        What the sentence of the status names.
    remarks : tuple of str
        Further sentences of the message.
    parameters : dict of str to Parameter
        nm, mrad, px, px/mrad, degrees; see `hybridfit.quantities`.
    structure : dict of str to Parameter
        Structural parameters of the library, by name, in its units; `parameters` has the others.
    varied : tuple of str
        The parameters that were fitted.
    covariance : (p, p) array or None
        Of the fitted ones.
    bounds : dict of str to (float, float)
        Of the fitted ones.
    budget : dict of str to dict of str to float
        What the standard errors of thickness, tilt and structural parameters contain: of each the parts
        by name (counting, misfit, vibration, energy, semi_angle), whose squares add up to its square.
    assumed : dict of str to Assumed
        What the pattern says of what was taken for granted (debye_waller, energy, semi_angle).
    budget_lacks : tuple of str
        Parts that the budget lacks, because the library does not know them.
    thickness_range10 : (float, float) or None
        Thicknesses (nm) whose sum of squares stays within 10 % of the least one: the precision in
        the sense of Pollock et al., Ultramicroscopy 181 (2017) 86.
    library_range : (float, float), nm
        Thinnest and thickest of the library.
    intensity_factor : float
        Counts per pixel that the empty beam would give.
    background : tuple of float
        Coefficients of the background components.
    residual_fraction : float
        Residual variance over pattern variance inside the compared disc.
    reduced_chi2 : float
        Σ r²/noise variance per degree of freedom: 1 where noise explains the residual.
    misfit_fraction : float
        residual_fraction less what noise explains.
    n_effective : float
        Number of independent pixels that the residual amounts to.
    seed : Candidate
        Where the refinement started.
    candidates : tuple of Candidate
        The answer, then the other minima that the search led to, refined, best first.  Their probabilities
        are those that the network or the library match gave what led there, or of the posterior where the
        frame has few electrons; None where a search has none.
    modes : tuple of Mode
        Maxima of the posterior and their odds, the answer first; see `posterior`.
    noise : CameraNoise or None
    curve : (2, n) array or None
        Thickness (nm) and the least χ² found there by the search, relative to the variance.
    seconds : dict
        Time spent: seed, search, refine, total.
    thumbnail : Thumbnail
    flipped : bool
        Whether the frame was taken as mirrored by the camera: ky then points the other way in it.
    curve_searched : bool
        False where `whole_curve` is χ² at the answer's tilt and camera in place of the least one.
    lmfit_result : MinimizerResult
        As lmfit left it, in the frame of the model that was fitted; see `minimizer`.
    fitter : lmfit.Minimizer or None
        What produced it, where it was kept; see `conf_interval`.  Not pickled.
    along_thickness : callable or None
        Computes χ² over the whole library after a search that was narrower; see `whole_curve`.
    """

    source: str
    library: str
    method: str
    route: Route
    status: Status
    detail: str | OtherMinimum
    remarks: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    structure: Mapping[str, Parameter]
    varied: tuple[str, ...]
    covariance: Array | None
    bounds: Mapping[str, tuple[float, float]]
    thickness_range10: tuple[float, float] | None
    library_range: tuple[float, float]
    intensity_factor: float
    background: tuple[float, ...]
    residual_fraction: float
    reduced_chi2: float
    misfit_fraction: float
    n_effective: float
    seed: Candidate
    candidates: tuple[Candidate, ...]
    curve: Array | None
    seconds: Mapping[str, float]
    thumbnail: Thumbnail
    budget: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    assumed: Mapping[str, Assumed] = field(default_factory=dict)
    budget_lacks: tuple[str, ...] = ()
    modes: tuple[Mode, ...] = ()
    noise: CameraNoise | None = None
    flipped: bool = False
    curve_searched: bool = True
    lmfit_result: Any = field(default=None, repr=False, compare=False)
    fitter: Any = field(default=None, repr=False, compare=False)
    along_thickness: Callable[[], Array] | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        """One line: where from, status, thickness and tilt."""
        shown = ", ".join(
            f"{name} {p.value:.4g}" + (f" ± {p.stderr:.2g} " if p.stderr else " ") + quantity(name).unit
            for name, p in self.parameters.items()
            if name in ("thickness", "tilt_x", "tilt_y")
        )
        return f"<FitResult {self.source}: {self.status.name}, {shown}>"

    def __getitem__(self, name: str) -> Parameter:
        return self.parameters[name]

    def __eq__(self, other: object) -> bool:
        """Whether two results are the same answer; the time that was spent does not count."""
        if not isinstance(other, FitResult):
            return NotImplemented
        names = [f.name for f in fields(self) if f.compare and f.name != "seconds"]
        return all(equal(getattr(self, name), getattr(other, name)) for name in names)

    def __hash__(self) -> int:
        values = tuple(p.value for p in self.parameters.values())
        return hash((self.source, self.library, self.method, self.status, values))

    def __getstate__(self) -> dict[str, Any]:
        """For pickling: the whole curve goes along, in place of its function; the model does not."""
        state = {name: value for name, value in self.__dict__.items() if name != "minimizer"}
        return {**state, "curve": self.whole_curve, "along_thickness": None, "fitter": None}

    @property
    def message(self) -> str:
        """The sentence of the status, with its detail, and what else there is to say."""
        low, high = self.library_range
        sentence = self.status.value.format(detail=self.detail, thinnest=low, thickest=high)
        if self.method == "cnn" and self.status is Status.converged:
            sentence = "The network named thickness and tilt."
        route = self.route.explanation if self.method == "hybrid" else ""
        return " ".join(each for each in (sentence, route, *self.remarks) if each)

    @property
    def thickness(self) -> float:
        """Thickness (nm)."""
        return self.parameters["thickness"].value

    @property
    def tilt(self) -> tuple[float, float]:
        """Tilt (mrad) in the crystal frame."""
        return self.parameters["tilt_x"].value, self.parameters["tilt_y"].value

    @property
    def ok(self) -> bool:
        """Whether the fit converged without a warning."""
        return self.status is Status.converged

    @property
    def poor(self) -> bool:
        """Whether it does not explain its frame."""
        return self.status in (Status.poor_match, Status.failed)

    def covariance_of(self, first: str, second: str) -> float:
        """Covariance of two fitted parameters; 0 where it is not known."""
        if self.covariance is None or not {first, second} <= set(self.varied):
            return 0.0
        return float(self.covariance[self.varied.index(first), self.varied.index(second)])

    @property
    def correlations(self) -> dict[str, dict[str, float]]:
        """Of each fitted structural parameter with the others, and with thickness and tilt."""
        return correlations_of(self.varied, self.covariance, self.structure, SHOWN)

    @cached_property
    def whole_curve(self) -> Array | None:
        """(2, n): thickness (nm) and χ² over the whole library, for pictures; relative to the variance.

        `curve` where the search was over all of it, or nothing else is known; elsewhere χ² at the
        answer's tilt and camera, computed when it is first asked for (0.3 s).
        """
        return self.curve if self.along_thickness is None else self.along_thickness()

    @cached_property
    def minimizer(self) -> Any:
        """A copy of lmfit's MinimizerResult that says what this result says, for `lmfit.fit_report`.

        Values are those of `parameters` and `structure`; covariance and standard errors are the honest ones.
        """
        values = {**self.parameters, **self.structure}
        return lmfit_copy(self.lmfit_result, values, self.varied, self.covariance, self.bounds)

    def mirrored(self) -> FitResult:
        """The same answer in the frame of the crystal's mirror image, (x, −y): tilt_y has the other sign."""
        return mirrored(self)  # type: ignore[no-any-return]

    def posterior(self, n: int, *, seed: int | None = 0) -> xr.Dataset:
        """n samples of the fitted parameters, by name with CF units: how they go together; see `samples_of`.

        `mode` says which minimum a sample is of (0: the answer), `odds` what share of all each minimum has.
        The same seed gives the same samples, None others each time.

        Raises
        ------
        InputError
            n is no number of samples, or the fit has no error bars.
        """
        if not self.modes:
            raise InputError(
                f"{self.source}: this answer ({self.status.name}) has no error bars to draw samples from"
            )
        units = {name: p.unit for name, p in self.structure.items() if p.unit is not None}
        return samples_of(self.modes, n, seed, units)

    def conf_interval(self, **options: Any) -> Any:
        """lmfit's confidence intervals, by profiling χ²; see `lmfit.conf_interval` for the options.

        They follow the curvature of χ² but know nothing of correlated misfit: where the model
        limits the fit, `interval95` is the wider and the honest one.

        Raises
        ------
        InputError
            The result was made without keep_model.
        """
        return profiled(self, options)

    def report(self) -> str:
        """The answer as text for people."""
        lines = [f"{self.source}: {self.message}"]
        for name, p in {**self.parameters, **self.structure}.items():
            if name.startswith("ellipticity") and p.stderr is None and p.value == 0:
                continue
            unit = quantity(name, p.unit).unit
            if p.odds is not None:
                odds = ", ".join(f"{value:g}: {share:.2%}" for value, share in p.odds.items())
                lines.append(f"  {name:14s} {p.value:10g}   odds {odds} {unit}".rstrip())
                continue
            without = "   (on its bound)" if name in self.varied else "   (fixed)"
            error = f" ± {p.stderr:.2g}" if p.stderr is not None else without
            interval = f"   95 %: {p.interval95[0]:.5g} … {p.interval95[1]:.5g}" if p.interval95 else ""
            digits = (
                4 if p.stderr is None else int(np.clip(1 - math.floor(math.log10(p.stderr + 1e-30)), 0, 6))
            )
            lines.append(f"  {name:14s} {p.value:10.{digits}f}{error} {unit}{interval}")
        if told := correlation_words(self.correlations):
            lines.append(f"  correlations   {told}")
        lines += budget_lines(self.budget, self.assumed, self.budget_lacks)
        lines += [self.noise.words] if self.noise else []
        lines.append(
            f"  residual {self.residual_fraction:.2%} of the pattern's variance "
            f"(misfit {self.misfit_fraction:.2%}), reduced χ² {self.reduced_chi2:.3g}, "
            f"{self.seconds['total']:.2f} s"
        )
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The contract of `hybridfit fit --json`: plain numbers, strings, lists and dicts."""
        out: dict[str, Any] = {
            "file": self.source,
            "library": self.library,
            "method": self.method,
            "route": self.route.value,
            "status": self.status.name,
            "message": self.message,
        }
        for name, p in self.parameters.items():
            out[quantity(name).json_key] = _parameter_json(p)
        if self.flipped:
            out["flipped"] = True
        out["thickness_nm"]["range10percent"] = (
            list(self.thickness_range10) if self.thickness_range10 else None
        )
        out["structure"] = {name: _parameter_json(p) for name, p in self.structure.items()}
        if found := self.correlations:
            out["correlations"] = found
        out |= {
            "intensity_factor": self.intensity_factor,
            "background": list(self.background),
            "residual_fraction": self.residual_fraction,
            "misfit_fraction": self.misfit_fraction,
            "reduced_chi2": self.reduced_chi2,
            "budget": {quantity(name).json_key: dict(parts) for name, parts in self.budget.items()},
            "budget_lacks": list(self.budget_lacks),
            "noise": self.noise and self.noise.to_json(),
            "assumed": {name: vars(each).copy() for name, each in self.assumed.items()},
            "candidates": [
                {
                    "thickness_nm": c.thickness,
                    "tilt_x_mrad": c.tilt_x,
                    "tilt_y_mrad": c.tilt_y,
                    "probability": c.probability,
                    "chi2": c.chi2 if math.isfinite(c.chi2) else None,
                }
                for c in self.candidates
            ],
            "seconds": dict(self.seconds),
        }
        return out

    def to_dataset(self) -> xr.Dataset:
        """Values and standard errors as scalars with CF units, the images and the χ² curve."""
        from hybridfit.fitting.as_dataset import dataset_of

        return dataset_of(self)

    def _repr_html_(self) -> str:
        """What a notebook shows: status and remedy, main numbers, the picture, and the rest folded."""
        from hybridfit.plot.notebook import answer_html

        return answer_html(self)

    def plot(self, path: str | Path | None = None) -> Any:
        """Experiment, fit and residual side by side, radial profiles, χ² against thickness.

        Returns the matplotlib figure; with a path it is saved there too.
        """
        from hybridfit.plot import plot_fit

        return plot_fit(self, path)


def _parameter_json(p: Parameter) -> dict[str, Any]:
    out: dict[str, Any] = {
        "value": p.value,
        "stderr": p.stderr,
        "interval95": list(p.interval95) if p.interval95 else None,
    }
    if p.unit is not None:
        out["unit"] = p.unit
    if p.odds is not None:
        out["odds"] = {f"{value:g}": share for value, share in p.odds.items()}
    return out

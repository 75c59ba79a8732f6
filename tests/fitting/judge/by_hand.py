"""Minima, libraries and results made by hand: every number in them is known, and nothing is fitted."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import xarray as xr

from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.refine.least_squares import Refinement
from hybridfit.fitting.refine.minima import Minima
from hybridfit.fitting.refine.noise import Noise
from hybridfit.fitting.refine.refiner import Minimum, Refiner
from hybridfit.fitting.refine.region import Region
from hybridfit.fitting.route import Route
from hybridfit.fitting.settings import FitSettings
from hybridfit.fitting.status import Status
from hybridfit.frame import Frame, make_frame
from hybridfit.library.axes import StructuralAxis
from hybridfit.library.library import Library

SEMI_ANGLE = 9.0
SETTINGS = FitSettings(SEMI_ANGLE, sigma={"library": 0.0})  # errors are those of the numbers below
NAMES = ("thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "scale", "rotation", "blur")
VALUES = {
    "thickness": 30.0,
    "tilt_x": 0.6,
    "tilt_y": -0.9,
    "centre_x": 30.0,
    "centre_y": 30.0,
    "scale": 3.0,
    "rotation": 12.0,
    "ellipticity_a": 0.0,
    "ellipticity_b": 0.0,
    "semi_angle": SEMI_ANGLE,
    "blur": 0.4,
}
BOUNDS = {
    "thickness": (23.5, 36.5),
    "tilt_x": (-0.9, 2.1),
    "tilt_y": (-2.4, 0.6),
    "centre_x": (21.0, 39.0),
    "centre_y": (21.0, 39.0),
    "scale": (2.4, 3.75),
    "rotation": (-np.inf, np.inf),
    "semi_angle": (8.5, 9.5),
    "blur": (0.0, 3.0),
    "ellipticity_a": (-0.1, 0.1),
    "ellipticity_b": (-0.1, 0.1),
}
ROW, COL = np.indices((61, 61)) - 30.0
RADIUS_PX = np.hypot(ROW, COL)
MASK = RADIUS_PX <= 28.0
N = int(MASK.sum())
RADIAL = 100 * np.exp(-(RADIUS_PX**2) / 800)[MASK]
PETALS = 0.4 * RADIAL * (np.cos(4 * np.arctan2(ROW, COL)) * (1 - np.exp(-(RADIUS_PX**2) / 32)))[MASK]
GRAIN = 0.2  # standard deviation of the noise
WHITE = GRAIN * np.random.default_rng(0).normal(size=N)


def axis(low: float, high: float, *, kind: str = "continuous", unit: str = "%", count: int = 3):
    """A structural parameter with equidistant values."""
    return StructuralAxis(np.linspace(low, high, count), unit, kind)


def a_library(structure=None, *, thickness=(1.0, 60.0), order=4) -> Any:
    """What the verdict asks of a library: its ranges, its symmetry and its name."""
    attrs = {"crystal": "SrTiO3", "zone": [0, 0, 1], "energy_kv": 200.0}
    return SimpleNamespace(
        thickness_range=thickness,
        tilt_max=3.0,
        semi_angle_max=14.0,
        rotation_order=order,
        approximation=0.012,
        structure=structure or {},
        dataset=SimpleNamespace(attrs=attrs),
    )


def a_candidate(chi2: float = 0.01, **changes: float) -> Candidate:
    """The answer that goes with `VALUES`."""
    names = ("thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "scale", "rotation")
    return Candidate(**{**{name: VALUES[name] for name in names}, "chi2": chi2, **changes})


@dataclass
class Made:
    """Everything that a minimum is made of; by default a good fit of a crystal to a frame of 61 × 61 px."""

    data: np.ndarray = field(default_factory=lambda: RADIAL + PETALS + WHITE)
    model: np.ndarray = field(default_factory=lambda: RADIAL + PETALS)
    residual: np.ndarray = field(default_factory=lambda: WHITE.copy())
    noise: Noise = field(default_factory=lambda: Noise(GRAIN**2, 0.0, 0.001))
    values: dict[str, float] = field(default_factory=dict)
    names: tuple[str, ...] = NAMES
    bounds: dict[str, tuple[float, float]] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    covariance: np.ndarray | None = None
    coefficients: tuple[float, ...] = (50.0, 0.0, 0.0, 0.0)
    settled: bool = True
    evaluations: int = 12
    chi2: float = 2400.0
    inflation: float = 1.5
    n_effective: float = 900.0
    answer: Candidate = field(default_factory=a_candidate)
    discrete: dict[str, float] = field(default_factory=dict)
    lmfit_result: Any = None
    minimizer: Any = None

    def region(self) -> Region:
        """The compared pixels."""
        image = np.full(MASK.shape, 1e6)  # what is outside the mask must not count
        image[MASK] = self.data
        return Region(image, MASK, 1, 0, 0)

    def minimum(self) -> Minimum:
        """The minimum."""
        p = len(self.names)
        fit = Refinement(
            values={**VALUES, **self.values},
            names=self.names,
            covariance=np.diag(np.full(p, 0.01)) if self.covariance is None else self.covariance,
            errors={**dict.fromkeys(self.names, 0.1), **self.errors},
            bounds={n: {**BOUNDS, **self.bounds}[n] for n in self.names},
            settled=self.settled,
            evaluations=self.evaluations,
            noise=self.noise,
            coefficients=np.array(self.coefficients),
            model=self.model,
            residual=self.residual,
            chi2=self.chi2,
            inflation=self.inflation,
            n_effective=self.n_effective,
            lmfit_result=self.lmfit_result,
            minimizer=self.minimizer,
        )
        return Minimum(self.region(), fit, self.answer, self.discrete)


def a_minimum(**changes: Any) -> Minimum:
    """A good fit, with changes."""
    return Made(**changes).minimum()


def the_minima(
    best: Minimum, *rivals: Minimum, settings=SETTINGS, library=None, left=(), tried=None
) -> Minima:
    """The minima of a frame, as `Finder` leaves them."""
    refiner = Refiner(library or a_library(), settings, discrete=best.discrete)
    tried = tried or tuple((m.discrete, m.answer.chi2) for m in (best, *rivals))
    return Minima(best, rivals, tuple(left), best, refiner, tried)


def a_result(status: Status = Status.converged, **changes: Any):
    """What `holds` and `better` ask of a result."""
    values = {"thickness": 30.0, "tilt": (0.6, -0.9), "residual_fraction": 0.01, **changes}
    poor = status in (Status.poor_match, Status.failed)
    return SimpleNamespace(status=status, poor=poor, route=Route.network, **values)


WAVELENGTH = 0.0025  # nm
LATTICE = 8.0  # mrad between the beams


def two_beam_library() -> Library:
    """A library without a solver: each of four beams takes its part of the direct one, as two beams do.

    I_g = u² sin²(π t w)/(4 w²) with w² = s² + u², s = (q·g − g²/2)/λ; u differs from beam to beam, so that
    patterns have no symmetry.  1 … 60 nm, semi-angle up to 12 mrad, tilt up to 2 mrad, 200 kV.
    """
    beams = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    span = np.arange(-18, 19)
    points = np.stack(np.meshgrid(span, span, indexing="ij"), axis=-1).reshape(-1, 2)
    points = points[np.hypot(*points.T) <= 18]
    thickness = np.arange(1.0, 61.0)
    q, g = points * 1.0, beams * LATTICE
    intensity = np.zeros((len(thickness), len(beams), len(points)), np.float32)
    for i, coupling in enumerate((0.010, 0.012, 0.009, 0.014), 1):
        s = 1e-6 * (q @ g[i] - g[i] @ g[i] / 2) / WAVELENGTH
        w = np.hypot(s, coupling)
        intensity[:, i] = (coupling * np.sin(np.pi * thickness[:, None] * w) / (2 * w)) ** 2
    intensity[:, 0] = 1 - intensity.sum(axis=1)
    return Library(
        xr.Dataset(
            {
                "intensity": (("thickness", "beam", "direction"), intensity),
                "basis": (("vector", "axis"), LATTICE * np.eye(2), {"units": "mrad"}),
                "sampling": ("vector", np.array([8, 8])),
                "symmetry": (("operation", "vector", "vector_in"), np.eye(2, dtype=np.int64)[None]),
                "beam_n": (("beam", "vector"), beams),
                "direction_n": (("direction", "vector"), points),
            },
            coords={
                "thickness": ("thickness", thickness),
                "qx": ("direction", q[:, 0]),
                "qy": ("direction", q[:, 1]),
            },
            attrs={
                "crystal": "two beams",
                "zone": [0, 0, 1],
                "energy_kv": 200.0,
                "semi_angle_max_mrad": 12.0,
                "tilt_max_mrad": 2.0,
                "rotation_order": 1,
                "checksum": "by hand",
            },
        )
    )


def a_frame(image: np.ndarray) -> Frame:
    """A frame of an image."""
    return make_frame(image, source="by hand")

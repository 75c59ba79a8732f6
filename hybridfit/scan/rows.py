"""What a map keeps of every position: numbers in a fixed order, a status, a route and a message."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.assumptions import BUDGET_PARTS
from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.result import FitResult
from hybridfit.fitting.route import Route
from hybridfit.fitting.status import Status
from hybridfit.model import PARAMETERS
from hybridfit.pattern.binning import from_binned, to_binned

Array = NDArray[np.float64]

STATUSES = (*(status.name for status in Status), "unusable", "unreadable", "not_done")
# in the order of the numbers that maps have for them
ROUTES = (
    *(Route.network, Route.neighbour, Route.wider_window, Route.full_search, Route.seed_given),
    "none",
    *(Route.library_match, Route.few_electrons),
)
FIGURES = ("intensity_factor", "residual_fraction", "misfit_fraction", "reduced_chi2")
BUDGETED = ("thickness", "tilt_x", "tilt_y")
BUDGET = tuple(f"{name}_budget_{part}" for name in BUDGETED for part in BUDGET_PARTS)
# the covariance of the two components of tilt is what the errors of magnitude and azimuth need
FIELDS = (*PARAMETERS, *(f"{name}_stderr" for name in PARAMETERS), "tilt_covariance", *FIGURES, *BUDGET)
COLUMN = {name: i for i, name in enumerate(FIELDS)}
GOOD = (STATUSES.index("converged"), STATUSES.index("at_bound"))
# nothing fits, a second minimum is as deep, or the fit failed: another start may do better
RETRIED = tuple(STATUSES.index(name) for name in ("poor_match", "ambiguous", "failed"))


@dataclass(frozen=True, eq=False)
class Rows:
    """n positions of a map.

    values : (n, FIELDS) nm, mrad, px, px/mrad, degrees; NaN where there is no answer
    structure : (n, structural parameters, 2) each with its standard error, or the odds of a discrete one
    status, route : (n,) indices into STATUSES, ROUTES
    message : (n,) sentences
    """

    values: Array
    structure: Array
    status: NDArray[np.int8]
    route: NDArray[np.int8]
    message: NDArray[np.str_]

    @classmethod
    def empty(cls, n: int, structural: int = 0) -> Rows:
        """Positions that are not done, with so many structural parameters."""
        return cls(
            np.full((n, len(FIELDS)), np.nan),
            np.full((n, structural, 2), np.nan),
            np.full(n, STATUSES.index("not_done"), np.int8),
            np.full(n, ROUTES.index("none"), np.int8),
            np.full(n, "", "U1"),
        )

    @classmethod
    def joined(cls, parts: list[Rows]) -> Rows:
        """Several, one after the other."""
        if not parts:
            return cls.empty(0)
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in cls.__annotations__))

    def at(self, i: int) -> Rows:
        """Position i alone."""
        return Rows(*(getattr(self, name)[i : i + 1] for name in type(self).__annotations__))

    def put(self, indices: NDArray[np.intp], new: Rows) -> Rows:
        """A copy with the positions at the indices replaced."""
        old = {name: getattr(self, name) for name in type(self).__annotations__}
        # words that are longer than any so far want room
        out = {name: v.astype(object if name == "message" else v.dtype) for name, v in old.items()}
        for name, values in out.items():
            values[indices] = getattr(new, name)
        return Rows(**{**out, "message": out["message"].astype(str)})

    def fits(self, n: int) -> bool:
        """Whether these are n positions whose numbers, status and route can be."""
        shapes = self.values.shape == (n, len(FIELDS)) and self.structure.shape[::2] == (n, 2)
        words = [v.shape == (n,) for v in (self.status, self.route, self.message)]
        if not (shapes and all(words)):
            return False
        kinds = [v.dtype.kind for v in (self.values, self.structure, self.status, self.route, self.message)]
        flags = ((self.status, STATUSES), (self.route, ROUTES))
        return kinds == ["f", "f", "i", "i", "U"] and all(
            (v >= 0).all() and (v < len(names)).all() for v, names in flags
        )

    def candidate(self, i: int) -> Candidate:
        """The answer of position i, as a start for others."""
        names = Candidate.__dataclass_fields__
        return Candidate(**{n: float(self.values[i, COLUMN[n]]) for n in PARAMETERS if n in names})


def row_of(result: FitResult, pixel: int = 1, structural: Sequence[str] = ()) -> Rows:
    """What is kept of a result, in pixels of the camera that are `pixel` times finer than the frame's.

    structural are the names of the library's structural parameters.
    """
    values = np.full((1, len(FIELDS)), np.nan)
    structure = np.full((1, len(structural), 2), np.nan)
    if result.status is not Status.failed:
        p = result.parameters
        for name in PARAMETERS:
            values[0, COLUMN[name]] = p[name].value
            error = p[name].stderr
            values[0, COLUMN[f"{name}_stderr"]] = math.nan if error is None else error
        values[0, COLUMN["tilt_covariance"]] = result.covariance_of("tilt_x", "tilt_y")
        for name, parts in result.budget.items():
            if name in BUDGETED:
                for part, number in parts.items():
                    values[0, COLUMN[f"{name}_budget_{part}"]] = number
        for name in FIGURES:
            values[0, COLUMN[name]] = getattr(result, name)
        _to_camera(values[0], pixel)
        for i, name in enumerate(structural):
            if name in result.structure:  # the network alone says nothing of it
                s = result.structure[name]
                sure = s.stderr if s.odds is None else s.odds[s.value]
                structure[0, i] = s.value, math.nan if sure is None else sure
    return Rows(
        values,
        structure,
        np.array([STATUSES.index(result.status.name)], np.int8),
        np.array([ROUTES.index(result.route)], np.int8),
        np.array([result.message]),
    )


def row_without(readable: bool, message: str, structural: int = 0) -> Rows:
    """A position without an answer, of so many structural parameters."""
    status = np.array([STATUSES.index("unusable" if readable else "unreadable")], np.int8)
    return replace(Rows.empty(1, structural), status=status, message=np.array([message]))


def to_frame(candidate: Candidate, pixel: int) -> Candidate:
    """A candidate in pixels of a frame whose pixels are `pixel` of the camera's."""
    return replace(
        candidate,
        centre_x=to_binned(candidate.centre_x, pixel),
        centre_y=to_binned(candidate.centre_y, pixel),
        scale=candidate.scale / pixel,
    )


def _to_camera(values: Array, pixel: int) -> None:
    for name in ("centre_x", "centre_y"):
        values[COLUMN[name]] = from_binned(values[COLUMN[name]], pixel)
    values[COLUMN["scale"]] *= pixel
    for name in ("centre_x_stderr", "centre_y_stderr", "scale_stderr"):
        values[COLUMN[name]] *= pixel

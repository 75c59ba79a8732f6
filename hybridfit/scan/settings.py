"""What a user asks of a map, and the thresholds of its stages, as frozen settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypedDict

from numpy.typing import ArrayLike, DTypeLike

from hybridfit.errors import InputError
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.settings import FitSettings
from hybridfit.model import PARAMETERS
from hybridfit.scan.positions import Roi
from hybridfit.thresholds import threshold

COMMON = ("scale", "rotation", "ellipticity_a", "ellipticity_b")


@dataclass(frozen=True)
class FirstPassSettings:
    """The first pass: a few positions with everything free, to find what all positions share."""

    sampled: int = threshold(
        25,
        "positions",
        "the median of so many positions is five times as sure as one, and costs a few seconds",
        "design",
    )
    fewest: int = threshold(
        3, "positions", "fewer positions that converged have no median to rely on", "design"
    )
    scale_scatter: float = threshold(
        0.01, "of the scale", "values whose median deviation is larger are no common scale", "design"
    )
    rotation_scatter: float = threshold(
        1.0, "degrees", "values whose median deviation is larger are no common rotation", "design"
    )
    ellipticity_scatter: float = threshold(
        0.01, "relative", "values whose median deviation is larger are no common distortion", "design"
    )
    semi_angle_scatter: float = threshold(
        0.3, "mrad", "values whose median deviation is larger are no common semi-angle", "design"
    )

    centre_scatter: float = threshold(
        0.5, "px", "centres that are farther from a plane (median) are not where it says", "design"
    )

    misfit: float = threshold(
        1.05,
        "reduced χ²",
        "where most positions have more, second thicknesses are looked for in most, and get node images",
        "design",
    )

    def scatter(self, name: str) -> float:
        """How far values may differ (median deviation) and still be common; relative for scale."""
        return {
            "scale": self.scale_scatter,
            "rotation": self.rotation_scatter,
            "ellipticity_a": self.ellipticity_scatter,
            "ellipticity_b": self.ellipticity_scatter,
            "semi_angle": self.semi_angle_scatter,
        }.get(name, float("inf"))


@dataclass(frozen=True)
class NeighbourSettings:
    """Positions that are fitted again from the answers of their neighbours."""

    sweeps: int = threshold(
        3, "sweeps", "a position that was mended may mend the next; later sweeps find next to none", "design"
    )
    starts: int = threshold(
        3,
        "neighbours",
        "a position is fitted from so many neighbours: more start from the same minimum again",
        "design",
    )
    unlike: float = threshold(
        3.0,
        "nm",
        "a thickness farther from the median of its neighbours is doubted: the search does not reach it",
        "design",
    )
    agreed: float = threshold(
        2.0, "nm", "neighbours that spread more lie at an edge, and cast no doubt", "design"
    )
    fewest: int = threshold(
        3, "neighbours", "fewer neighbours that converged cast no doubt on a position", "design"
    )


@dataclass(frozen=True)
class WorkSettings:
    """How the work is cut into pieces; none of it changes a number of the map."""

    block: int = threshold(
        16,
        "positions",
        "whole rows of about so many positions are one piece of work: a killed run loses a second",
        "design",
    )
    longest: int = threshold(
        512, "positions", "a longer row of the scan is cut into several pieces", "design"
    )
    block_bytes: float = threshold(
        5e8, "bytes", "a worker holds frames of so many bytes at a time, with 8 bytes a pixel", "design"
    )
    growth: int = threshold(
        4_000_000_000,
        "bytes",
        "a worker that grows by more has a leak, and another takes its place",
        "design",
    )
    deaths: int = threshold(
        3,
        "workers",
        "after so many workers died with no piece finished in between, the next would die, too",
        "design",
    )
    position_bytes: float = threshold(
        4e3, "bytes", "writing a map takes this much memory for each position", "design"
    )
    ahead: int = threshold(
        2, "tasks", "so many tasks are prepared for each worker, so that none waits for the network", "design"
    )


@dataclass(frozen=True)
class StoreSettings:
    """What finished blocks on disk may be, before they are read."""

    largest_manifest: int = threshold(
        1 << 24, "bytes", "a larger manifest is none: manifests have some thousand bytes", "design"
    )
    part_bytes: int = threshold(
        1 << 20, "bytes", "a part has no more bytes than this, beside those of its positions", "design"
    )
    part_position_bytes: int = threshold(
        1 << 17, "bytes", "a part has no more bytes than this for each of its positions", "design"
    )


FIRST_PASS, NEIGHBOURS, WORK = FirstPassSettings(), NeighbourSettings(), WorkSettings()
STORE = StoreSettings()


@dataclass(frozen=True)
class OpenSettings:
    """How the file of the scan is read, as for `hybridfit.open_scan`."""

    dataset: str | None = None
    scan_shape: tuple[int, int] | None = None
    shape: Sequence[int] | None = None
    dtype: DTypeLike | None = None
    offset: int = 0
    skip: int | None = None
    flyback: int = 0


@dataclass(frozen=True, eq=False)
class MapSettings:
    """What a user asks of a map; the fields are explained at `map_scan`.

    Raises
    ------
    InputError
        A method, background, semi-angle, hint or name that cannot be.
    """

    semi_angle: float
    method: str = "hybrid"
    background: str = "radial"
    fix: Mapping[str, float | None] | None = None
    free: Sequence[str] = ()
    bounds: Mapping[str, tuple[float, float]] | None = None
    expressions: Mapping[str, str] | None = None
    sigma: Mapping[str, float] | None = None
    common: Sequence[str] = COMMON
    hint_rotation: float | None = None
    average: int = 1
    roi: Roi | None = None
    mask: ArrayLike | None = None
    bin: int = 1
    step_nm: float | None = None
    field: bool = False
    scan_rotation: float | None = None
    flip: bool = False
    device: str = "auto"
    partial: bool = False
    first_pass: FirstPassSettings = FIRST_PASS
    neighbours: NeighbourSettings = NEIGHBOURS
    work: WorkSettings = WORK

    def __post_init__(self) -> None:
        if isinstance(self.common, str) or not isinstance(self.common, Sequence):
            raise InputError(f"common is {self.common!r}; give a list of names, such as ['scale']")
        for name in self.common:
            if name not in PARAMETERS:
                raise InputError(f"unknown parameter {name!r}; common may be {', '.join(PARAMETERS)}")
        object.__setattr__(self, "common", tuple(self.common))  # the class is frozen
        _ = self.fit  # whatever a fit cannot have is an error now

    @cached_property
    def fit(self) -> FitSettings:
        """What is asked of the fit of every position; scale and centre in pixels of the camera."""
        return FitSettings(
            self.semi_angle,
            method=self.method,
            background=self.background,
            fix=self.fix or {},
            free=self.free,
            bounds=self.bounds or {},
            expressions=self.expressions or {},
            sigma=self.sigma or {},
            hints=Hints(rotation=self.hint_rotation),
            flip=self.flip,
        )


class MapOptions(TypedDict, total=False):
    """The fields of `MapSettings` and `OpenSettings`, for type checkers; semi_angle is an argument."""

    method: str
    background: str
    fix: Mapping[str, float | None] | None
    free: Sequence[str]
    bounds: Mapping[str, tuple[float, float]] | None
    expressions: Mapping[str, str] | None
    sigma: Mapping[str, float] | None
    common: Sequence[str]
    hint_rotation: float | None
    average: int
    roi: Roi | None
    mask: ArrayLike | None
    bin: int
    step_nm: float | None
    field: bool
    scan_rotation: float | None
    flip: bool
    device: str
    partial: bool
    first_pass: FirstPassSettings
    neighbours: NeighbourSettings
    work: WorkSettings
    dataset: str | None
    scan_shape: tuple[int, int] | None
    shape: Sequence[int] | None
    dtype: DTypeLike | None
    offset: int
    skip: int | None
    flyback: int

"""Margins of thresholds that a measured quantity is compared with.

Each such threshold is `Observed`: good frames should lie on one side of it, frames of other kinds on the
other.  The margin to either is the ratio of the threshold to the nearest frame of that side; below 1 a frame
lies on the wrong side.  A frame that should be refused need not be caught by every threshold, so its
`refusals` say by how much the most telling one catches it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.threshold_frames import REFUSED
from hybridfit.fitting.judge.settings import JudgeSettings
from hybridfit.fitting.search.settings import SearchSettings
from hybridfit.fitting.seed.settings import AlignmentSettings, SeedSettings
from hybridfit.fitting.settings import RouteSettings
from hybridfit.scan.settings import FirstPassSettings

LARGEST = 1e3  # margins beyond that are not worth a number

Row = dict[str, Any]


def key_of(settings: type, name: str, what: str = "") -> str:
    """By which rows hold the quantity that a threshold is compared with."""
    return f"{settings.__name__}.{name}" + (f", {what}" if what else "")


def quantities(settings: type, **values: float) -> Row:
    """Quantities by the key of the threshold that they are compared with."""
    return {key_of(settings, name): float(value) for name, value in values.items()}


class Observed(NamedTuple):
    """A threshold that a measured quantity is compared with.

    Attributes
    ----------
    settings : type
    name : str
    upper : bool
        Whether good frames lie below it.
    meant_for : kinds of frames that should lie on the other side
    good : kinds of frames that should lie on this side
    what : str
        What is compared, where one threshold is compared with several quantities.
    """

    settings: type
    name: str
    upper: bool
    meant_for: tuple[str, ...]
    good: tuple[str, ...] = ("good",)
    what: str = ""

    @property
    def key(self) -> str:
        """Class and field, by which rows hold the quantity."""
        return key_of(self.settings, self.name, self.what)

    @property
    def value(self) -> float:
        """The threshold."""
        return float(getattr(self.settings(), self.name))

    def beyond(self, quantity: float) -> float:
        """How far a quantity lies on the side of good frames, as a ratio; below 1 it lies on the other."""
        small = 1e-12
        high, low = (self.value, quantity) if self.upper else (quantity, self.value)
        return float(np.clip(max(high, small) / max(low, small), 1 / LARGEST, LARGEST))


JUDGE, ROUTES, SEARCHING, SEEDING = JudgeSettings, RouteSettings, SearchSettings, SeedSettings
SCATTERS = ("scale_scatter", "rotation_scatter", "ellipticity_scatter")
BELOW = "below crystalline"
NO_CRYSTAL = ("vacuum", "amorphous", "blob")
OBSERVED = (
    Observed(JUDGE, "poor_misfit", True, ("another crystal",)),
    Observed(JUDGE, "beyond_chance", False, ("noise",)),
    Observed(JUDGE, "structure_left", True, ("another crystal",)),
    Observed(JUDGE, "grain", False, ("noise",)),
    Observed(JUDGE, "crystalline", False, NO_CRYSTAL),
    Observed(JUDGE, "seen", False, ()),
    Observed(JUDGE, "seen", False, (), NO_CRYSTAL, BELOW),
    Observed(JUDGE, "beyond_round", False, NO_CRYSTAL),
    Observed(JUDGE, "hole", True, ("noise",)),
    Observed(JUDGE, "suspicious", True, ("another semi-angle",)),
    Observed(JUDGE, "semi_angle_gain", True, ("another semi-angle",)),
    Observed(JUDGE, "semi_angle_off", True, ("another semi-angle",)),
    Observed(JUDGE, "poor_network", True, ("another crystal", *NO_CRYSTAL, "noise"), ("network",)),
    Observed(JUDGE, "ambiguous", False, ("false minimum",)),
    Observed(ROUTES, "no_match", True, ("another crystal", "blob", "noise")),
    Observed(ROUTES, "believed", False, ("few electrons, seed wrong",), ()),
    Observed(ROUTES, "few_electrons", False, ("few electrons",)),
    Observed(SEARCHING, "misled", True, ("camera off",), ("camera right",)),
    Observed(SEARCHING, "worth", False, ()),
    Observed(SEARCHING, "bright_cut", True, ("cut",)),
    Observed(SEARCHING, "disc_outside", True, ("cut",), ("touching",)),
    Observed(SEEDING, "sure", False, ("seed wrong",), ("seed right",)),
    Observed(SEEDING, "other_starts_below", False, ("misaligned",), ("seed right",)),
    Observed(AlignmentSettings, "doubtful", True, ("misaligned",), ("aligned",)),
    *(Observed(FirstPassSettings, name, True, (), ("one camera",)) for name in SCATTERS),
)
# what refuses a frame; each by itself is enough, but another semi-angle takes three together
REFUSING = tuple(
    o
    for o in OBSERVED
    if o.settings is JUDGE and o.name in ("poor_misfit", "beyond_chance", "structure_left", "hole")
)
TOGETHER = tuple(o for o in OBSERVED if o.name in ("suspicious", "semi_angle_gain", "semi_angle_off"))


def refusal(row: Row, share: float, error: float, limits: JudgeSettings) -> float:
    """By how much the most telling threshold refuses a frame, as a ratio; below 1 none does.

    Parameters
    ----------
    row : dict
        Quantities of the frame.
    share, error : float
        The share of the crystal's structure that is there, and its standard error.
    limits : JudgeSettings
    """
    each = [1 / o.beyond(row[o.key]) for o in REFUSING]
    each.append(min(1 / o.beyond(row[o.key]) for o in TOGETHER))
    each.append(limits.seen * error / max(share, 1e-12))
    each.append(limits.crystalline / max(share + limits.seen * error, 1e-12))
    return float(np.clip(max(each), 1 / LARGEST, LARGEST))


class Margin(NamedTuple):
    """A threshold between good frames and others.

    worst, best : the nearest good frame, and the nearest of the others
    good, others : how many there are; on_wrong_side : of either
    to_good, to_others : ratios; below 1 a frame lies on the wrong side, NaN without frames
    """

    threshold: str
    value: float
    worst: float
    best: float
    good: int
    others: int
    good_on_wrong_side: int
    others_on_wrong_side: int
    to_good: float
    to_others: float


def margins(rows: Sequence[Mapping[str, Any]]) -> list[Margin]:
    """The margin of every observed threshold."""
    return [_margin(observed, rows) for observed in OBSERVED]


def _margin(observed: Observed, rows: Sequence[Mapping[str, Any]]) -> Margin:
    def values(kinds: Sequence[str]) -> np.ndarray:
        return np.array([r[observed.key] for r in rows if r["kind"] in kinds and observed.key in r])

    good_ones, others = values(observed.good), values(observed.meant_for)
    ends = (np.max, np.min) if observed.upper else (np.min, np.max)
    worst, best = (
        float(end(v)) if len(v) else float("nan") for end, v in zip(ends, (good_ones, others), strict=True)
    )
    beyond = [observed.beyond(v) for v in good_ones], [1 / observed.beyond(v) for v in others]
    return Margin(
        observed.key,
        observed.value,
        worst,
        best,
        len(good_ones),
        len(others),
        sum(b < 1 for b in beyond[0]),
        sum(b < 1 for b in beyond[1]),
        min(beyond[0], default=float("nan")),
        min(beyond[1], default=float("nan")),
    )


def refusals(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """By how much the most telling threshold refuses every frame of each kind, good ones too."""
    kinds = ("good", *REFUSED)
    return {kind: [r["refused"] for r in rows if r["kind"] == kind and "refused" in r] for kind in kinds}

"""Thresholds of the seed: how the direct disc is found, and what a network's answer is worth."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold

ALIGNMENT, HYBRID, EDGES = "benchmarks.alignment", "benchmarks.hybrid", "benchmarks.edges"


@dataclass(frozen=True)
class DiscSettings:
    """How the direct disc is found in a frame, without a network (`disc`)."""

    # ---- a first guess from the two profiles
    profile_size: int = threshold(
        96, "px", "frames are binned to so many across: enough for a centre to 2 % of the radius", ALIGNMENT
    )
    profile_radius: float = threshold(
        1.9, "standard deviations", "radius over the width of a profile: 2 for a uniform disc", ALIGNMENT
    )
    least_radius: float = threshold(2.0, "px", "binned; a smaller bright spot is a hot pixel", "design")
    largest: float = threshold(
        0.52,
        "of the frame's smaller side",
        "radius of the largest whole disc, and a little",
        "design",
    )
    # ---- the sharpest rims near the guess
    rim_radius: int = threshold(
        50, "px", "the guess is binned to this radius or a smaller one: a rim needs no more", ALIGNMENT
    )
    rims_per_radius: int = threshold(40, "1", "trial radii per radius of the guess", ALIGNMENT)
    rim_width: tuple[float, float] = threshold(
        (1.0, 2.0),
        "px",
        "σ of the ring without noise, and at most: wider rings take neighbouring discs for the rim",
        ALIGNMENT,
    )
    smoothing: float = threshold(0.6, "px", "σ, before slopes are taken: less than the ring's", ALIGNMENT)
    radius_range: tuple[float, float] = threshold(
        (0.45, 1.5), "of the guess", "the profile fit is too wide where the frame cuts the tails", ALIGNMENT
    )
    shift_range: float = threshold(0.7, "of the guess", "how far the centre may be off", ALIGNMENT)
    sharp_enough: float = threshold(
        0.5, "of the sharpest rim", "less sharp rims are left out: they belong to other discs", ALIGNMENT
    )
    apart: float = threshold(0.05, "of the radius", "rims nearer than that are one", "design")
    most: int = threshold(8, "discs", "candidates that are worth their time in a full search", ALIGNMENT)
    # ---- what is bright
    quick_size: int = threshold(
        64, "px", "frames are binned to so many across: a network aligns the rest", HYBRID
    )
    bright_percentile: float = threshold(
        98.0, "percent", "of the pixels are darker than what counts as bright: hot pixels are fewer", HYBRID
    )
    half_bright: float = threshold(
        0.94, "1", "radius of the disc over that of the area that is brighter than half the bright", HYBRID
    )
    stands_out: float = threshold(
        3.5, "standard deviations", "of the rest: how far a bright edge must be above it", EDGES
    )


@dataclass(frozen=True)
class OtherCrystalSettings:
    """How a network of another crystal finds the disc (`other_crystal`)."""

    shown: float = threshold(
        17.0, "mrad", "frames are scaled to this semi-angle: the middle of what was trained", ALIGNMENT
    )
    passes: int = threshold(5, "passes", "at most; crops settle in three", ALIGNMENT)
    still: float = threshold(
        0.01, "of the radius", "a pass that moves or scales by less is the last", ALIGNMENT
    )
    doubtful: float = threshold(
        0.03, "of the radius", "orientations that differ by more are not sure of the disc", ALIGNMENT
    )
    other_starts: int = threshold(
        4, "discs", "that are tried where the first alignment is in doubt", ALIGNMENT
    )


@dataclass(frozen=True)
class SeedSettings:
    """How a network seeds a fit (`network`); the defaults are those that the studies were made with."""

    # ---- alignment
    passes: int = threshold(4, "passes", "at most, before the crop is read in all orientations", HYBRID)
    still_mrad: float = threshold(0.2, "mrad", "a pass that moves the centre by less is the last", HYBRID)
    still_size: float = threshold(0.01, "1", "a pass that changes the scale by less is the last", HYBRID)
    farthest_size: float = threshold(3.0, "times", "a scale that has changed by more is lost", "design")
    other_starts_below: float = threshold(
        0.5, "1", "certainty below which the sharpest rims are tried as starts, too", HYBRID
    )
    # ---- candidates
    peak: tuple[float, float] = threshold(
        (1.5, 0.75), "nm, mrad", "a candidate's share is the probability within this of its peak", HYBRID
    )
    least_share: float = threshold(0.02, "1", "probability of a peak that is worth a candidate", HYBRID)
    most: int = threshold(6, "candidates", "that are worth their time in a windowed search", HYBRID)
    # ---- how much of the library is searched around them
    sure: float = threshold(0.9, "1", "certainty from which the first candidate is tried alone", HYBRID)
    in_doubt: float = threshold(
        2.0, "standard deviations", "of the network's probabilities: half-width of the window", HYBRID
    )
    no_doubt: tuple[float, float] = threshold(
        (1.5, 0.7), "nm, mrad", "a refinement corrects less by itself: no window is searched", HYBRID
    )
    disc: DiscSettings = DiscSettings()
    other_crystal: OtherCrystalSettings = OtherCrystalSettings()


SEED = SeedSettings()

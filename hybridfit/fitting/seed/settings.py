"""Thresholds of the seed: how the direct disc is found, and what a network's answer is worth."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold


@dataclass(frozen=True)
class DiscSettings:
    """How the direct disc is found in a frame, without a network (`disc`)."""

    # ---- a first guess from the two profiles
    profile_size: int = threshold(
        96,
        "px",
        "frames are binned to so many pixels across, which gives a centre to 2 % of the radius",
        "design",
    )
    profile_radius: float = threshold(
        1.9,
        "standard deviations",
        "the radius of the guess over the width of a profile; a uniform disc has 2",
        "design",
    )
    least_radius: float = threshold(2.0, "binned px", "a smaller bright spot is a hot pixel", "design")
    largest: float = threshold(
        0.52,
        "of the frame's smaller side",
        "a disc that lies in the frame whole has at most half its smaller side as radius",
        "design",
    )
    # ---- the sharpest rims near the guess
    rim_radius: int = threshold(
        50, "px", "frames are binned until the guess has this radius: a rim needs no more pixels", "design"
    )
    rims_per_radius: int = threshold(
        40, "radii", "so many trial radii are tried per radius of the guess", "design"
    )
    rim_width: tuple[float, float] = threshold(
        (1.0, 2.0),
        "px",
        "σ of the ring without noise, and at most: a wider ring takes neighbouring discs for the rim",
        "design",
    )
    smoothing: float = threshold(
        0.6, "px", "the frame is smoothed by this σ before slopes are taken; the ring is wider", "design"
    )
    radius_range: tuple[float, float] = threshold(
        (0.45, 1.5),
        "of the guess",
        "rims are sought in this range, because the guess is too wide where the frame cuts the tails",
        "design",
    )
    shift_range: float = threshold(
        0.7, "of the guess", "rims are sought with centres up to so far from the guess", "design"
    )
    sharp_enough: float = threshold(
        0.5,
        "of the sharpest rim",
        "rims that are less sharp belong to other discs and are left out",
        "design",
    )
    apart: float = threshold(0.05, "of the radius", "rims that differ by less are one", "design")
    most: int = threshold(8, "discs", "so many rims are worth their time in a full search", "design")
    # ---- what is bright
    quick_size: int = threshold(
        64, "px", "frames are binned to so many pixels across, because a network aligns the rest", "design"
    )
    bright_percentile: float = threshold(
        98.0,
        "percent",
        "this percentile is taken as the brightest, because hot pixels are fewer than the rest above",
        "design",
    )
    half_bright: float = threshold(
        0.94,
        "of the radius",
        "the direct disc has this radius relative to the area that is brighter than half the brightest",
        "design",
    )
    stands_out: float = threshold(
        3.5,
        "standard deviations",
        "what is bright must be brighter than the rest by so many of its standard deviations",
        "design",
    )


@dataclass(frozen=True)
class AlignmentSettings:
    """How the alignment network finds the disc (`alignment`)."""

    passes: int = threshold(
        5, "passes", "a disc is followed in so many passes at most; crops settle in two or three", "design"
    )
    still: float = threshold(
        0.05,
        "of the radius",
        "a disc is followed until a pass moves and scales it by less: the rim network sees six times as far",
        "design",
    )
    least_odds: float = threshold(
        0.05, "probability", "discs of the whole frame that are less likely are not followed", "design"
    )
    apart: float = threshold(0.05, "of the radius", "discs that differ by less are one", "design")
    doubtful: float = threshold(
        0.015,
        "of the radius",
        "a disc is not sure where the width of its rim, over the probability that it is there, is more: of "
        "1300 frames of training crystals 1087 have less, and 4 of these discs are off by more than 5 %",
        "benchmarks.disc_doubts",
    )
    nothing: float = threshold(
        0.03,
        "of the radius",
        "where the doubt is less a frame shows a disc, though it may be another: it then needs no rims",
        "design",
    )
    most: int = threshold(
        3, "discs", "so many discs are told of where none is sure; what comes later is seldom right", "design"
    )
    # ---- the rim
    rim_passes: int = threshold(
        2, "passes", "so often the rim is measured at most: the second crop is well aligned", "design"
    )
    rim_sure: float = threshold(
        0.01, "of the radius", "a disc in less doubt after one pass needs no second one", "design"
    )
    beside: tuple[float, float] = threshold(
        (0.04, 0.03),
        "of the radius",
        "the crop of a rim is cut so far beside the disc: rings are a sixtieth of the radius apart, and all "
        "of the rim of a disc in the middle lies at one place between two of them",
        "design",
    )
    there: float = threshold(
        0.5, "probability", "where a rim is less likely to be there, a disc is left where it was", "design"
    )
    measured: int = threshold(
        4, "discs", "the rims of so many discs of further starts are measured, the likeliest first", "design"
    )
    # ---- further starts, where the whole frame gives no sure disc
    starts: tuple[float, ...] = threshold(
        (1.5, 2.2, 3.0),
        "of half the frame's side, divided by",
        "the network begins anew with discs of these radii, in the middle and where the intensity is: of six "
        "wrong discs in 600 frames of training crystals two came right",
        "benchmarks.disc_doubts",
    )
    more_starts: tuple[tuple[float, int], ...] = threshold(
        ((2.4, 3), (3.2, 5)),
        "of half the frame's side, divided by; crops across",
        "where a fit is poor the network begins anew with discs of these radii on grids of so many crops: of "
        "four frames without a right disc two got one",
        "benchmarks.disc_doubts",
    )
    more_reach: float = threshold(
        0.6, "of the room", "these grids reach so far towards the edges of the frame", "design"
    )
    seen_from: int = threshold(
        2, "starts", "of these, discs that fewer starts lead to are chance", "benchmarks.disc_doubts"
    )
    more_measured: int = threshold(
        8, "discs", "the rims of so many of these are measured, the likeliest first", "design"
    )
    more_most: int = threshold(
        4, "discs", "so many of these are tried, the surest first", "benchmarks.disc_doubts"
    )


@dataclass(frozen=True)
class SeedSettings:
    """How a network seeds a fit (`network`); the defaults are those that the studies were made with."""

    # ---- alignment
    passes: int = threshold(
        4,
        "passes",
        "a network aligns a frame in so many passes at most, before it reads all orientations",
        "design",
    )
    still_mrad: float = threshold(
        0.2,
        "mrad",
        "alignment ends with a pass that moves the centre by less, which is the network's own scatter",
        "design",
    )
    still_size: float = threshold(
        0.01,
        "relative",
        "alignment ends with a pass that changes the scale by less, which is the network's own scatter",
        "design",
    )
    farthest_size: float = threshold(
        3.0, "times", "a scale that has changed by more since its start is lost", "design"
    )
    other_starts_below: float = threshold(
        0.5,
        "probability",
        "where the network is less certain, the sharpest rims are tried as starts, too",
        "design",
    )
    # ---- candidates
    peak: tuple[float, float] = threshold(
        (1.5, 0.75),
        "nm, mrad",
        "the share of a candidate is the probability within this of its peak",
        "design",
    )
    least_share: float = threshold(
        0.02, "probability", "a peak with less probability is not worth a candidate", "design"
    )
    most: int = threshold(
        6, "candidates", "so many candidates are worth their time in windowed searches", "design"
    )
    # ---- how much of the library is searched around them
    sure: float = threshold(
        0.9, "probability", "where the network is more certain, its first candidate is tried alone", "design"
    )
    in_doubt: float = threshold(
        2.0,
        "standard deviations",
        "the window that is searched is so many standard deviations of the network's "
        "probabilities wide, either way",
        "design",
    )
    no_doubt: tuple[float, float] = threshold(
        (1.5, 0.7),
        "nm, mrad",
        "where the window is narrower none is searched, because a refinement corrects as much by itself",
        "design",
    )
    disc: DiscSettings = DiscSettings()
    alignment: AlignmentSettings = AlignmentSettings()


SEED = SeedSettings()

"""Thresholds of the verdict: what makes an answer poor, ambiguous, or one that holds."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold

HYBRID, EDGES, MULTISLICE = "benchmarks.hybrid", "benchmarks.edges", "benchmarks.multislice"


@dataclass(frozen=True)
class JudgeSettings:
    """Settings of the verdict; the defaults are those that the studies were made with."""

    # ---- poor match
    poor_misfit: float = threshold(
        0.06,
        "of the pattern's variance",
        "with more misfit a match is poor; measured patterns have 0.016",
        "design",
    )
    beyond_chance: float = threshold(
        20.0, "times", "a fit must explain so many times what its parameters explain of pure noise", EDGES
    )
    structure_left: float = threshold(
        0.18,
        "of the frame's structure",
        "with more left along rings a match is poor: multislice patterns leave 0.15, other crystals 0.7",
        MULTISLICE,
    )
    grain: float = threshold(
        4.0, "standard deviations", "structure that stands out of the noise by less counts as none", EDGES
    )
    crystalline: float = threshold(
        0.5, "of the model's structure", "a frame with less of it shows no crystal", EDGES
    )
    seen: float = threshold(
        3.0, "standard errors", "by which that share must differ from 0, or from `crystalline`", EDGES
    )
    hole: float = threshold(0.3, "of the pattern", "a background that is negative by more is none", EDGES)
    suspicious: float = threshold(
        0.02,
        "of the frame's structure",
        "where more is left, another semi-angle is tried",
        "benchmarks.robustness",
    )
    semi_angle_gain: float = threshold(
        0.15,
        "of the sum of squares",
        "a semi-angle that takes away so much speaks against the given one",
        "benchmarks.robustness",
    )
    semi_angle_off: float = threshold(
        0.025,
        "relative",
        "a semi-angle that is nearer to the given one does not speak against it",
        "benchmarks.robustness",
    )
    poor_network: float = threshold(
        0.4, "of the pattern's variance", "with more left the network's answer is a poor match", HYBRID
    )

    # ---- ambiguous
    ambiguous: float = threshold(
        3.0,
        "standard deviations",
        "a second minimum that is less deep by fewer makes a fit ambiguous",
        HYBRID,
    )
    other_rotation: float = threshold(
        20.0, "degrees", "minima of one pattern in two orientations of the crystal differ by more", "design"
    )

    # ---- on a bound
    on_bound_thickness: float = threshold(
        0.02, "nm", "a thickness this near to the end of the library has ended there", "design"
    )
    on_bound_errors: tuple[float, float] = threshold(
        (0.5, 1.0),
        "1, nm",
        "a thickness within half its standard error of the end of the library has ended there, too; "
        "standard errors count up to 1 nm",
        "design",
    )
    on_bound_tilt: float = threshold(
        0.01, "mrad", "a tilt this near to the largest of the library has ended there", "design"
    )
    on_bound_share: float = threshold(
        1e-4, "of the range", "any other parameter this near to a bound has ended there", "design"
    )

    # ---- an answer that holds
    room: tuple[float, float] = threshold(
        (0.5, 0.2), "nm, mrad", "how far beyond the window about its seed an answer still confirms it", HYBRID
    )
    as_good: float = threshold(
        1.005, "ratio of sums of squares", "below it two answers are as good as each other", HYBRID
    )
    range10: float = threshold(
        0.1, "of the sum of squares", "rise that defines `thickness_range10`", "Pollock et al. 2017"
    )


JUDGE = JudgeSettings()

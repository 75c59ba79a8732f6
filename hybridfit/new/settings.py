"""Thresholds of `hybridfit new`: when a recipe has converged, and what is asked of a new library."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold

ACCURACY = "benchmarks.accuracy"


@dataclass(frozen=True)
class DesignSettings:
    """How the numbers of a recipe are chosen."""

    # ---- convergence
    tolerance: float = threshold(
        1e-3, "of the pattern's maximum", "a change that moves no thickness by 0.1 nm", ACCURACY
    )
    beams: tuple[int, ...] = threshold(
        (20, 30, 45, 65, 95, 140, 200, 290), "beams", "about how many are tried at first", "design"
    )
    more_beams: float = threshold(
        1.45, "times", "the beams of the last trial, while the trials still differ", "design"
    )
    most_beams: int = threshold(
        750, "beams", "more take minutes for one trial, and hours for a library", "design"
    )
    longest: float = threshold(4.0, "Å⁻¹", "no beam is longer: thermal motion leaves little beyond", ACCURACY)
    samplings: tuple[float, ...] = threshold(
        (0.42, 0.34, 0.27, 0.21, 0.17, 0.13),
        "mrad",
        "that are tried; rims of discs are as soft",
        ACCURACY,
    )
    steps: tuple[float, ...] = threshold((1.0, 0.5, 0.25), "nm", "of thickness that are tried", ACCURACY)
    points: int = threshold(8, "points", "of patterns by which the beams are chosen", "design")
    fewer_points: int = threshold(3, "points", "by which sampling and step are chosen", "design")
    thicknesses: int = threshold(10, "thicknesses", "over the whole range, for every point", "design")
    beyond: float = threshold(3.0, "mrad", "around the direct disc that points are drawn from", "design")
    # ---- what can be asked for
    slack: float = threshold(
        1.1, "semi-angles", "how far the library reaches, for a semi-angle that is not quite known", "design"
    )
    largest: float = threshold(8.0, "GB", "a larger library is loaded by few computers", "design")
    semi_angles: tuple[float, float] = threshold(
        (1.0, 60.0), "mrad", "that convergent probes of electron microscopes have", "design"
    )
    energies: tuple[float, float] = threshold((20.0, 3000.0), "kV", "of electron microscopes", "design")
    largest_tilt: float = threshold(50.0, "mrad", "farther off there is no zone axis pattern", "design")
    thickest: float = threshold(1000.0, "nm", "hardly an electron crosses more", "design")


@dataclass(frozen=True)
class TryoutSettings:
    """Which frames a new library is tried with, and what counts as right."""

    frames: int = threshold(20, "frames", "that are fitted: a share is known to a tenth", "design")
    frames_alone: int = threshold(8, "frames", "without a network, when a fit is slower", "design")
    trained_from: float = threshold(
        0.85, "semi-angles", "smallest semi-angle that a network learns: room below the nominal", "design"
    )
    size: int = threshold(192, "px", "of the frames, a side", "design")
    thinnest: float = threshold(
        5.0, "nm", "below, a pattern hardly says anything of the tilt", "benchmarks.dose"
    )
    disc: tuple[float, float] = threshold((0.3, 0.5), "of the frame", "diameter of the direct disc", "design")
    off_centre: float = threshold(0.08, "of the frame", "how far the pattern lies off the middle", "design")
    tilted: float = threshold(0.85, "of the largest tilt", "at the rim a fit has no room", "design")
    electrons: tuple[float, float] = threshold(
        (1e6, 1e8), "electrons", "in a frame, as cameras record", "design"
    )
    aligned: float = threshold(
        0.02, "of scale and radius", "what a network must reach", "benchmarks.alignment"
    )
    seen: tuple[float, float] = threshold(
        (3.0, 1.0), "nm, mrad", "what a network must reach: the window of the search", "benchmarks.hybrid"
    )
    right: tuple[float, float] = threshold(
        (0.5, 0.1), "nm, mrad", "what a fit must reach: another minimum is farther off", "benchmarks.accuracy"
    )


DESIGN, TRYOUT = DesignSettings(), TryoutSettings()

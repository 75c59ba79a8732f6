"""Thresholds of `hybridfit new`: when a recipe has converged, and what is asked of a new library."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold


@dataclass(frozen=True)
class DesignSettings:
    """How the numbers of a recipe are chosen."""

    # ---- convergence
    tolerance: float = threshold(
        1e-3,
        "of the pattern's maximum",
        "smaller changes of a pattern move no thickness: changes ten times as large move it by 0.05 nm",
        "benchmarks.accuracy",
    )
    moved_thickness: float = threshold(
        0.02,
        "nm",
        "fewer beams move the thickness by less; multislice agrees as well",
        "benchmarks.slab_shift",
    )
    moved_tilt: float = threshold(
        0.01, "mrad", "fewer beams move the tilt by less, a tenth of what frames tell", "design"
    )
    harmless: float = threshold(
        0.1,
        "of the pattern's maximum",
        "where beams that are left out move no answer, points of a pattern may change by so much: a fit then "
        "leaves a larger residual",
        "design",
    )
    shown: float = threshold(
        1e-4,
        "of the incident intensity",
        "a shift of thickness or tilt that changes intensities by less shows in no frame of 1e8 electrons: "
        "tilts of 1 nm of a crystal, or at whole extinction lengths",
        "design",
    )
    beams: tuple[int, ...] = threshold(
        (20, 30, 45, 65, 95, 140, 200, 290),
        "beams",
        "about so many beams are tried, from few to many",
        "design",
    )
    more_beams: float = threshold(
        1.45,
        "times",
        "each further trial has so many times the beams, while the trials still differ",
        "design",
    )
    most_beams: int = threshold(
        750, "beams", "one trial with more takes minutes, and the library hours", "design"
    )
    longest: float = threshold(
        4.0, "Å⁻¹", "no beam is longer, because thermal motion leaves little intensity beyond", "design"
    )
    tile: float = threshold(
        0.12,
        "Å⁻¹",
        "directions of such a tile share what weak beams are folded into, where samplings are compared",
        "design",
    )
    samplings: tuple[float, ...] = threshold(
        (0.42, 0.34, 0.27, 0.21, 0.17, 0.13),
        "mrad",
        "distances between solved directions that are tried, from coarse to fine",
        "design",
    )
    steps: tuple[float, ...] = threshold(
        (1.0, 0.5, 0.25), "nm", "steps of thickness that are tried, from coarse to fine", "design"
    )
    points: int = threshold(
        8, "points", "points of patterns by which the number of beams is chosen", "design"
    )
    fewer_points: int = threshold(
        3, "points", "points of patterns by which the sampling and the step of thickness are chosen", "design"
    )
    thicknesses: int = threshold(
        10, "thicknesses", "thicknesses over the whole range at which each point is compared", "design"
    )
    beyond: float = threshold(
        3.0, "mrad", "points are drawn from the direct disc and so much around it", "design"
    )
    # ---- what can be asked for
    slack: float = threshold(
        1.1,
        "semi-angles",
        "the library reaches to so many semi-angles, because the semi-angle is not known exactly",
        "design",
    )
    largest: float = threshold(8.0, "GB", "few computers load a larger library", "design")
    semi_angles: tuple[float, float] = threshold(
        (1.0, 60.0),
        "mrad",
        "convergent probes of electron microscopes have semi-angles in this range",
        "design",
    )
    energies: tuple[float, float] = threshold(
        (20.0, 3000.0), "kV", "electron microscopes have voltages in this range", "design"
    )
    largest_tilt: float = threshold(
        50.0, "mrad", "a crystal tilted farther shows no zone axis pattern", "design"
    )
    thickest: float = threshold(1000.0, "nm", "hardly an electron crosses more", "design")


@dataclass(frozen=True)
class TryoutSettings:
    """Which frames a new library is tried with, and what counts as right."""

    frames: int = threshold(
        20, "frames", "so many frames tell the share of right fits to about a tenth", "design"
    )
    frames_alone: int = threshold(
        8, "frames", "fewer frames are fitted without a network, because such a fit is slower", "design"
    )
    trained_from: float = threshold(
        0.85, "semi-angles", "a network learns semi-angles from so much of the nominal one on", "design"
    )
    size: int = threshold(192, "px", "frames have this side, as binned camera frames do", "design")
    thinnest: float = threshold(5.0, "nm", "thinner crystals hardly show their tilt", "design")
    disc: tuple[float, float] = threshold(
        (0.3, 0.5), "of the frame", "the diameter of the direct disc lies in this range", "design"
    )
    off_centre: float = threshold(
        0.08, "of the frame", "patterns lie off the middle of the frame by up to this", "design"
    )
    tilted: float = threshold(
        0.85,
        "of the largest tilt",
        "tilts go up to this: at the largest tilt of the library a fit has no room",
        "design",
    )
    electrons: tuple[float, float] = threshold(
        (1e6, 1e8), "electrons", "cameras record so many electrons in a frame", "design"
    )
    aligned: float = threshold(
        0.02,
        "of scale and radius",
        "a network must find the scale, and the centre relative to the radius, this well",
        "design",
    )
    seen: tuple[float, float] = threshold(
        (3.0, 1.0), "nm, mrad", "a network must be right within the window that the search covers", "design"
    )
    right: tuple[float, float] = threshold(
        (0.5, 0.1), "nm, mrad", "a fit counts as right within this: other minima are farther off", "design"
    )


DESIGN, TRYOUT = DesignSettings(), TryoutSettings()

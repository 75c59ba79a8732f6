"""Thresholds of libraries: how far they reach, and how large they may be."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold

ACCURACY = "benchmarks.accuracy"


@dataclass(frozen=True)
class BuildSettings:
    """What a build adds to the numbers of a recipe, and what is too large to be built."""

    folded: float = threshold(
        1.6, "g_max", "longer beams, up to here, act through the potential (Bethe): half the error", ACCURACY
    )
    beyond_disc: float = threshold(
        7.5, "mrad", "around the direct disc that patterns cover: the region that fits compare", "design"
    )
    most_thicknesses: int = threshold(
        20_000, "thicknesses", "1000 nm in steps of 0.05 nm; more is a step that is mistaken", "design"
    )
    thickest: float = threshold(
        10_000.0, "nm", "no electron crosses so much without being absorbed", "design"
    )
    longest: float = threshold(48.0, "h", "a build that takes longer is a value that is mistaken", "design")
    speed: float = threshold(
        4e10, "operations/s", "of one core while it solves, for a rough time only", "benchmarks.library_build"
    )
    memory_share: float = threshold(0.9, "of the free memory", "the rest is left to what else runs", "design")
    # what the one line compares with when it names the value that makes a library too large
    usual_g_max: float = threshold(2.3, "Å⁻¹", "of the shipped recipes", ACCURACY)
    usual_sampling: float = threshold(0.26, "mrad", "of the shipped recipes", ACCURACY)
    usual_semi_angle: float = threshold(20.0, "mrad", "of the shipped recipes", "design")
    usual_tilt: float = threshold(5.0, "mrad", "of the shipped recipes", "design")
    usual_thicknesses: int = threshold(125, "thicknesses", "of the shipped recipes", "design")
    usual_crystals: int = threshold(9, "crystals", "of the shipped recipes", "design")


@dataclass(frozen=True)
class FileSettings:
    """What a library file may declare, before memory is taken for it."""

    largest_index: int = threshold(
        4000, "grid steps", "of a direction: finer grids are not solved in a lifetime", "design"
    )
    most_small: float = threshold(
        2e8, "bytes", "of everything but the intensities: a few MB in the largest libraries", "design"
    )
    steepest_basis: float = threshold(
        1e-4, "of |g₁|·|g₂|", "area of the flattest reciprocal cell; a reduced one has 0.86", "design"
    )
    room: float = threshold(
        8e9, "bytes", "of the grid around a tilt; with more the sampling is damaged", "design"
    )


BUILD, FILE = BuildSettings(), FileSettings()

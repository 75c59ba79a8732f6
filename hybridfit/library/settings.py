"""Thresholds of libraries: how far they reach, and how large they may be."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold


@dataclass(frozen=True)
class BuildSettings:
    """What a build adds to the numbers of a recipe, and what is too large to be built."""

    folded: float = threshold(
        1.6,
        "times g_max",
        "beams up to so many times g_max act through the potential (Bethe), which halves the "
        "error of a pattern at g_max 2.3 Å⁻¹",
        "design",
    )
    folded_roughly: float = threshold(
        1.2,
        "times g_max",
        "the same for slopes and diffuse intensities: with 1.6 times the latter change by 0.2 % (rms)",
        "design",
    )
    folded_enough: float = threshold(
        3.0, "Å⁻¹", "but not fewer of them than those up to this, if 1.6 times g_max is more", "design"
    )
    beyond_disc: float = threshold(
        7.5,
        "mrad",
        "beams are stored whose discs reach so near to the direct disc: fits compare this region",
        "design",
    )
    near_tilt: float = threshold(
        6.0,
        "mrad",
        "libraries of larger tilts keep beams for patterns that reach to the centre of the Laue circle",
        "design",
    )
    block: float = threshold(
        1.5e8, "bytes", "so much of a library is in memory while it is written, and in a chunk row", "design"
    )
    square: float = threshold(
        6.0, "mrad", "directions of a square of this width are neighbours in a file", "design"
    )
    most_thicknesses: int = threshold(
        20_000,
        "thicknesses",
        "a library of 1000 nm in steps of 0.05 nm has so many; more come from a mistaken step",
        "design",
    )
    thickest: float = threshold(
        10_000.0, "nm", "no electron crosses so much matter without being absorbed", "design"
    )
    longest: float = threshold(
        48.0, "h", "a build that would take longer comes from a mistaken value", "design"
    )
    speed: float = threshold(
        4e10,
        "operations/s",
        "a core solves with about this speed; it gives a rough time only",
        "benchmarks.library_build",
    )
    memory_share: float = threshold(
        0.9, "of the free memory", "a build may take so much; the rest is left to other programs", "design"
    )
    coarser: float = threshold(
        2.0,
        "samplings",
        "directions of slopes are so far apart; error bars need slopes to a few per cent only",
        "design",
    )
    slope_beams: float = threshold(
        0.7,
        "times g_max",
        "slopes and diffuse intensities are needed to a few per cent only: fewer beams are strong in them",
        "design",
    )
    slope_g_max: float = threshold(
        1.8, "Å⁻¹", "but not fewer than those up to this, if there are so many", "design"
    )
    slope_tile: float = threshold(
        0.18, "Å⁻¹", "directions of such a tile share what weak beams of slopes are folded into", "design"
    )
    vibration_step: float = threshold(
        0.03,
        "relative",
        "slopes along B are a difference over this step; over 0.1 they are off by 9 %",
        "design",
    )
    energy_step: float = threshold(
        0.02,
        "relative",
        "slopes along the energy are a difference over this step: intensities round at 1e-5",
        "design",
    )
    diffuse_incident: float = threshold(
        3.2,
        "mrad",
        "incident directions of the diffuse table are at most so far apart: it is smooth, and summed over an "
        "aperture",
        "design",
    )
    diffuse_exit: float = threshold(
        1.3, "mrad", "directions in which diffuse electrons leave are at most so far apart", "design"
    )
    diffuse_step: float = threshold(
        2.5, "nm", "thicknesses of the diffuse table are no farther apart", "design"
    )
    diffuse_beat: float = threshold(
        0.2, "extinction distances", "nor farther than so much of the shortest of these", "design"
    )
    # what the one line compares with when it names the value that makes a library too large
    usual_g_max: float = threshold(
        2.3,
        "Å⁻¹",
        "shipped recipes have about this value, with which a message compares a larger one",
        "design",
    )
    usual_sampling: float = threshold(
        0.26,
        "mrad",
        "shipped recipes have about this value, with which a message compares a finer one",
        "design",
    )
    usual_semi_angle: float = threshold(
        20.0,
        "mrad",
        "shipped recipes have about this value, with which a message compares a larger one",
        "design",
    )
    usual_tilt: float = threshold(
        5.0,
        "mrad",
        "shipped recipes have about this value, with which a message compares a larger one",
        "design",
    )
    usual_thicknesses: int = threshold(
        125,
        "thicknesses",
        "shipped recipes have at most so many, with which a message compares more",
        "design",
    )
    usual_crystals: int = threshold(
        9, "crystals", "shipped recipes have at most so many, with which a message compares more", "design"
    )


@dataclass(frozen=True)
class FileSettings:
    """What a library file may declare, before memory is taken for it."""

    largest_index: int = threshold(
        4000,
        "grid steps",
        "no library has more grid steps along one direction: finer grids cannot be solved",
        "design",
    )
    largest_diffuse_index: int = threshold(
        400, "grid steps", "directions of diffuse tables are a milliradian or more apart", "design"
    )
    most_small: float = threshold(
        2e8, "bytes", "everything but the intensities takes a few MB in the largest libraries", "design"
    )
    steepest_basis: float = threshold(
        1e-4, "of |g₁|·|g₂|", "a flatter reciprocal cell is damaged: a reduced one has 0.86", "design"
    )
    room: float = threshold(
        8e9,
        "bytes",
        "the grid around a tilt never needs more memory, unless the sampling is damaged",
        "design",
    )


@dataclass(frozen=True)
class ApproximationSettings:
    """How it is measured how far what a library approximates moves a thickness."""

    directions: int = threshold(
        12, "directions", "twice as many change it by 4 % for GaAs and 18 % for Si", "design"
    )
    thicknesses: int = threshold(14, "thicknesses", "from the thinnest to the thickest", "design")
    thinnest: float = threshold(
        6.0, "nm", "thinner crystals change by less, because little is diffracted", "design"
    )
    thickest: float = threshold(60.0, "nm", "thicker crystals are rarely looked at", "design")
    cuts: tuple[float, ...] = threshold(
        (0.125, 0.25, 0.375, 0.5),
        "of the period",
        "a crystal can end at any plane of atoms: an average over heights of the cut",
        "design",
    )


def roughly(g_max: float, settings: BuildSettings | None = None) -> float:
    """F (Å⁻¹) of `physics.folding` for what is needed to per cents only."""
    settings = settings or BUILD
    return max(settings.folded_roughly * g_max, min(settings.folded * g_max, settings.folded_enough))


BUILD, FILE, APPROXIMATION = BuildSettings(), FileSettings(), ApproximationSettings()

"""Thresholds of the physics: what counts as one site or one cell, and which beams take part."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold

HOLZ = "benchmarks.holz"


@dataclass(frozen=True)
class CrystalSettings:
    """What counts as the same, and what no crystal has."""

    same_position: float = threshold(
        1e-3, "of the cell", "coordinates that differ by less are one site: CIFs give four digits", "design"
    )
    same_cell: float = threshold(
        1e-4, "relative", "cells that differ by less are one cell: CIFs give four or five digits", "design"
    )
    same_value: float = threshold(
        1e-3, "Å² or 1", "B and occupancies that differ by less are equal: CIFs give three digits", "design"
    )
    largest_strain: float = threshold(
        0.2, "of the cell", "a larger difference is another crystal, with a grid of its own", "design"
    )
    steepest_angles: float = threshold(
        1e-6, "of a·b·c", "volume of the flattest cell: angles that make a flatter one are mistaken", "design"
    )
    lengths: tuple[float, float] = threshold(
        (0.5, 300.0),
        "Å",
        "no atom fits into a smaller cell, no zone axis pattern resolves a larger",
        "design",
    )
    most_atoms: int = threshold(
        1000,
        "atoms",
        "finding the symmetry of more takes minutes; pattern simulations use up to 300",
        "design",
    )
    largest_occupancy: float = threshold(
        10.0, "1", "above 1 no occupancy makes sense; ten times that is another column of the file", "design"
    )
    largest_debye_waller: float = threshold(
        100.0,
        "Å²",
        "at B = 100 Å² atoms scatter no more; larger values are another column of the file",
        "design",
    )
    largest_zone_index: int = threshold(
        20, "1", "reflections are searched up to twice the largest index, in a cube: 1 GB at 60", "design"
    )


@dataclass(frozen=True)
class SolveSettings:
    """How the dynamical problem is solved."""

    segment: float = threshold(
        40.0, "nm", "reach of one Chebyshev expansion: longer ones need more terms in memory", "design"
    )
    growth: float = threshold(
        5.0,
        "1",
        "largest ln |T_k| of absorbed beams: single precision loses two of its seven digits",
        "design",
    )
    margin: float = threshold(
        1.05, "of the spectral radius", "with absorption levels lie outside the real interval", "design"
    )
    most_terms: int = threshold(
        10_000,
        "terms",
        "of an expansion: heavy columns need 1000; more is a potential that no crystal has",
        "design",
    )
    most_segments: int = threshold(
        2_000, "expansions", "gold takes one every 10 nm; more is an absorption that no crystal has", "design"
    )


@dataclass(frozen=True)
class ZonesSettings:
    """Which reflections of higher-order Laue zones take part, and how."""

    longest: float = threshold(
        6.0,
        "Å⁻¹",
        "reflections of higher zones that act on average: thermal motion leaves little beyond",
        HOLZ,
    )
    highest: float = threshold(3.0, "Å⁻¹", "of g_z of zones that act on average", HOLZ)
    near: float = threshold(
        0.8, "Å⁻²", "|2K s_g| of beams that take part with a line: 0.01 Å⁻¹ of s_g at 200 kV", HOLZ
    )
    far: float = threshold(
        6.4,
        "Å⁻²",
        "|2K s_g| of beams that are folded; more would part those inside from their opposites",
        HOLZ,
    )
    longest_line: float = threshold(
        5.5, "Å⁻¹", "of beams with a line or folded; longer ones change no intensity by 2e-5", HOLZ
    )
    weakest: float = threshold(
        1e-3, "Å⁻²", "coupling to the zero-order zone below which a beam is left out", HOLZ
    )
    directions_per_tile: int = threshold(
        64, "directions", "larger tiles hold more beams, smaller ones cost more to set up", "design"
    )
    widest_tile: float = threshold(
        0.08, "Å⁻¹", "2 mrad at 200 kV: the folded beams are taken at its middle", HOLZ
    )


CRYSTAL, SOLVE, ZONES = CrystalSettings(), SolveSettings(), ZonesSettings()

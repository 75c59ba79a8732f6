"""Thresholds of the physics: what counts as one site or one cell, and which beams take part."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold


@dataclass(frozen=True)
class CrystalSettings:
    """What counts as the same, and what no crystal has."""

    same_position: float = threshold(
        1e-3,
        "of the cell",
        "coordinates that differ by less are one site, because CIFs give four digits",
        "design",
    )
    same_cell: float = threshold(
        1e-4,
        "relative",
        "cells that differ by less are one cell, because CIFs give four or five digits",
        "design",
    )
    same_value: float = threshold(
        1e-3,
        "Å² or 1",
        "B and occupancies that differ by less are equal, because CIFs give three digits",
        "design",
    )
    largest_strain: float = threshold(
        0.2, "of the cell", "a larger difference is another crystal, with a grid of its own", "design"
    )
    steepest_angles: float = threshold(
        1e-6, "of a·b·c", "cell angles that make a flatter cell are mistaken", "design"
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
        10.0,
        "1",
        "an occupancy above 1 makes no sense, and one this large is another column of the file",
        "design",
    )
    largest_debye_waller: float = threshold(
        100.0,
        "Å²",
        "atoms with this B scatter no more, and a larger one is another column of the file",
        "design",
    )
    usual_debye_waller: float = threshold(
        0.6,
        "Å²",
        "what atoms of compounds have at room temperature, within a factor of two: 0.4 in stiff oxides and "
        "semiconductors, 1 in soft ones; taken where a file says nothing, and said",
        "design",
    )
    fullest_site: float = threshold(
        1.03, "atoms", "occupancies of a site add up to no more than 1, but for their rounding", "design"
    )
    closest: float = threshold(
        0.55,
        "of the sum of covalent radii",
        "no two whole atoms are nearer: the shortest bonds are 0.73 (uranyl) to 0.8 (N₂) of it",
        "design",
    )
    one_place: float = threshold(
        0.1, "Å", "atoms that are nearer share a site, because CIFs give three or four digits", "design"
    )
    farthest: float = threshold(
        1.6,
        "of the sum of covalent radii",
        "where no symmetry is given and an atom has no neighbour nearer than that, atoms are missing",
        "design",
    )
    off_formula: float = threshold(
        0.25,
        "of the formula",
        "cells differ from the formula in their file by less, if not by mistake: dopants, water",
        "design",
    )
    sensible_setting: float = threshold(
        0.9,
        "of the sum of covalent radii",
        "of two origins, one whose shortest distance is less than a bond is wrong",
        "design",
    )
    worse_setting: float = threshold(
        0.9, "1", "where it is also less than this part of the other's: bonds to titanium are 0.86", "design"
    )
    largest_zone_index: int = threshold(
        20,
        "1",
        "reflections are searched in a cube of twice the largest index, which takes 1 GB at 60",
        "design",
    )


@dataclass(frozen=True)
class SolveSettings:
    """How the dynamical problem is solved."""

    strong: float = threshold(
        0.85,
        "times g_max",
        "beams are strong up to this on the axis, and as near to the Ewald sphere off it: with the "
        "overlap of weak beams that is as good as all of them",
        "design",
    )
    weak: float = threshold(
        60.0,
        "times the largest |U|",
        "weak beams are no nearer to the Ewald sphere than that, where g_max allows: nearer ones make "
        "the steps between tiles visible",
        "design",
    )
    most_overlap: float = threshold(
        0.04,
        "1",
        "weak beams that overlap more with the strong ones are not weak: all are folded on the axis then, as "
        "well as that can be",
        "design",
    )
    rough_overlap: float = threshold(
        0.1,
        "1",
        "the same where intensities are needed to per cents only, as of slopes and diffuse electrons",
        "design",
    )
    tile: float = threshold(
        0.06,
        "Å⁻¹",
        "directions of a tile of this width, 1.5 mrad at 200 kV, share what weak beams are folded into",
        "design",
    )
    whole_tile: float = threshold(
        2.0,
        "Å⁻¹",
        "where strong beams reach less far, tiles are narrower by its square: weak beams are nearer and hold "
        "more, and steps between tiles stay as small",
        "design",
    )
    segment: float = threshold(
        40.0,
        "nm",
        "one Chebyshev expansion reaches so far at most: a longer one needs more terms in memory",
        "design",
    )
    growth: float = threshold(
        5.0,
        "ln |T_k|",
        "absorbed beams grow by no more within an expansion: single precision then loses two of "
        "its seven digits",
        "design",
    )
    margin: float = threshold(
        1.05,
        "of the spectral radius",
        "the interval of the expansion is wider by this, because absorption moves levels out of the real one",
        "design",
    )
    most_terms: int = threshold(
        10_000,
        "terms",
        "heavy columns need 1000 terms; so many come from a potential that no crystal has",
        "design",
    )
    most_segments: int = threshold(
        2_000,
        "expansions",
        "gold takes an expansion every 10 nm; so many come from an absorption that no crystal has",
        "design",
    )


@dataclass(frozen=True)
class ZonesSettings:
    """Which reflections of higher-order Laue zones take part, and how."""

    longest: float = threshold(
        6.0,
        "Å⁻¹",
        "longer reflections of higher zones do not count, because thermal motion leaves little of them",
        "design",
    )
    highest: float = threshold(
        3.0, "Å⁻¹", "zones that lie higher along g_z do not count on average", "design"
    )
    near: float = threshold(
        0.8,
        "Å⁻²",
        "beams so near to the Ewald sphere take part with a line: |2K s_g| is 0.8 Å⁻² at s_g = "
        "0.01 Å⁻¹ and 200 kV",
        "design",
    )
    far: float = threshold(
        6.4,
        "Å⁻²",
        "beams up to this |2K s_g| are folded into the potential; with half as much or more the "
        "lines are worse",
        "benchmarks.holz",
    )
    longest_line: float = threshold(
        5.5, "Å⁻¹", "longer beams of higher zones change no intensity by 2e-5", "design"
    )
    weakest: float = threshold(
        1e-3, "Å⁻²", "beams that couple to the zero-order zone by less are left out", "design"
    )
    directions_per_tile: int = threshold(
        64,
        "directions",
        "so many directions share their beams: larger tiles hold more beams, smaller ones cost "
        "more to set up",
        "design",
    )
    widest_tile: float = threshold(
        0.08,
        "Å⁻¹",
        "tiles are 2 mrad wide at 200 kV at most, because folded beams are taken at their middle",
        "design",
    )


@dataclass(frozen=True)
class DiffuseSettings:
    """How thermal diffuse scattering is computed."""

    orders: int = threshold(
        4, "derivatives", "derivatives of the phase up to this one count: beyond, B s² is small", "design"
    )
    reach: float = threshold(2.2, "Å", "the phase of an atom changes little farther away", "design")
    spacing: float = threshold(
        0.14, "Å", "between the points at which waves are multiplied with the phase", "design"
    )
    smallest: float = threshold(
        0.04,
        "of the largest",
        "functions near an atom that hold less of the waves are left out: 1 % of the diffuse intensity",
        "design",
    )
    longest: float = threshold(
        2.6,
        "Å⁻¹",
        "beams nearer to the Ewald sphere than 2K s = −longest² are part of waves at atoms: with those up to "
        "1.8 Å⁻¹ SrTiO3 scatters 15 % too little",
        "design",
    )
    functions_lost: float = threshold(
        3e-4, "of the intensity", "combinations of these functions that hold less are left out", "design"
    )
    pairs_lost: float = threshold(
        6e-5,
        "of its square",
        "products of two of them that hold less are left out: both together change the diffuse intensity of "
        "SrTiO3 by 0.5 % (rms)",
        "design",
    )
    sampled: int = threshold(
        15, "tiles", "what is kept is decided by about so many tiles of the directions that leave", "design"
    )
    snapshots: int = threshold(
        1400, "waves", "and by so many directions and depths of these, and as many sources", "design"
    )
    tile: float = threshold(
        0.24,
        "Å⁻¹",
        "directions of a tile of this width share what weak beams are folded into: few per tile need it",
        "design",
    )
    wave_step: float = threshold(
        0.15, "Å⁻¹", "the functions near an atom are those that hold plane waves on such a grid", "design"
    )
    wave_width: float = threshold(
        0.5, "Å⁻¹", "with amplitudes 1/(1 + (κ/width)²), as waves in crystals have, about", "design"
    )


@dataclass(frozen=True)
class MeanWaveSettings:
    """How the mean transmission of an atom is computed."""

    farthest: float = threshold(9.0, "Å", "the phase of an atom is nothing farther away", "design")
    longest: float = threshold(14.0, "Å⁻¹", "an atom that vibrates scatters nothing beyond", "design")
    panels: int = threshold(
        120, "panels", "of eight points: both transforms are exact to 1e-6 with so many", "design"
    )
    near_zero: float = threshold(
        0.05,
        "1",
        "where a mean transmission is nearer to zero, its phase cannot be followed: the closed form is taken",
        "design",
    )


CRYSTAL, SOLVE, ZONES = CrystalSettings(), SolveSettings(), ZonesSettings()
DIFFUSE, MEAN_WAVE = DiffuseSettings(), MeanWaveSettings()

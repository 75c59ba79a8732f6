"""Thresholds of structure from patterns: steps, bounds, and when the crystal is solved again."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold


@dataclass(frozen=True)
class VarySettings:
    """How B, coordinates and occupancies are fitted."""

    # ---- differences of the potential, which is smooth and known to twelve digits
    step_b: float = threshold(
        0.01, "Å²", "half the step of the difference along B: twice as much changes slopes by 1e-4", "design"
    )
    step_coordinate: float = threshold(
        2e-4, "of the cell", "half the step of the difference along a coordinate", "design"
    )
    step_occupancy: float = threshold(
        2e-3, "1", "half the step of the difference along an occupancy", "design"
    )
    diffuse_b: float = threshold(
        0.06,
        "Å²",
        "the diffuse part is a difference over this step of B: it rounds at 1e-5, and is nearly linear",
        "design",
    )
    diffuse_coordinate: float = threshold(
        2e-3, "of the cell", "the diffuse part is a difference over this step of a coordinate", "design"
    )
    diffuse_occupancy: float = threshold(
        0.03, "1", "the diffuse part is a difference over this step of an occupancy", "design"
    )
    diffuse_coarser: float = threshold(
        2.0,
        "exit directions",
        "derivatives of the diffuse part, which is smooth, are made so much more coarsely",
        "design",
    )

    diffuse_lost: float = threshold(
        3.0,
        "times that of libraries",
        "so much of the diffuse part may be lost where its derivatives are made: they change by 0.1 % in the"
        " mean, by 4 % from place to place, and take half the time",
        "design",
    )
    slope_sampling: float = threshold(
        0.55,
        "mrad",
        "directions of derivatives are no farther apart, nor closer than those of the library",
        "design",
    )

    # ---- how far numbers may go
    least_b: float = threshold(0.02, "Å²", "no atom vibrates less: zero-point motion is more", "design")
    most_b: float = threshold(8.0, "Å²", "atoms that vibrate more are hardly seen", "design")
    coordinate_room: float = threshold(
        0.4, "Å", "an atom farther from where the CIF has it belongs to another structure", "design"
    )
    trust_b: float = threshold(
        0.35, "relative", "B may change by so much before the crystal is solved again", "design"
    )
    trust_coordinate: float = threshold(
        0.06, "Å", "a coordinate may change by so much before the crystal is solved again", "design"
    )
    trust_occupancy: float = threshold(
        0.15, "1", "an occupancy may change by so much before the crystal is solved again", "design"
    )

    fine_pixel: float = threshold(
        0.1,
        "mrad",
        "wider pixels of bright frames are divided, with an edge of the aperture as sharp: of four frames"
        " without noise B is then off by 0.3 standard errors of 1e8 electrons at most, at 0.15 by 0.4",
        "design",
    )

    more_beams: float = threshold(
        1.25,
        "times g_max",
        "how far a library with so many more beams moves the numbers is a part of their errors; the time that"
        " takes grows with the fourth power",
        "design",
    )

    # ---- the window about an answer
    window: tuple[float, float] = threshold(
        (1.6, 0.4),
        "nm, mrad",
        "so far about an answer intensities are known; a fit that leaves it goes on after the next solve",
        "design",
    )

    # ---- when it ends
    solves: int = threshold(
        7, "solves", "the crystal is solved again so often at most; two or three are usual", "design"
    )
    settled: float = threshold(
        0.15,
        "standard errors",
        "the end is where the step from a crystal that was solved is shorter for every number",
        "design",
    )
    far: float = threshold(
        0.3,
        "of the trusted step",
        "derivatives are made again where numbers have moved by more since they were made: along what frames"
        " hardly tell, errors of some per cent in them decide where a step leads",
        "design",
    )
    diffuse_far: float = threshold(
        1.2,
        "of the trusted step",
        "derivatives of the diffuse part, a tenth of the pattern and nearly linear, are made again beyond",
        "design",
    )
    passes: int = threshold(3, "rounds", "fitting and weighting alternate for so many rounds", "design")

    # ---- what is said
    on_bound: float = threshold(
        1e-3,
        "of the range",
        "a number that is so near to its bound is on it, and its error not known",
        "design",
    )
    alike: float = threshold(
        0.95, "1", "numbers with a larger correlation cannot be told apart, which is said", "design"
    )
    unknown: float = threshold(
        1.0, "of the value", "of B or an occupancy with a larger error a frame says nothing", "design"
    )
    unknown_coordinate: float = threshold(
        0.3, "Å", "of a coordinate with a larger error a frame says nothing", "design"
    )


VARY = VarySettings()

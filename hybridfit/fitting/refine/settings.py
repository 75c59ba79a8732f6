"""Thresholds of the refinement: how closely the frame is compared, when a fit ends, which minima count."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold

SIZES, HYBRID, STRUCTURE = "benchmarks.accuracy", "benchmarks.hybrid", "benchmarks.structure"


@dataclass(frozen=True)
class RefineSettings:
    """Settings of the refinement; the defaults are those that the studies were made with."""

    # ---- which pixels are compared
    fine_radius: int = threshold(
        40, "px", "compared radius of the last refinement; more pixels are binned: 2 px/mrad lose 5 %", SIZES
    )
    coarse_radius: int = threshold(
        26, "px", "compared radius while minima are told apart; fewer pixels are quicker", HYBRID
    )
    coarse_pixel: float = threshold(
        0.5, "mrad", "wider pixels are divided while minima are told apart", "benchmarks.nuisances"
    )
    bright: float = threshold(
        5e6,
        "electrons",
        "from here on pixels are divided finely: the pixel's area tells",
        "benchmarks.hybrid",
    )
    fewest_pixels: int = threshold(200, "px", "with fewer usable pixels than that no fit is made", "design")

    # ---- when a fit ends
    passes: int = threshold(4, "rounds", "most rounds of fitting and weighting; weights settle in two", SIZES)
    evaluations: int = threshold(60, "evaluations", "most evaluations of one round", "design")
    tolerance: float = threshold(1e-5, "1", "relative change of χ² and parameters that ends a round", SIZES)
    first_tolerance: float = threshold(
        1e-2, "1", "the same of the first round, whose weights are yet to come", SIZES
    )
    coarse_tolerance: float = threshold(1e-3, "1", "the same while minima are told apart", HYBRID)
    only_tolerance: float = threshold(1e-2, "1", "the same where there is nothing to tell apart", HYBRID)
    settled: float = threshold(
        0.1, "standard errors", "a fit is settled when its next step is shorter for every parameter", SIZES
    )

    # ---- how far it may go
    edge: float = threshold(
        2.0, "nm", "room between the farthest thickness of a window and the bound of the fit", "design"
    )
    slack: float = threshold(
        1.5, "windows", "a fit may leave the window by half of it before the window follows", "design"
    )
    left: float = threshold(
        0.95,
        "of this room",
        "an answer that has moved so far has left the window of its seed, and the window follows",
        "design",
    )
    blur_most: float = threshold(3.0, "mrad", "a wider blur leaves no pattern", "design")
    ellipticity_most: float = threshold(0.1, "1", "no projector lens distorts by more", "design")
    scale_room: tuple[float, float] = threshold(
        (0.8, 1.25), "of the seed", "scales beyond are another disc's", "design"
    )
    centre_room: float = threshold(3.0, "mrad", "a centre farther from its seed is another disc's", "design")
    blur_start: float = threshold(0.3, "mrad", "where the blur starts", "design")
    structural_starts: tuple[float, ...] = threshold(
        (0.5, 1 / 6, 5 / 6),
        "of the range",
        "where continuous structural parameters start",
        "benchmarks.structure",
    )

    # ---- which minima count
    same: tuple[float, float] = threshold(
        (1.0, 0.3), "nm, mrad", "two refinements that end this close found one minimum", HYBRID
    )
    same_structural: float = threshold(0.1, "of the range", "the same for structural parameters", STRUCTURE)
    rivals: int = threshold(3, "minima", "runners-up that are refined to the end", HYBRID)
    rival_chi2: float = threshold(
        50.0,
        "independent pixels",
        "rise of χ² up to which a runner-up is refined to the end",
        "benchmarks.hybrid",
    )
    nothing: float = threshold(
        2.0, "nm", "a thinner crystal is next to nothing: its tilt says nothing", "benchmarks.edges"
    )
    thinnest: float = threshold(
        0.25, "nm", "this near to the thinnest of a library counts as next to nothing", "benchmarks.edges"
    )

    # ---- the curve of χ² in a picture
    curve_step: float = threshold(
        1.5, "nm", "between thicknesses of the curve of χ², at most: its minima are wider", "design"
    )

    # ---- errors
    misfit_along: float = threshold(
        1.35,
        "1",
        "misfit along the parameters leaves no residual: its size over what the residual suggests, from "
        "multislice patterns with other scattering factors",
        "benchmarks.multislice",
    )
    faded: float = threshold(
        0.1, "of the misfit", "correlation below that is taken for none", "benchmarks.multislice"
    )
    taper: float = threshold(
        2.0,
        "distances",
        "the correlation is summed up to so many times the distance at which it has faded",
        "benchmarks.multislice",
    )


REFINE = RefineSettings()


@dataclass(frozen=True)
class Effort:
    """How much work one refinement is.

    Attributes
    ----------
    passes : int
        Most rounds of fitting and weighting; 1 means the given weights throughout.
    tolerance : float
        Relative change of χ² and of the parameters at which a round ends.
    fine_pixel : float, mrad
        Wider pixels are divided.
    errors : bool
        Whether standard errors are wanted.
    coarse : bool
        Leave out what only a fine frame tells: the elliptical distortion.
    """

    passes: int
    tolerance: float
    fine_pixel: float
    errors: bool = True
    coarse: bool = False

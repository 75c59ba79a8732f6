"""Thresholds of the refinement: how closely the frame is compared, when a fit ends, which minima count."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold


@dataclass(frozen=True)
class RefineSettings:
    """Settings of the refinement; the defaults are those that the studies were made with."""

    # ---- which pixels are compared
    fine_radius: int = threshold(
        40,
        "px",
        "frames are binned until the compared disc has this radius in the last refinement; at 2 "
        "px/mrad that costs 5 % of precision",
        "design",
    )
    followed_from: float = threshold(
        5.0,
        "mrad",
        "from this tilt on the compared region follows the intensity; at 15 mrad it holds 95 % of the "
        "electrons where the disc about the direct beam holds 55 to 80 %",
        "design",
    )
    coarse_radius: int = threshold(
        26,
        "px",
        "frames are binned until the compared disc has this radius while minima are told apart: "
        "fewer pixels are quicker",
        "design",
    )
    rough_pixel: float = threshold(
        0.85, "mrad", "wider pixels are divided while minima are told apart", "design"
    )
    coarse_pixel: float = threshold(
        0.5, "mrad", "wider pixels are divided where answers need not be the last ones", "design"
    )
    bright: float = threshold(
        5e6,
        "electrons",
        "in frames of more electrons pixels are divided finely, because averaging over their area"
        " then matters",
        "design",
    )
    fewest_pixels: int = threshold(120, "px", "no fit is made with fewer usable pixels", "design")

    # ---- when a fit ends
    passes: int = threshold(
        4,
        "rounds",
        "fitting and weighting alternate for so many rounds at most; weights settle in two",
        "design",
    )
    evaluations: int = threshold(
        60, "evaluations", "one round evaluates the model so often at most", "design"
    )
    tolerance: float = threshold(
        1e-5, "relative", "a round ends when χ² and all parameters change by less", "design"
    )
    first_tolerance: float = threshold(
        1e-2,
        "relative",
        "the first round ends when χ² and all parameters change by less, because its weights are "
        "only a guess",
        "design",
    )
    coarse_tolerance: float = threshold(
        1e-3,
        "relative",
        "a round ends when χ² and all parameters change by less, while minima are told apart",
        "design",
    )
    rough_tolerance: float = threshold(
        3e-2,
        "relative",
        "a round that may lead nowhere ends when χ² changes by less",
        "design",
    )
    nowhere: float = threshold(
        2.0,
        "times the least χ²",
        "a start that ends there above this is not followed to its minimum: no rival is so far away",
        "design",
    )
    only_tolerance: float = threshold(
        1e-2,
        "relative",
        "the coarse round ends when χ² and all parameters change by less, where there is one candidate",
        "design",
    )
    settled: float = threshold(
        0.1,
        "standard errors",
        "a fit is settled when its next step would be shorter for every parameter",
        "design",
    )

    rough: float = threshold(
        0.5,
        "standard errors",
        "where minima are told apart, a fit ends when its next step would be shorter",
        "design",
    )
    same_weights: float = threshold(
        0.05,
        "relative",
        "a round that changes no weight of a pixel by more is the last, and its weights stay",
        "design",
    )

    # ---- how far it may go
    edge: float = threshold(
        2.0, "nm", "a fit may go so far beyond the room about its window before it meets a bound", "design"
    )
    slack: float = threshold(
        1.5, "windows", "a fit has so many half-widths of the window as room about its seed", "design"
    )
    left: float = threshold(
        0.95,
        "of this room",
        "an answer that has moved so far has left the window of its seed, and the window follows",
        "design",
    )
    blur_most: float = threshold(3.0, "mrad", "a wider blur leaves no pattern", "design")
    ellipticity_most: float = threshold(0.1, "relative", "no projector lens distorts by more", "design")
    scale_room: tuple[float, float] = threshold(
        (0.8, 1.25), "of the seed", "a scale beyond belongs to another disc", "design"
    )
    centre_room: float = threshold(
        3.0, "mrad", "a centre farther from its seed belongs to another disc", "design"
    )
    blur_start: float = threshold(0.3, "mrad", "the fitted blur starts here", "design")
    averaging_starts: tuple[float, float, float] = threshold(
        (0.1, 1.0, 0.3),
        "of the area, nm, mrad",
        "freed vacuum, thickness_spread and tilt_spread start here: at 0 a spread has no slope",
        "design",
    )
    structural_starts: tuple[float, ...] = threshold(
        (0.5, 1 / 6, 5 / 6),
        "of the range",
        "continuous structural parameters start at these places",
        "design",
    )

    # ---- which minima count
    same: tuple[float, float] = threshold(
        (1.0, 0.3), "nm, mrad", "two refinements that end closer found one minimum", "design"
    )
    same_structural: float = threshold(
        0.1,
        "of the range",
        "two refinements whose structural parameters end closer found one minimum",
        "design",
    )
    rivals: int = threshold(3, "minima", "so many runners-up are refined to the end", "design")
    rival_chi2: float = threshold(
        50.0,
        "independent pixels",
        "a runner-up is refined to the end if its χ² is higher by no more than so many independent pixels",
        "design",
    )
    nothing: float = threshold(
        2.0, "nm", "a thinner crystal may be vacuum, and its pattern does not show its tilt", "design"
    )
    thinnest: float = threshold(
        0.25, "nm", "a thickness this near to the thinnest of a library may be vacuum", "design"
    )

    # ---- the curve of χ² in a picture
    curve_step: float = threshold(
        1.5, "nm", "between thicknesses of the curve of χ², at most: its minima are wider", "design"
    )

    # ---- errors
    slope_accuracy: float = threshold(
        0.1,
        "of a shift",
        "how far vibration and energy shift an answer is known so well: slopes are differences, on a coarse"
        " grid, and patterns are not quite linear in them",
        "design",
    )
    joint_near: float = threshold(
        0.003,
        "relative",
        "where the semi-angle is not farther from what was taken, the model is not evaluated again",
        "design",
    )
    joint_passes: int = threshold(
        2,
        "rounds",
        "what is taken for granted and the weights of pixels are found in turn for so many rounds",
        "design",
    )
    misfit_along: float = threshold(
        1.35,
        "times",
        "misfit along the parameters leaves no residual: it is so many times what the residual "
        "suggests, in multislice patterns with other scattering factors",
        "benchmarks.multislice",
    )
    faded: float = threshold(
        0.1, "of the misfit", "correlation of the residual below this is taken for none", "design"
    )
    taper: float = threshold(
        2.0,
        "distances",
        "correlation is summed up to so many times the distance at which it has faded",
        "design",
    )

    # ---- what a camera does to noise
    correlated: float = threshold(
        0.03, "1", "neighbouring pixels share noise where it is correlated by more", "benchmarks.cameras"
    )
    correlated_errors: float = threshold(
        4.0,
        "standard errors",
        "a correlation of noise that is nearer to none is chance",
        "benchmarks.cameras",
    )
    growth: float = threshold(
        3.0,
        "standard errors",
        "growth of differences with distance is one of misfit where it is more than so much chance",
        "benchmarks.cameras",
    )
    compact: float = threshold(
        0.2,
        "of that of neighbours",
        "a correlation that is more three pixels away is one of misfit; a point spread of σ = 1 px has 0.16",
        "benchmarks.cameras",
    )
    hidden: float = threshold(
        0.1,
        "of the noise a pixel",
        "where misfit makes differences grow faster with distance, correlation of noise is hidden",
        "benchmarks.cameras",
    )
    tails: tuple[float, ...] = threshold(
        (2.0, 5.0),
        "px",
        "σ of the Gaussians that the tail of a point spread is made of: between them they imitate an"
        " exponential; longer ones are background",
        "benchmarks.cameras",
    )
    flat_field: float = threshold(
        5.0,
        "standard errors",
        "noise in proportion to the intensity is looked for in what counting leaves, and taken for a flat"
        " field where it is farther from none",
        "benchmarks.cameras",
    )

    def is_thin(self, thickness: float, thinnest: float) -> bool:
        """Whether a thickness (nm) is next to nothing, and the thinnest of a library: vacuum, maybe."""
        return thickness < min(self.nothing, thinnest + self.thinnest)


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

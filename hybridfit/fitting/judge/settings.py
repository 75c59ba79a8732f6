"""Thresholds of the verdict: what makes an answer poor, ambiguous, or one that holds."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold


@dataclass(frozen=True)
class JudgeSettings:
    """Settings of the verdict; the defaults are those that the studies were made with."""

    # ---- poor match
    poor_misfit: float = threshold(
        0.06,
        "of the pattern's variance",
        "a match with more misfit is poor: multislice patterns have 0.006 (median), measured ones no more",
        "design",
    )
    beyond_chance: float = threshold(
        20.0,
        "times",
        "a fit must explain so many times what as many parameters explain of pure noise",
        "design",
    )
    beyond_any_chance: float = threshold(
        0.9,
        "of the pattern's variance",
        "a fit that explains so much is no chance, however few the pixels: a dozen parameters explain 0.1 "
        "of the noise of 120 px",
        "design",
    )
    structure_left: float = threshold(
        0.18,
        "of the frame's structure",
        "a match that leaves more of what varies along rings is poor: multislice patterns leave "
        "0.15, other crystals 0.7",
        "benchmarks.multislice",
    )
    grain: float = threshold(
        4.0, "standard deviations", "structure that stands out of the noise by less counts as none", "design"
    )
    crystalline: float = threshold(
        0.5,
        "of the model's structure",
        "a frame with less of the fitted crystal's structure shows no crystal",
        "design",
    )
    seen: float = threshold(
        3.0,
        "standard errors",
        "this share of structure must differ by so much from 0, and from `crystalline`, to count",
        "design",
    )
    beyond_round: float = threshold(
        6.0,
        "standard deviations",
        "a crystal must explain so much more than the best round pattern: discs and blobs reach 5, crystals"
        " of 4 nm with 3e4 electrons begin at 8",
        "benchmarks.few_electrons",
    )
    round_explains: float = threshold(
        0.5,
        "of the variance",
        "where a round pattern explains more, the region holds what is bright in the frame",
        "design",
    )
    round_leaves: float = threshold(
        1.0,
        "standard deviations",
        "and where it leaves less than so much beyond noise, no crystal is looked for any further",
        "benchmarks.few_electrons",
    )
    hole: float = threshold(
        0.3, "of the pattern's range", "a background that is negative by more is none", "design"
    )
    suspicious: float = threshold(
        0.02, "of the frame's structure", "where more is left, another semi-angle is tried", "design"
    )
    semi_angle_gain: float = threshold(
        0.15,
        "of the sum of squares",
        "another semi-angle that takes away so much speaks against the given one",
        "design",
    )
    semi_angle_off: float = threshold(
        0.025, "relative", "another semi-angle nearer to the given one does not speak against it", "design"
    )
    averaging_drop: float = threshold(
        20.0,
        "independent pixels",
        "vacuum, a second crystal or a spread must lower χ² by so much to be asked for: 4.5 standard"
        " deviations",
        "benchmarks.averaging",
    )
    averaging_gain: float = threshold(
        0.25,
        "of the misfit",
        "and take so much of the misfit away: in multislice and measured patterns of one crystal they take"
        " up to 0.22",
        "benchmarks.averaging",
    )
    vacuum_gain: float = threshold(
        0.15,
        "of the misfit",
        "where vacuum would take so much, the fit is made with it: another minimum may then be the deepest",
        "benchmarks.averaging",
    )
    vacuum_among: float = threshold(
        0.7,
        "of the largest drop",
        "and no other extension takes much more away",
        "benchmarks.averaging",
    )
    averaging_excess: float = threshold(
        2.0,
        "standard deviations",
        "a twin or a second thickness is looked for where the residual is larger than noise by so much",
        "benchmarks.averaging",
    )
    vacuum_matters: float = threshold(
        0.02, "of the area", "less vacuum is not asked for", "benchmarks.averaging"
    )
    vacuum_most: float = threshold(
        0.8, "of the area", "with more vacuum there is hardly a crystal", "benchmarks.averaging"
    )
    turned_matters: float = threshold(
        0.03, "of the area", "a twin with a smaller share is not asked for", "benchmarks.averaging"
    )
    thickness_spread_matters: float = threshold(
        0.8, "nm", "a smaller spread of thickness is not asked for: its mean is right", "benchmarks.averaging"
    )
    tilt_spread_matters: float = threshold(
        0.15, "mrad", "a smaller spread of tilt is not asked for: its mean is right", "benchmarks.averaging"
    )
    thickness_step: float = threshold(
        2.0, "nm", "second differences along the thickness are taken over so much either way", "design"
    )
    second_step: float = threshold(
        4.0, "nm", "between second thicknesses that are tried: fringes are wider", "design"
    )
    poor_network: float = threshold(
        0.4,
        "of the pattern's variance",
        "the network's own answer is a poor match where more is left",
        "design",
    )

    # ---- ambiguous
    ambiguous: float = threshold(
        3.0,
        "standard deviations",
        "a fit is ambiguous where a second minimum is less deep by fewer",
        "design",
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
        "a thickness within half its standard error of the end of the library has ended there, "
        "too; a standard error counts up to 1 nm",
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
        (0.5, 0.2),
        "nm, mrad",
        "an answer confirms its seed up to so far beyond the window about it",
        "design",
    )
    as_good: float = threshold(
        1.005,
        "ratio of sums of squares",
        "two answers whose ratio is smaller explain the frame equally well",
        "design",
    )
    range10: float = threshold(
        0.1,
        "of the sum of squares",
        "the sum of squares rises by so much at the ends of `thickness_range10`",
        "Pollock et al. 2017",
    )


JUDGE = JudgeSettings()


@dataclass(frozen=True)
class MistakeSettings:
    """From where on a file contradicts what was given or found."""

    energy: float = threshold(
        0.01,
        "relative",
        "a library of another voltage; high tensions are stated to a tenth of this",
        "design",
    )
    angle: float = threshold(0.05, "relative", "semi-angles are measured to some per cent", "design")
    scale: float = threshold(
        0.1, "relative", "camera lengths as microscopes state them are off by some per cent", "design"
    )
    reciprocal: float = threshold(
        1.5, "mrad", "smaller semi-angles make no CBED disc, and are usual in 1/Å", "design"
    )
    rough: float = threshold(
        0.6, "relative", "the width of a disc that is found quickly may be half as large again", "design"
    )
    wide: float = threshold(
        0.25, "relative", "a camera length is not so far off: it is the semi-angle that is wrong", "design"
    )


MISTAKES = MistakeSettings()

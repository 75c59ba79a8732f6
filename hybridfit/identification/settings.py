"""Thresholds of identification: which hypotheses are refined, and what their residuals are worth."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold


@dataclass(frozen=True)
class IdentifySettings:
    """Settings of identification; the defaults are those that the studies were made with."""

    # ---- what is compared
    energy: float = threshold(
        0.01,
        "relative",
        "a library of another voltage than the file states is ruled out; high tensions are stated to a tenth "
        "of this",
        "design",
    )

    # ---- which hypotheses are refined
    starts: int = threshold(
        3, "hypotheses", "so many of the best ones lead downhill to the camera that all share", "design"
    )
    screened: int = threshold(
        6,
        "hypotheses",
        "so many of the best matches are refined: the right one of thirty was the first in every frame; the "
        "others are its rivals, and mirrored ones count",
        "benchmarks.identify",
    )
    screened_near: float = threshold(
        0.3,
        "of the frame's variance",
        "a hypothesis whose best match leaves so much more than the best one is not refined",
        "design",
    )
    candidates: int = threshold(
        3, "candidates", "so many library points of a hypothesis are refined at most", "design"
    )
    candidates_near: float = threshold(
        0.1,
        "of the frame's variance",
        "library points that leave so much more than the best one of their hypothesis are not refined",
        "design",
    )
    finely: int = threshold(4, "hypotheses", "so many at most are refined on the frame itself", "design")
    finely_near: float = threshold(
        1.0,
        "relative",
        "a hypothesis whose χ² on the coarse frame is higher than the best by more is decided there",
        "design",
    )

    # ---- odds
    smoothed: float = threshold(
        0.03,
        "of the radius of the compared disc",
        "what is left is smoothed by so much: structure is wider, noise is not",
        "design",
    )
    temper: float = threshold(
        0.5,
        "1",
        "a difference of χ² counts so much of what noise alone would make of it, because the right library "
        "has a misfit, too",
        "benchmarks.identify",
    )
    left: tuple[float, float, float] = threshold(
        (0.0069, 0.32, 1.2),
        "of the frame's structure; ln",
        "the right library leaves the first of the structure, the best of wrong ones the second (medians); "
        "the spread of either's logarithm",
        "benchmarks.identify",
    )
    misfit: tuple[float, float, float] = threshold(
        (0.0006, 0.031, 1.5),
        "of the frame's variance; ln",
        "and so much of the pattern as a whole",
        "benchmarks.identify",
    )
    lacking: float = threshold(
        1.7,
        "1",
        "the power of what a library lacks by which the right one leaves more",
        "benchmarks.identify",
    )
    enough: float = threshold(
        0.0005,
        "1/nm",
        "libraries that lack less count as if they lacked so much, because what they leave in a simulation "
        "is less than what a camera adds: measured patterns of SrTiO3, which asked for this and are no check "
        "of it, leave 0.03 to 0.045",
        "benchmarks.identify",
    )
    lookalike: float = threshold(
        0.1,
        "probability",
        "that a crystal that is none of the libraries leaves as little as a right one: MnO fits TiN, but for "
        "its lattice, which is wider by 5 %, and Fe fits NiO",
        "benchmarks.identify",
    )
    semi_angle_freedom: float = threshold(
        8.0,
        "degrees of freedom",
        "of Student's t, by which a semi-angle is off from what was given: some are off by far more; "
        "frames of the study, where none is, would suit 20",
        "benchmarks.identify",
    )
    none_angles: float = threshold(
        5.0,
        "standard deviations",
        "a wrong library wants a semi-angle that is off by anything up to this",
        "design",
    )
    none_prior: float = threshold(
        0.2, "probability", "that a frame shows none of the libraries, before it is looked at", "design"
    )
    shapeless: float = threshold(
        0.98,
        "probability",
        "of none where the frame shows no structure of a crystal, which says nothing for any of them",
        "design",
    )


IDENTIFY = IdentifySettings()

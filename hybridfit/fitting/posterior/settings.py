"""Thresholds of the posterior: where it is used, what is known beforehand, and when an answer is certain."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold


@dataclass(frozen=True)
class PosteriorSettings:
    """Settings of the posterior; the defaults are those that the studies were made with."""

    few: float = threshold(
        2e4,
        "electrons",
        "in frames of fewer the whole library is weighed by counting statistics: below 1e4 the least χ² was "
        "off by more than 3 nm or 1 mrad in one converged fit of six, from 1e4 on in none",
        "benchmarks.dose",
    )
    fewest: float = threshold(
        50.0, "electrons", "a frame of fewer tells nothing, and no fit is made", "design"
    )

    # ---- counts per electron
    group: int = threshold(
        20, "px", "pixels of like intensity say something of the noise if they are as many", "design"
    )
    believed: float = threshold(
        0.25,
        "quantile",
        "this quantile of variance over intensity is the gain: structure adds to the variance of the rest",
        "design",
    )
    counted: float = threshold(
        0.3, "relative", "whole numbers with a gain this near to 1 are electrons", "design"
    )

    # ---- what is known beforehand
    ellipticity: float = threshold(
        0.01, "relative", "standard deviation of either component of the distortion", "design"
    )
    blur: tuple[float, float] = threshold(
        (0.3, 0.3), "mrad", "mean and standard deviation of the blur, which is not negative", "design"
    )

    # ---- how maxima are found
    within: tuple[float, float] = threshold(
        (16.0, 0.004),
        "nats, nats per electron",
        "library points that are less likely than the best by more are not refined: a maximum between "
        "library points loses the second part to them",
        "design",
    )
    radius: int = threshold(26, "px", "frames are binned until the compared disc has this radius", "design")
    fine_pixel: float = threshold(0.75, "mrad", "wider pixels are divided", "design")
    most_starts: int = threshold(40, "library points", "so many are climbed from at most", "design")
    first_steps: tuple[int, ...] = threshold(
        (1, 1, 2),
        "steps",
        "after so many steps each time, maxima that have fallen behind are given up",
        "design",
    )
    hope: float = threshold(
        2.0,
        "gains",
        "a climb may still gain so many times what its next step says",
        "benchmarks.few_electrons",
    )
    given_up: float = threshold(
        10.0, "nats", "a maximum that is less likely than the best by more is given up", "design"
    )
    steps: int = threshold(12, "steps", "a maximum is climbed in so many steps at most", "design")
    gain_left: float = threshold(
        0.02, "nats", "a maximum is reached when the next step would gain less", "design"
    )
    same: float = threshold(
        1.5,
        "standard errors",
        "two maxima that are nearer in thickness and tilt are one",
        "design",
    )

    # ---- how far a maximum reaches
    looked_at: float = threshold(
        0.01, "probability", "what is around maxima that are less likely is not looked at", "design"
    )
    places: tuple[float, ...] = threshold(
        (1.2, 2.5, 4.0, 6.0),
        "standard errors of the maximum",
        "a parameter is held so far from its maximum, until the posterior has fallen",
        "design",
    )
    fallen: float = threshold(
        6.0, "nats", "beyond a place that is less likely by more, none is tried", "design"
    )
    aside: int = threshold(4, "steps", "the others climb so often while a parameter is held", "design")
    gain_aside: float = threshold(0.1, "nats", "the others need not gain what is less", "design")
    narrowest: float = threshold(
        0.8, "standard errors", "no maximum is narrower than its curvature says by more", "design"
    )

    # ---- when an answer is certain
    certain: float = threshold(
        0.95,
        "probability",
        "an answer converges where its maximum has so much of the posterior",
        "design",
    )
    smooth: float = threshold(
        1.5,
        "mrad",
        "a smooth profile is made of pieces of this width: disc and halo need no narrower ones",
        "design",
    )
    rim: tuple[float, ...] = threshold(
        (0.15, 0.5), "mrad", "blur of the rim of a disc without structure, or a mean of these", "design"
    )
    shown: int = threshold(3, "candidates", "the message of an ambiguous answer names so many", "design")
    crystal: float = threshold(
        3.0,
        "nats",
        "a crystal must be so much more probable than a smooth disc",
        "design",
    )


POSTERIOR = PosteriorSettings()

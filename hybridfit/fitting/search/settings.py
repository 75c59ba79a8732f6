"""Settings of the search: every constant that decides what is found.

Times of search and match are proportional to the number of library points times the number of cameras.
Steps are therefore as wide as the refinement allows: it converges from within ±3 nm and ±1 mrad.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.hints import Hints
from hybridfit.thresholds import threshold


@dataclass(frozen=True)
class SearchSettings:
    """Thresholds and steps of the full search, the library match and the windowed search."""

    # library points of the full search and of the library match
    thickness_step: float = threshold(
        2.0, "nm", "library points are so far apart: a refinement converges from 3 nm", "design"
    )
    tilt_step: float = threshold(
        0.5, "mrad", "library points are so far apart: a refinement converges from 1 mrad", "design"
    )
    beyond_thickness_step: float = threshold(
        4.0, "nm", "library points of tilts beyond those it is made for are so far apart", "design"
    )
    beyond_tilt_step: float = threshold(
        0.8, "mrad", "library points of tilts beyond those it is made for are so far apart", "design"
    )
    beyond_disc: float = threshold(
        5.0, "mrad", "the search compares the direct disc and so much around it", "design"
    )
    softness: float = threshold(
        0.45,
        "mrad",
        "edges of a template's discs are softened by this either way, as rings resolve no more; "
        "no semi-angle may be smaller",
        "design",
    )

    rim: float = threshold(
        0.7,
        "mrad",
        "where only the inside of the direct disc is compared, what is nearer to its rim is left out: "
        "the softness of the templates, and half a ring",
        "design",
    )

    least_inside: int = threshold(
        6, "rings", "with fewer rings inside the direct disc nothing is told by these alone", "design"
    )

    # frames
    searched_radius_px: int = threshold(
        36,
        "px",
        "frames are binned until the compared disc has this radius: 24 rings resolve no more",
        "design",
    )
    widest_region: float = threshold(
        16.0,
        "sides of the frame",
        "a camera whose compared disc is wider is absurd: two of its 24 rings would lie in the frame",
        "design",
    )
    smallest_disc_px: float = threshold(
        0.5, "px", "a camera whose direct disc has a smaller radius is absurd", "design"
    )
    farthest_centre: float = threshold(
        1.0,
        "sides of the frame",
        "a camera whose direct disc is centred farther outside the frame is absurd",
        "design",
    )
    disc_outside: float = threshold(
        0.03,
        "of the disc's radius",
        "a direct disc that lies farther outside the frame is cut, and the frame is refused",
        "design",
    )
    bright_cut: float = threshold(
        0.4,
        "of its width",
        "where nothing fits and more of what is bright lies along one edge, the frame cuts the direct disc",
        "design",
    )

    # cameras of the full search
    shift_step: float = threshold(
        0.7, "mrad", "trial centres about a rim of the frame are so far apart", "design"
    )
    scale_step: float = threshold(
        0.05, "relative", "trial scales about a rim of the frame are so far apart", "design"
    )
    scale_step_hinted: float = threshold(
        0.02, "relative", "trial scales about one that the user gave are so far apart", "design"
    )
    first_most: int = threshold(
        40, "cameras", "of those about the rims so many are tried with all library points", "design"
    )
    levels: tuple[tuple[int, float], ...] = threshold(
        ((3, 0.5), (2, 0.25)),
        "cameras, steps",
        "level after level, so many of the best cameras are refined with this share of the steps",
        "design",
    )
    nearer_points: int = threshold(
        400, "library points", "smaller steps are made with so many of the best library points", "design"
    )
    nearer_most: int = threshold(
        4, "cameras", "where these steps end, so many are tried with all library points", "design"
    )
    misled: float = threshold(
        0.3,
        "of the frame's variance",
        "where the best match leaves more, the rims are not trusted and cameras all around are tried, too",
        "design",
    )
    wide_reach: float = threshold(
        4.2, "mrad", "cameras all around have centres within this of the middle of what is bright", "design"
    )
    wide_shift_step: float = threshold(1.4, "mrad", "cameras all around have centres so far apart", "design")
    wide_scale_step: float = threshold(
        0.11, "ln of the ratio", "cameras all around have scales so far apart", "design"
    )
    wide_scale_steps: int = threshold(
        4,
        "steps",
        "cameras all around have so many scales to either side: what is bright has the right size"
        " within a factor of 1.55",
        "design",
    )
    wide_level: tuple[int, float] = threshold(
        (4, 1.0),
        "cameras, steps",
        "after cameras all around, so many of the best are refined with this share of the steps first",
        "design",
    )

    # which library points are candidates
    neighbour_tilt: float = threshold(
        0.8,
        "mrad",
        "library points within this, 1.6 tilt steps, are neighbours, of which the best one is a candidate",
        "design",
    )
    worth: float = threshold(
        0.25,
        "of what the best explains",
        "library points that explain less are not refined: with every start refined, fits took 10–30 s",
        "design",
    )
    most_candidates: int = threshold(12, "candidates", "one search has so many candidates at most", "design")
    odds_floor: float = threshold(
        0.01,
        "of the frame's variance",
        "library points whose χ² differs by less are about as likely: what even the right one leaves",
        "benchmarks.match_odds",
    )
    odds_pixels: float = threshold(
        60.0,
        "independent pixels",
        "the residual of a match amounts to so many, because templates are coarse",
        "benchmarks.match_odds",
    )
    hinted_rotation: float = threshold(
        5.0, "degrees", "rotations within this of a known one are searched", "design"
    )

    # library match
    rims: int = threshold(
        1, "rims", "so many of the sharpest rims are tried beside the network's disc", "design"
    )
    far_tilt: float = threshold(
        5.0,
        "mrad",
        "where the best library point is tilted farther, cameras are compared on the compared disc of their "
        "start: fits follow the intensity from there on, which goes where templates do not reach",
        "design",
    )
    downhill_points: int = threshold(
        200, "library points", "a camera is optimised with so many of the best library points", "design"
    )
    downhill_steps: tuple[tuple[float, float], ...] = threshold(
        ((0.7, 0.05), (0.35, 0.025), (0.17, 0.012)),
        "mrad, relative",
        "a camera is optimised with these steps of centre and scale, the wide ones first",
        "design",
    )
    downhill_moves: int = threshold(8, "moves", "a camera moves so often at most with each step", "design")
    rounds: int = threshold(
        3, "rounds", "all library points are tried again so often at most, after a camera has moved", "design"
    )
    sparse_thickness: int = threshold(
        2,
        "steps of thickness",
        "many cameras are tried with library points so many steps apart in thickness",
        "design",
    )
    sparse_tilt: int = threshold(3, "tilts", "many cameras are tried with one tilt of so many", "design")
    wide_most: int = threshold(4, "cameras", "so many of the cameras all around are optimised", "design")

    # windowed search
    window_thickness_step: float = threshold(
        1.5, "nm", "library points in a window are so far apart", "design"
    )
    window_tilt_step: float = threshold(0.7, "mrad", "library points in a window are so far apart", "design")
    window_shift_step: float = threshold(
        0.25, "mrad", "trial centres about the seed's are so far apart", "design"
    )
    window_scale_step: float = threshold(
        0.01, "relative", "trial scales about the seed's are so far apart", "design"
    )
    window_rotation: float = threshold(
        6.0, "degrees", "rotations within this of the seed's are searched", "design"
    )

    def reach(self, semi_angle: float) -> float:
        """Radius (mrad) of the compared disc at a semi-angle (mrad)."""
        return semi_angle + self.beyond_disc

    def scale_step_about(self, hints: Hints) -> float:
        """Relative step between trial scales; smaller where the scale is known."""
        return self.scale_step if hints.scale is None else self.scale_step_hinted

    def wide_scales(self) -> NDArray[np.float64]:
        """Trial scales over that of what is bright."""
        steps = self.wide_scale_steps
        return np.exp(np.arange(-steps, steps + 1) * self.wide_scale_step)

    def template_tag(self) -> str:
        """Part of a template file's name: tells library points or rings other than the usual ones apart."""
        beyond = ("beyond_thickness_step", "beyond_tilt_step")
        names = ("thickness_step", "tilt_step", "beyond_disc", "softness", *beyond)
        own = [getattr(self, name) for name in names]
        if own == [getattr(SEARCH, name) for name in names]:
            return ""
        return f"-{hashlib.sha256(repr(own).encode()).hexdigest()[:8]}"


SEARCH = SearchSettings()


@dataclass(frozen=True)
class LikelihoodSettings:
    """How frames of few electrons are compared with the whole library (`likelihood`)."""

    shares: tuple[float, ...] = threshold(
        (0.02, 0.05, 0.1, 0.18, 0.3, 0.45),
        "of the electrons",
        "backgrounds that are tried; a refinement finds the rest",
        "design",
    )
    about_centre: tuple[float, ...] = threshold(
        (1.25, 2.5),
        "mrad",
        "cameras on rings of these radii about a start are tried, 6 and 12 of them: of 30 frames the "
        "start was off by more than 2 mrad in two, and their maxima were missed",
        "benchmarks.few_electrons",
    )
    about_scale: tuple[float, ...] = threshold(
        (0.82, 0.93, 1.0, 1.07, 1.2, 1.36),
        "relative",
        "with these scales: a disc that is found without a network is too small by up to a quarter",
        "benchmarks.few_electrons",
    )
    about_most: int = threshold(3, "cameras", "so many of them are optimised", "benchmarks.few_electrons")
    about_within: float = threshold(
        40.0, "nats", "one that is less likely than the best by more is not", "benchmarks.few_electrons"
    )
    apart: tuple[float, float] = threshold(
        (1.2, 0.06), "mrad, relative", "cameras that are nearer in centre and scale are one", "design"
    )
    rounds: int = threshold(
        3, "rounds", "all library points are tried again so often at most, after a camera has moved", "design"
    )
    downhill_points: int = threshold(
        60, "library points", "a camera is optimised with so many of the likeliest library points", "design"
    )
    downhill_steps: tuple[tuple[float, float], ...] = threshold(
        ((1.0, 0.06), (0.5, 0.03), (0.25, 0.015)),
        "mrad, relative",
        "a camera is optimised with these steps of centre and scale, the wide ones first",
        "design",
    )
    uncovered: float = threshold(
        0.1,
        "of the compared disc",
        "a camera whose compared disc loses more of the pixels than at its start is not tried: an electron "
        "that is not seen says nothing",
        "design",
    )
    pixels_beyond: float = threshold(
        1.3, "compared discs", "pixels up to so far from a trial centre are compared", "design"
    )
    downhill_moves: int = threshold(10, "moves", "a camera moves so often at most with each step", "design")
    neighbour_thickness: float = threshold(
        2.1, "nm", "library points within one step of thickness are neighbours", "design"
    )
    neighbour_tilt: float = threshold(
        0.8, "mrad", "library points within this, 1.6 tilt steps, are neighbours", "design"
    )
    neighbour_rotation: float = threshold(
        12.0, "degrees", "orientations within this, three of the angles, are neighbours", "design"
    )
    most_peaks: int = threshold(
        3000, "orientations", "so many orientations of library points are compared with each other", "design"
    )
    most_maxima: int = threshold(
        40,
        "maxima",
        "so many maxima of the likelihood are refined at most",
        "design",
    )


LIKELIHOOD = LikelihoodSettings()


@dataclass(frozen=True)
class SharedSettings:
    """How frames of one known camera are compared with the whole library (`shared`)."""

    template_radius: int = threshold(
        14, "px", "frames are binned until the compared disc has this radius: templates are coarse", "design"
    )
    edge: float = threshold(
        1.6, "px", "the aperture of a template has an edge so wide, because pixels are points", "design"
    )
    thickness_step: float = threshold(
        2.0, "nm", "between templates; a refinement finds its way over 3", "design"
    )
    tilt_step: float = threshold(
        0.6, "mrad", "between templates; a refinement finds its way over 1", "design"
    )
    candidates: int = threshold(4, "candidates", "so many minima of a frame are refined at most", "design")
    apart: tuple[float, float] = threshold(
        (3.5, 1.1), "nm, mrad", "templates that are nearer lead to the same minimum", "design"
    )
    grain: tuple[float, float] = threshold(
        (0.02, 0.01), "nm, mrad", "the least point between templates is rounded to so much", "design"
    )
    deeper: float = threshold(
        0.25,
        "of the least χ²",
        "a minimum that is higher by more, and by `noise`, is not refined",
        "design",
    )
    noise: float = threshold(
        0.01, "of the frame's variance", "how far noise and coarse templates move χ²", "design"
    )


SHARED = SharedSettings()

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
        2.0, "nm", "between library points: the refinement converges from 3 nm", "design"
    )
    tilt_step: float = threshold(
        0.5, "mrad", "between library points: the refinement converges from 1 mrad", "design"
    )
    beyond_disc: float = threshold(
        5.0, "mrad", "the search compares the direct disc and so much around it", "design"
    )
    softness: float = threshold(
        0.45,
        "mrad",
        "half-width of a template's disc edges: what rings resolve; no semi-angle may be smaller",
        "design",
    )

    # frames
    searched_radius_px: int = threshold(
        36, "px", "radius of the compared disc after binning: 24 rings resolve no more", "design"
    )
    widest_region: float = threshold(
        16.0,
        "sides of the frame",
        "a wider compared disc means an absurd camera: two of its 24 rings would lie in the frame",
        "design",
    )
    smallest_disc_px: float = threshold(
        0.5, "px", "a smaller radius of the direct disc means an absurd camera", "design"
    )
    farthest_centre: float = threshold(
        1.0, "sides of the frame", "a direct disc centred farther outside the frame is absurd", "design"
    )
    disc_outside: float = threshold(
        0.03, "of the disc's radius", "the direct disc may be cut by the edge of the frame so far", "design"
    )
    bright_cut: float = threshold(
        0.4,
        "of its width",
        "what is bright is cut by the edge of the frame where more of it lies along the edge",
        "design",
    )

    # cameras of the full search
    shift_step: float = threshold(0.7, "mrad", "between trial centres about a rim of the frame", "design")
    scale_step: float = threshold(0.05, "1", "relative, between trial scales about a rim", "design")
    scale_step_hinted: float = threshold(0.02, "1", "the same about a scale that the user gave", "design")
    levels: tuple[tuple[int, float], ...] = threshold(
        ((3, 0.5), (2, 0.25)),
        "cameras, steps",
        "the best so many cameras are refined by this share of the steps, level after level",
        "design",
    )
    misled: float = threshold(
        0.3,
        "of the frame's variance",
        "the best χ² above which the rims are not trusted: cameras all around are tried, too",
        "design",
    )
    wide_reach: float = threshold(4.2, "mrad", "trial centres lie so near the middle of the bright", "design")
    wide_shift_step: float = threshold(1.4, "mrad", "between those trial centres", "design")
    wide_scale_step: float = threshold(0.11, "1", "logarithm of the ratio of their trial scales", "design")
    wide_scale_steps: int = threshold(
        4, "steps", "to either side: the size of the bright is right within a factor of 1.55", "design"
    )
    wide_level: tuple[int, float] = threshold(
        (4, 1.0), "cameras, steps", "an additional first level after cameras all around", "design"
    )

    # which library points are candidates
    neighbour_tilt: float = threshold(
        0.8, "mrad", "library points within it are neighbours: 1.6 tilt steps", "design"
    )
    worth: float = threshold(
        0.25,
        "of what the best explains",
        "library points that explain less are not refined: refining every start took fits to 10–30 s",
        "design",
    )
    most_candidates: int = threshold(12, "candidates", "of one search", "design")
    hinted_rotation: float = threshold(5.0, "degrees", "searched either way of a known rotation", "design")

    # library match
    rims: int = threshold(1, "rims", "the sharpest ones, tried beside the network's disc", "design")
    downhill_points: int = threshold(
        200, "library points", "the best ones, by which a camera goes downhill", "design"
    )
    downhill_steps: tuple[tuple[float, float], ...] = threshold(
        ((0.7, 0.05), (0.35, 0.025), (0.17, 0.012)),
        "mrad, relative",
        "steps of centre and scale, the wide ones first",
        "design",
    )
    downhill_moves: int = threshold(8, "moves", "at most with each step", "design")
    rounds: int = threshold(3, "rounds", "of all library points after a camera has moved, at most", "design")
    sparse_thickness: int = threshold(
        2, "steps of thickness", "between library points that many cameras are tried with", "design"
    )
    sparse_tilt: int = threshold(3, "tilts", "of which one is tried with many cameras", "design")
    wide_most: int = threshold(4, "cameras", "of many that go downhill", "design")

    # windowed search
    window_thickness_step: float = threshold(1.5, "nm", "between library points in a window", "design")
    window_tilt_step: float = threshold(0.7, "mrad", "between library points in a window", "design")
    window_shift_step: float = threshold(0.25, "mrad", "between trial centres about the seed's", "design")
    window_scale_step: float = threshold(0.01, "1", "relative, between trial scales", "design")
    window_rotation: float = threshold(6.0, "degrees", "searched either way of the seed's", "design")

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
        names = ("thickness_step", "tilt_step", "beyond_disc", "softness")
        own = [getattr(self, name) for name in names]
        if own == [getattr(SEARCH, name) for name in names]:
            return ""
        return f"-{hashlib.sha256(repr(own).encode()).hexdigest()[:8]}"


SEARCH = SearchSettings()

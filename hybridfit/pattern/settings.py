"""Thresholds of the forward model: how finely images are composed."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold


@dataclass(frozen=True)
class ModelSettings:
    """How finely images are composed."""

    semi_angle_room: float = threshold(
        0.06, "relative", "a fitted semi-angle may differ so much from the nominal one", "design"
    )
    narrowest_blur: float = threshold(
        0.15, "px", "a kernel of a smaller σ moves nothing to a neighbouring pixel", "design"
    )
    step: float = threshold(
        0.05, "steps", "derivatives of parameters that move the beams look so far either way", "design"
    )
    moved: float = threshold(
        0.1, "of half the aperture's edge", "beams move no farther for such a derivative", "design"
    )
    edge_width: float = threshold(
        1.5,
        "fine pixels",
        "a sharper edge is not sampled well; a softer one blurs more than a fine pixel does, and no less blur"
        " could be fitted",
        "design",
    )
    padding: float = threshold(
        1.6,
        "mrad",
        "so much around the compared pixels is composed, too: the blur has a σ below 0.4",
        "design",
    )
    fine_pixel: float = threshold(
        0.3, "mrad", "wider pixels are divided; at 0.42 the fitted blur is off by 4 of its errors", "design"
    )
    diffuse_growth: float = threshold(
        0.7,
        "power of B",
        "the diffuse part grows with the vibrations so fast: 0.6 to 0.75 in SrTiO3, 0.75 to 0.85 in Si",
        "design",
    )
    diffuse_near: tuple[float, float] = threshold(
        (0.25, 0.25),
        "nm, mrad",
        "so far from where it was made the diffuse part follows its slopes: by then it is off by 1e-4 of the"
        " pattern's maximum at most",
        "design",
    )
    oversampling_most: int = threshold(
        8, "fine pixels", "a pixel is divided into no more along a side: more tell nothing new", "design"
    )
    node_bytes: float = threshold(
        1.4e8,
        "bytes",
        "node images take no more: of a scan that wanders further they are made again",
        "design",
    )


MODEL = ModelSettings()

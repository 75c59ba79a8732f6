"""What decides which minima and which numbers a picture shows; sizes and colours are in `style`."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold


@dataclass(frozen=True)
class PictureSettings:
    """Which minima are marked, and what counts as the same one.

    `curve_…` fields are about minima of the χ² curve, `candidate_…` fields about refined candidates.
    """

    rivals: int = threshold(
        4, "marks", "more marks would hide the curve; the JSON lists all candidates", "design"
    )
    curve_ridge: float = threshold(
        1.05,
        "times",
        "a minimum is marked when χ² rises by this factor on the way to a deeper one; less is the "
        "grid of the search",
        "design",
    )
    curve_apart: float = threshold(
        3.0, "nm", "a minimum this near to the answer belongs to it: the curve has steps of 1–2 nm", "design"
    )
    curve_taken: float = threshold(
        4.0, "nm", "a minimum this near to a refined candidate is that candidate: a fit moves by up to 3 nm",
        "design",
    )  # fmt: skip
    candidate_apart: float = threshold(
        0.5, "nm", "a candidate this near to the answer cannot be told from it in the panel", "design"
    )
    same_thickness: float = threshold(
        0.05, "nm", "candidates that agree in thickness and tilt are one minimum, reached twice", "design"
    )
    same_tilt: float = threshold(
        0.02, "mrad", "candidates that agree in thickness and tilt are one minimum, reached twice", "design"
    )
    ring_width: float = threshold(
        0.25, "mrad", "rings of the radial profiles are half as wide as the edge of a disc", "design"
    )
    ring_pixels: int = threshold(
        12, "px", "rings with fewer pixels are joined to one disc: their mean is noise", "design"
    )
    little_tilt: float = threshold(
        0.3, "mrad", "the azimuth of a smaller tilt is noise and is left out of a comparison", "design"
    )


PICTURE = PictureSettings()

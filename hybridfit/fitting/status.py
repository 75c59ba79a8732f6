"""How a fit ended: one of a few statuses, each a sentence with a remedy, and what the sentence names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from hybridfit.fitting.candidates import Candidate


class Status(Enum):
    """How a fit ended; the value is the sentence that tells the user what to do."""

    converged = "The fit converged."
    at_bound = (
        "A parameter sits on its bound ({detail}), so its error is not known; "
        "widen the bound (--bound NAME=LOW,HIGH), or use a library that reaches further."
    )
    ambiguous = (
        "A second minimum is nearly as deep ({detail}); a hint for the thickness or tilt, "
        "or a pattern with more electrons, would decide."
    )
    poor_match = (
        "The best match is poor ({detail}): this is probably not that crystal, zone axis or semi-angle, "
        "or it is thinner or thicker than the library ({thinnest:g} … {thickest:g} nm), or the frame is "
        "distorted; check them before you trust a number."
    )
    failed = "The fit failed ({detail}); look at the frame, or give hints for centre, scale and thickness."


@dataclass(frozen=True)
class OtherMinimum:
    """A second minimum that is nearly as deep.

    Attributes
    ----------
    candidate : Candidate
    structure : mapping of name to value
        Its structural parameters.
    excess : float
        Rise of its χ² over that of the answer, relative.
    """

    candidate: Candidate
    structure: Mapping[str, float]
    excess: float

    def __str__(self) -> str:
        at = self.candidate
        others = "".join(f", {name} {value:.3g}" for name, value in self.structure.items())
        return (
            f"{at.thickness:.1f} nm, tilt {at.tilt_x:.2f}, {at.tilt_y:.2f} mrad{others}, "
            f"sum of squares {self.excess:+.1%}"
        )

    def mirrored(self) -> OtherMinimum:
        """The same in the frame of the mirror image."""
        return replace(self, candidate=self.candidate.mirrored())

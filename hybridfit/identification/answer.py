"""What identification returns: one immutable object of plain values, with a sentence that says the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hybridfit.fitting.result import Thumbnail
from hybridfit.identification.known import Left
from hybridfit.identification.odds import Evidence

SURE, LIKELY = 0.95, 0.7  # from where on words say so
NONE = "none of these"
SHAPELESS = "a round pattern explains it as well: vacuum, an amorphous film, or another crystal"


@dataclass(frozen=True)
class Match:
    """A library that was compared with a frame, at the best of its hypotheses.

    Attributes
    ----------
    name : str
        What `--library` takes.
    title : str
        Crystal, zone axis and energy.
    probability : float
        That the frame shows it: of all libraries and "none" together 1.
    refined : bool
        Whether it was refined; what follows is NaN or None where it was not.
    thickness, tilt_x, tilt_y : float, nm and mrad
        In the frame of the crystal.
    rotation, scale : float, degrees and px/mrad
    residual_fraction : float
        Of the pattern's variance.
    structure_left : float
        Of what varies along rings in the frame.
    mirrored : float
        Probability that the camera has mirrored the frame, if it is this crystal; NaN where the projection
        has a mirror.
    structure : mapping of name to (mapping of value to probability)
        Of discrete structural parameters, such as a polarity.
    picture : Thumbnail or None
    """

    name: str
    title: str
    probability: float
    refined: bool
    thickness: float = float("nan")
    tilt_x: float = float("nan")
    tilt_y: float = float("nan")
    rotation: float = float("nan")
    scale: float = float("nan")
    residual_fraction: float = float("nan")
    structure_left: float = float("nan")
    mirrored: float = float("nan")
    structure: Mapping[str, Mapping[float, float]] = field(default_factory=dict)
    picture: Thumbnail | None = field(default=None, repr=False, compare=False)

    @property
    def also(self) -> str:
        """What the odds say of mirror and polarity, in words; empty where there is nothing to say."""
        words = [
            f"{name} {value:g} ({share:.0%})"
            for name, odds in self.structure.items()
            for value, share in [max(odds.items(), key=lambda each: each[1])]
        ]
        if self.mirrored > 0.5:
            words.insert(0, f"mirrored ({self.mirrored:.0%})")
        return ", ".join(words)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, strings and dicts; None for what is not known."""
        return {
            "library": self.name,
            "title": self.title,
            "probability": self.probability,
            "thickness_nm": _number(self.thickness),
            "tilt_x_mrad": _number(self.tilt_x),
            "tilt_y_mrad": _number(self.tilt_y),
            "rotation_deg": _number(self.rotation),
            "scale_px_per_mrad": _number(self.scale),
            "residual_fraction": _number(self.residual_fraction),
            "structure_left": _number(self.structure_left),
            "mirrored": _number(self.mirrored),
            "structure": {
                name: {f"{value:g}": share for value, share in odds.items()}
                for name, odds in self.structure.items()
            },
        }


@dataclass(frozen=True)
class Identification:
    """Which library a frame shows.

    Attributes
    ----------
    source : str
        Where the frame came from.
    semi_angle : float, mrad
    matches : tuple of Match
        All libraries that were compared, the likeliest first.
    none : float
        Probability that the frame shows none of them.
    left : tuple of Left
        Libraries that were not compared, and why.
    remarks : tuple of str
    seconds : mapping of stage to float
    evidence : Evidence or None
        What the odds follow from.
    """

    source: str
    semi_angle: float
    matches: tuple[Match, ...]
    none: float
    left: tuple[Left, ...] = ()
    remarks: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    evidence: Evidence | None = field(default=None, repr=False, compare=False)

    @property
    def best(self) -> Match:
        """The likeliest library, whether or not it is likely."""
        return self.matches[0]

    @property
    def answer(self) -> str | None:
        """The name of the likeliest library; None where "none of these" is likelier."""
        return self.best.name if self.best.probability >= self.none else None

    @property
    def probability(self) -> float:
        """Of the answer."""
        return max(self.best.probability, self.none)

    @property
    def message(self) -> str:
        """The answer in a sentence, and what else there is to say."""
        odds = percent(self.probability)
        if self.answer is None:
            said = self._none_said(odds)
        elif self.probability >= SURE:
            alone = ", the only library that it was compared with" if len(self.matches) == 1 else ""
            said = f"The frame shows {self.best.title} ({odds}){alone}."
        elif self.probability >= LIKELY:
            said = f"The frame probably shows {self.best.title} ({odds}){self._rival}."
        else:
            said = f"The frame may show {self.best.title} ({odds}){self._rival}."
        if self.answer is not None and self.best.mirrored > LIKELY:
            said += f" The camera mirrors its frames ({self.best.mirrored:.0%}): fit them with --flip."
        return " ".join((said, *self.remarks))

    def _none_said(self, odds: str) -> str:
        """What is said where none of them is the likeliest."""
        best, many = self.best, len(self.matches)
        if self.probability < LIKELY:
            other = f"none of these {many} libraries" if many > 1 else "something else"
            return f"The frame shows {best.title}, or {other} ({odds})."
        shapeless = self.evidence is not None and self.evidence.left.shapeless()
        if many == 1:
            why = f": {SHAPELESS}" if shapeless else ""
            only = f"{best.title}, the only library that it was compared with"
            return f"The frame does not show {only} ({odds}){why}."
        left = f"; {best.title} comes nearest and leaves {best.structure_left:.0%} of its structure"
        why = f": {SHAPELESS}" if shapeless else left if np.isfinite(best.structure_left) else ""
        return f"The frame shows none of the {many} libraries that it was compared with ({odds}){why}."

    @property
    def _rival(self) -> str:
        """What else it may show."""
        others = [(m.probability, m.title) for m in self.matches[1:2]]
        share, title = max([*others, (self.none, NONE)])
        return f", or {title} ({percent(share)})"

    def to_json(self) -> dict[str, Any]:
        """The contract of `hybridfit identify --json`."""
        return {
            "file": self.source,
            "semi_angle_mrad": self.semi_angle,
            "answer": self.answer,
            "probability": self.probability,
            "message": self.message,
            "none": self.none,
            "matches": [match.to_json() for match in self.matches],
            "not_compared": [{"library": each.name, "why": each.why} for each in self.left],
            "seconds": dict(self.seconds),
        }

    def plot(self, path: str | Path | None = None) -> Any:
        """The frame, and the fits of the likeliest three side by side; saved where a path is given."""
        from hybridfit.plot import plot_alternatives

        return plot_alternatives(self, path)


def _number(value: float) -> float | None:
    return None if value != value else value


def percent(share: float) -> str:
    """A probability for a sentence."""
    return "over 99.9 %" if share > 0.999 else f"{100 * share:.3g} %"

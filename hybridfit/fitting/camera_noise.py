"""What the noise of a frame says about the camera that recorded it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from hybridfit.fitting.assumptions import Assumed


@dataclass(frozen=True)
class CameraNoise:
    """Noise as a fit found it in its residual, not as it was assumed to be.

    Attributes
    ----------
    gain : float
        Counts per electron: the variance of many pixels together over their intensity.  More than that of
        the camera where the charges of electrons differ; 0 where the frame does not tell it.
    electrons : float or None
        In the compared pixels, from the gain.
    read_out : float
        Noise of a pixel without electrons, and of the steps between numbers (counts).
    flat_field : float
        Noise in proportion to the intensity, relative: what a flat field leaves.
    correlation : tuple of float
        Of the noise of compared pixels that are 1, √2, 2, √5, √8 and 3 apart; empty where they are
        independent.
    binned : int
        Pixels of the frame along either side of a compared one.
    tail : Assumed or None
        Share of the light that goes farther than the fitted blur, where neighbours share noise.
    """

    gain: float
    electrons: float | None
    read_out: float
    flat_field: float
    correlation: tuple[float, ...] = ()
    binned: int = 1
    tail: Assumed | None = None

    @property
    def words(self) -> str:
        """A line for people."""
        said = []
        if self.electrons is not None:
            said.append(f"{self.gain:.3g} counts per electron ({self.electrons:.2g} electrons compared)")
        said.append(f"{self.read_out:.2g} counts of read-out noise")
        if self.flat_field:
            said.append(f"flat field off by {self.flat_field:.1%}")
        if self.correlation:
            said.append(f"neighbouring pixels share it (correlation {self.correlation[0]:.2f})")
        if self.tail is not None and self.tail.told:
            said.append(
                f"{100 * self.tail.offset:.1f} ± {100 * self.tail.stderr:.1f} % of the light beyond the blur"
            )
        return f"  noise: {', '.join(said)}"

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and lists."""
        return {**asdict(self), "correlation": list(self.correlation)}

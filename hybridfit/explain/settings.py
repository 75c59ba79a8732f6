"""What decides the numbers of a mask sweep and of a saliency map; sizes of pictures are in `pictures`."""

from __future__ import annotations

from dataclasses import dataclass

from hybridfit.thresholds import threshold


@dataclass(frozen=True)
class SweepSettings:
    """Widths and steps of the annuli that are masked."""

    width: float = threshold(
        2.2, "mrad", "width of an annulus: the paper's at 13.6 mrad", "Xu & LeBeau (2018)"
    )
    steps: int = threshold(2, "1", "default radii in one width: every part is masked twice", "design")


@dataclass(frozen=True)
class SaliencySettings:
    """How the derivatives of the network's answer are taken."""

    copies: int = threshold(16, "1", "noisy copies of the method smooth; more are slower", "design")
    noise: float = threshold(
        0.05, "1", "σ of their noise, in the root of the intensity: 100 electrons per crop pixel", "design"
    )
    darkest: float = threshold(
        0.03, "1", "root of the intensity below which its slope is held: it is infinite at 0", "design"
    )


SWEEP, SALIENCY = SweepSettings(), SaliencySettings()

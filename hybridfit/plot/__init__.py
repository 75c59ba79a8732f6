"""The picture of a fit: why to believe it, or not.

    experiment        | fit             | residual
    radial profiles   | χ²(thickness)   | the numbers, and what they are worth

Experiment and fit share one colour scale; the residual has the same units, on a scale that is
symmetric about zero and stated in per cent of theirs.

What a frame may show has one with the fits of several libraries: `plot_alternatives`.

Maps of a scan have pages of their own: `plot_map`, `plot_panel`, `plot_paper_map`.
"""

from hybridfit.plot.alternatives import plot_alternatives
from hybridfit.plot.chi2 import Minimum, other_minima
from hybridfit.plot.figure import FORMATS, check_suffix, plot_fit, save
from hybridfit.plot.maps import plot_map, plot_panel, plot_paper_map

__all__ = [
    "FORMATS",
    "Minimum",
    "check_suffix",
    "other_minima",
    "plot_alternatives",
    "plot_fit",
    "plot_map",
    "plot_panel",
    "plot_paper_map",
    "save",
]

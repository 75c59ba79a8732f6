"""How to cite hybridfit: the text of CITATION.cff, which does not travel with an installed package."""

from __future__ import annotations

SOFTWARE = (
    "hybridfit developers. hybridfit: specimen thickness and tilt from position-averaged convergent beam "
    "electron diffraction, version {version}."
)
PAPER = (
    "W. Xu and J. M. LeBeau. A deep convolutional neural network to analyze position averaged convergent "
    "beam electron diffraction patterns. Ultramicroscopy 188 (2018) 59–69."
)
DOI = "10.1016/j.ultramic.2018.03.004"

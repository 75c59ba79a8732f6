"""Specimen thickness and tilt, with error bars, from position-averaged convergent beam electron diffraction.

The public names are imported when they are first used, so that `import hybridfit` and
`hybridfit --help` stay quick.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hybridfit import errors as errors
    from hybridfit import explain as explain
    from hybridfit.fitting.candidates import Candidate as Candidate
    from hybridfit.fitting.fitter import Fitter as Fitter
    from hybridfit.fitting.flipped import FlippedFitter as FlippedFitter
    from hybridfit.fitting.hints import Hints as Hints
    from hybridfit.fitting.result import FitResult as FitResult
    from hybridfit.fitting.settings import FitSettings as FitSettings
    from hybridfit.fitting.single import fit as fit
    from hybridfit.fitting.status import Status as Status
    from hybridfit.fitting.vary.fit import StructureFitter as StructureFitter
    from hybridfit.fitting.vary.fit import fit_together as fit_together
    from hybridfit.fitting.vary.together import Together as Together
    from hybridfit.frame import Frame as Frame
    from hybridfit.frame import make_frame as make_frame
    from hybridfit.identification.answer import Identification as Identification
    from hybridfit.identification.identifier import Identifier as Identifier
    from hybridfit.identification.identifier import identify as identify
    from hybridfit.io import open_scan as open_scan
    from hybridfit.io import read_frames as read_frames
    from hybridfit.library.library import Library as Library
    from hybridfit.library.recipe import Recipe as Recipe
    from hybridfit.progress import ProgressBar as ProgressBar
    from hybridfit.scan.maps import map_scan as map_scan
    from hybridfit.scan.maps import read_map as read_map
    from hybridfit.simulate.frame import simulate_frame as simulate_frame
    from hybridfit.simulate.scan import simulate_scan as simulate_scan

    __version__: str

# where each public name lives
_HOME = {
    "Candidate": "hybridfit.fitting.candidates",
    "FitResult": "hybridfit.fitting.result",
    "FitSettings": "hybridfit.fitting.settings",
    "Fitter": "hybridfit.fitting.fitter",
    "FlippedFitter": "hybridfit.fitting.flipped",
    "Frame": "hybridfit.frame",
    "ProgressBar": "hybridfit.progress",
    "Identification": "hybridfit.identification.answer",
    "Identifier": "hybridfit.identification.identifier",
    "Hints": "hybridfit.fitting.hints",
    "Library": "hybridfit.library.library",
    "Recipe": "hybridfit.library.recipe",
    "Status": "hybridfit.fitting.status",
    "StructureFitter": "hybridfit.fitting.vary.fit",
    "Together": "hybridfit.fitting.vary.together",
    "fit": "hybridfit.fitting.single",
    "identify": "hybridfit.identification.identifier",
    "fit_together": "hybridfit.fitting.vary.fit",
    "make_frame": "hybridfit.frame",
    "map_scan": "hybridfit.scan.maps",
    "open_scan": "hybridfit.io",
    "read_frames": "hybridfit.io",
    "read_map": "hybridfit.scan.maps",
    "simulate_frame": "hybridfit.simulate.frame",
    "simulate_scan": "hybridfit.simulate.scan",
}

_MAPS = ("map_scan", "read_map")  # what they return has the attribute `hybridfit`

__all__ = [  # noqa: RUF022 - lazily imported; in the order in which one meets them
    "Library",
    "Recipe",
    "Fitter",
    "FitSettings",
    "FlippedFitter",
    "Hints",
    "fit",
    "fit_together",
    "StructureFitter",
    "FitResult",
    "Together",
    "Status",
    "Candidate",
    "identify",
    "Identification",
    "Identifier",
    "read_frames",
    "make_frame",
    "Frame",
    "open_scan",
    "map_scan",
    "read_map",
    "ProgressBar",
    "simulate_frame",
    "simulate_scan",
    "explain",
    "errors",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
        if name in _MAPS:
            importlib.import_module("hybridfit.accessor")
    elif name in ("errors", "explain"):
        value = importlib.import_module(f"hybridfit.{name}")
    elif name == "__version__":
        value = _version()
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


if "xarray" in sys.modules:  # its datasets get the attribute `hybridfit`
    importlib.import_module("hybridfit.accessor")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("hybridfit")
    except PackageNotFoundError:  # run from the source, not installed
        return "0+unknown"

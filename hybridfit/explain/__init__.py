"""What an answer rests on: masked parts of the pattern, sensitivity of the network, and its first layers.

`mask_annulus` and `sweep_mask` work for the network and for least squares; `saliency` and `activations` show
the network's inside. Each result has a picture: `plot_sweep`, `plot_saliency`, `plot_activations`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hybridfit.explain.layers import activations as activations
    from hybridfit.explain.masks import mask_annulus as mask_annulus
    from hybridfit.explain.pictures import plot_activations as plot_activations
    from hybridfit.explain.pictures import plot_saliency as plot_saliency
    from hybridfit.explain.pictures import plot_sweep as plot_sweep
    from hybridfit.explain.sensitivity import saliency as saliency
    from hybridfit.explain.sweep import sweep_mask as sweep_mask

# where each name lives: torch and matplotlib are imported with the first that needs them
_HOME = {
    "activations": "layers",
    "mask_annulus": "masks",
    "plot_activations": "pictures",
    "plot_saliency": "pictures",
    "plot_sweep": "pictures",
    "saliency": "sensitivity",
    "sweep_mask": "sweep",
}

__all__ = [  # noqa: RUF022 - lazily imported; in the order in which one meets them
    "mask_annulus",
    "sweep_mask",
    "saliency",
    "activations",
    "plot_sweep",
    "plot_saliency",
    "plot_activations",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

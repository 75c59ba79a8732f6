"""What the numbers of a map depend on: everything that another run must share to go on with this one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridfit.library.library import Library
from hybridfit.scan.positions import Positions

if TYPE_CHECKING:
    from hybridfit.network.weights import Network


def settings_of(
    positions: Positions,
    library: Library,
    network: Network | None,
    *,
    semi_angle: float,
    method: str,
    background: str,
    fix: Mapping[str, float | None],
    free: Sequence[str],
    common: Sequence[str],
    rotation: float | None,
) -> dict[str, Any]:
    """Settings and inputs as JSON values."""
    import hybridfit

    return {
        "hybridfit": hybridfit.__version__,
        "scan": positions.file.fingerprint(),
        "average": positions.average,
        "roi": list(positions.region),
        "mask": None if positions.mask is None else _digest(positions.mask.tobytes()),
        "bin": positions.bin,
        "library": str(library.dataset.attrs["checksum"]),
        "network": None if network is None else network_digest(network),
        "semi_angle": semi_angle,
        "method": method,
        "background": background,
        "fix": dict(fix),
        "free": list(free),
        "common": list(common),
        "hint_rotation": rotation,
    }


def network_digest(network: Network) -> str:
    """Names the weights of a network."""
    parts = [
        np.ascontiguousarray(v.detach().cpu().numpy()).tobytes() for v in network.module.state_dict().values()
    ]
    return _digest(b"".join(parts))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]

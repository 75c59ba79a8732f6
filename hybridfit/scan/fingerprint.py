"""What the numbers of a map depend on: everything that another run must share to go on with this one."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any

from hybridfit.fitting.assumptions import checked_sigma
from hybridfit.library.library import Library
from hybridfit.scan.positions import Positions
from hybridfit.scan.settings import MapSettings

if TYPE_CHECKING:
    from hybridfit.network.weights import Network


def inputs_of(
    positions: Positions, library: Library, network: Network | None, settings: MapSettings
) -> dict[str, Any]:
    """Settings and inputs as JSON values; what is not there by default is left out where it is not used."""
    import hybridfit

    fit = settings.fit
    known = {
        "hybridfit": hybridfit.__version__,
        "scan": positions.file.fingerprint(),
        "average": positions.average,
        "roi": list(positions.region),
        "mask": None if positions.mask is None else _digest(positions.mask.tobytes()),
        "bin": positions.bin,
        "library": str(library.dataset.attrs["checksum"]),
        "network": None if network is None else network_digest(network),
        "semi_angle": fit.semi_angle,
        "method": fit.method,
        "background": fit.background,
        "fix": dict(fit.fix),
        "free": list(fit.free),
        "common": [] if settings.method == "cnn" else list(settings.common),
        "hint_rotation": fit.hints.rotation,
    }
    if settings.flip:
        known["flip"] = True
    if fit.sigma != checked_sigma(None):
        known["sigma"] = dict(fit.sigma)
    for name in ("bounds", "expressions"):
        if getattr(fit, name):
            known[name] = dict(getattr(fit, name))
    for name in ("first_pass", "neighbours"):
        changed = _changed(getattr(settings, name))
        if changed:
            known[name] = changed
    return known


def _changed(settings: Any) -> dict[str, Any]:
    """The fields of a settings object that differ from its defaults."""
    return {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if getattr(settings, field.name) != field.default
    }


def network_digest(network: Network) -> str:
    """Names the weights of a network."""
    return _digest(b"".join(values.tobytes() for values in network.weights.arrays.values()))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]

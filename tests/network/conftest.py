"""A network that is little, and quick to train and to store."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hybridfit.network.architecture import Architecture, PatternNet
from hybridfit.network.origin import Origin
from hybridfit.network.weights import Network

LITTLE = {"widths": (16, 24, 32, 32), "squeezed": 16, "features": 64, "hidden": 32}


@pytest.fixture(scope="session")
def little(small_library) -> Architecture:
    """An architecture for the small library."""
    return replace(Architecture.of(small_library), **LITTLE)


@pytest.fixture(scope="session")
def untrained(small_library, little) -> Network:
    """A network of the small library that has learnt nothing."""
    torch.manual_seed(11)
    origin = Origin.of(
        small_library,
        semi_angle=(8.4, 14.0),
        thickness=small_library.thickness_range,
        tilt_max=small_library.tilt_max,
        thickness_temperature=0.9,
        tilt_temperature=1.1,
        record={"samples": 0, "history": []},
    )
    return Network(PatternNet(little).eval(), origin, device="cpu")

"""A frame with its truth, and fitters for it with the shipped network."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from hybridfit import Fitter, Library, make_frame, simulate_frame
from hybridfit.frame import Frame
from hybridfit.library.recipe import shipped_folder
from hybridfit.network.weights import Network

SEMI_ANGLE = 13.6
# enough beams for patterns that the shipped network knows
RECIPE = """
cif = "SrTiO3.cif"
zone = [0, 0, 1]
in_plane = [1, 0, 0]
energy_kv = 200.0
g_max = 1.5
semi_angle_max = 13.6
tilt_max = 2.0
sampling = 0.5
thickness = { start = 24.0, stop = 36.0 }
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory, cache) -> Library:
    """SrTiO3 [001], 200 kV, 24–36 nm, tilt ≤ 2 mrad."""
    folder = tmp_path_factory.mktemp("explained")
    shutil.copy(shipped_folder() / "SrTiO3.cif", folder)
    (folder / "explained.toml").write_text(RECIPE)
    return Library.open(folder / "explained.toml")


@pytest.fixture(scope="session")
def network(library: Library) -> Network:
    """The shipped network, as if trained on this library."""
    shipped = Network.shipped("SrTiO3_001_200kV", device="cpu")
    attrs = library.dataset.attrs
    origin = replace(
        shipped.origin,
        thickness=library.thickness_range,
        checksum=str(attrs["checksum"]),
        library_version=int(attrs["version"]),
    )
    return Network(shipped.module, origin, device="cpu")


@pytest.fixture(scope="session")
def simulated(library: Library) -> tuple[Frame, dict]:
    """A frame with a masked corner and an off-centre disc, 30 nm thick, and its truth."""
    image, truth = simulate_frame(
        library,
        thickness=30.3,
        tilt=(1.1, -0.7),
        semi_angle=SEMI_ANGLE,
        shape=(120, 112),
        centre=(57.4, 60.8),
        scale=2.3,
        rotation=17.0,
        electrons=3e7,
        seed=4,
    )
    mask = [[row < 12 and col < 12 for col in range(112)] for row in range(120)]
    return make_frame(image, mask=mask), truth


@pytest.fixture(scope="session")
def frame(simulated) -> Frame:
    """The frame alone."""
    return simulated[0]


@pytest.fixture(scope="session")
def cnn(library: Library, network: Network) -> Fitter:
    """Asks the network alone."""
    return Fitter(library, SEMI_ANGLE, method="cnn", network=network, workers=1)


@pytest.fixture(scope="session")
def hybrid(library: Library, network: Network) -> Fitter:
    """Asks the network and fits."""
    return Fitter(library, SEMI_ANGLE, network=network, workers=1)

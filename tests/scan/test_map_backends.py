"""Maps whose positions other processes fit, and maps that a network makes."""

from __future__ import annotations

import joblib
import numpy as np
import pytest
from small_map import FEW, FIX, SEMI_ANGLE, assert_same, mapped, status

from hybridfit import Fitter, map_scan
from hybridfit.io import open_scan
from hybridfit.network import training
from hybridfit.network.state import Plan
from hybridfit.scan.positions import Positions


@pytest.fixture(scope="module")
def network(small_library):
    """A network that has seen next to nothing: what it says is poor."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "HELD_BACK", 16)
        patch.setattr(training, "CALIBRATION", 16)
        return training.train(small_library, Plan(samples=16, batch=8, pool=16))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=None,
        host="127.0.0.1",
        local_directory=tmp_path_factory.mktemp("dask"),
    ) as cluster:
        yield cluster


def test_dask_workers_make_the_same_map(scan, small_recipe, cluster):
    options = {"fix": FIX, "roi": (0, 2, 0, 5), **FEW}
    address = cluster.scheduler_address
    found = map_scan(scan, str(small_recipe), semi_angle=SEMI_ANGLE, scheduler=address, **options)
    assert_same(found, mapped(scan, small_recipe, **options))


def test_a_backend_that_is_chosen_is_used_and_its_workers_ask_the_network(
    scan, small_recipe, network, cluster
):
    options = {"fix": FIX, "network": network, "roi": (0, 1, 0, 2), **FEW}
    here = mapped(scan, small_recipe, **options)
    client = cluster.get_client()
    with joblib.parallel_config("dask", client=client):
        there = map_scan(scan, str(small_recipe), semi_angle=SEMI_ANGLE, **options)
    client.close()
    # other threads may round what a network says otherwise
    np.testing.assert_array_equal(there["status"], here["status"])
    np.testing.assert_allclose(there["thickness"], here["thickness"], atol=1e-3)


def test_the_network_alone(scan, small_recipe, small_library, network):
    """At every position the map says what the network says of the frame, and nothing else."""
    found = mapped(scan, small_recipe, fix={}, method="cnn", network=network, roi=(0, 1, 0, 3))
    fitter = Fitter(small_library, SEMI_ANGLE, method="cnn", network=network, workers=1)
    frames = Positions(open_scan(scan)).frames([(0, x) for x in range(3)])
    for x, frame in enumerate(frames):
        alone = fitter.fit(frame)
        assert status(found, 0, x) == alone.status.name
        assert found["route"].attrs["flag_meanings"].split()[int(found["route"][0, x])] == "network"
        for name in ("thickness", "tilt_x", "tilt_y", "scale", "rotation"):
            # a batch may round otherwise than one frame
            assert float(found[name][0, x]) == pytest.approx(alone[name].value, abs=1e-3), name

"""The LiberTEM UDF: blocks, borders of partitions, frames that cannot be fitted."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.clients import libertem as client
from hybridfit.errors import InputError
from hybridfit.fitting.status import Status


def test_without_libertem_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(client, "UDF", type("UDF", (), {}))
    with pytest.raises(InputError, match="pip install libertem"):
        client.HybridfitUDF("L", 12.0)


@pytest.fixture
def context():
    """LiberTEM in this process."""
    api = pytest.importorskip("libertem.api")
    with api.Context.make_with("inline") as context:
        yield context


@pytest.fixture
def by_hand(monkeypatch, made_result):
    """Fits that are made by hand: the thickness is the largest count of the sum."""
    from dataclasses import replace

    class Made:
        sums: list[np.ndarray] = []  # noqa: RUF012

        def fit(self, frame):
            Made.sums.append(frame.image)
            p = {**made_result.parameters}
            p["thickness"] = replace(p["thickness"], value=float(frame.image.max()))
            return replace(made_result, parameters=p)

    Made.sums = []
    monkeypatch.setattr(client, "_fitter", lambda *_: Made())
    return Made


@pytest.fixture
def scan(counts):
    """A scan of 5 × 7 frames of 32 × 32 px, told apart by their counts; one is blank."""
    out = np.zeros((5, 7, 32, 32), np.float32)
    for y, x in np.ndindex(5, 7):
        out[y, x] = counts(50, 32, 32, seed=7 * y + x)
    out[4, 6] = 0
    return out


def test_blocks_are_summed_and_fitted_once(context, by_hand, scan):
    dataset = context.load("memory", data=scan, sig_dims=2, num_partitions=1)
    found = context.run_udf(dataset=dataset, udf=client.HybridfitUDF("L", 12.0, block=2))
    assert found["thickness"].data.shape == (5, 7)
    assert len(by_hand.sums) == 12 - 1  # the corner is the blank frame alone
    np.testing.assert_allclose(found["thickness"].data[2:4, 4:6], scan[2:4, 4:6].sum(axis=(0, 1)).max())
    assert (
        found["status"].data[0, 0] == client.STATUSES["converged"] == 1 + list(Status).index(Status.converged)
    )
    assert found["status"].data[4, 6] == client.UNUSABLE and np.isnan(found["thickness"].data[4, 6])
    np.testing.assert_allclose(found["tilt_y_stderr"].data[0, 0], 0.012, rtol=1e-6)


def test_blocks_that_partitions_share_are_fitted_in_parts(context, by_hand, scan):
    dataset = context.load("memory", data=scan, sig_dims=2, num_partitions=3)
    found = context.run_udf(dataset=dataset, udf=client.HybridfitUDF("L", 12.0, block=3))
    assert (found["status"].data != client.NOT_DONE).all()
    total = sum(image.sum() for image in by_hand.sums)
    np.testing.assert_allclose(total, scan.sum(), rtol=1e-6)


def test_a_region_of_interest_and_a_run_that_goes_on(context, by_hand, scan):
    dataset = context.load("memory", data=scan, sig_dims=2, num_partitions=2)
    roi = np.zeros((5, 7), bool)
    roi[:2, :2] = True
    found = context.run_udf(dataset=dataset, udf=client.HybridfitUDF("L", 12.0, block=2), roi=roi)
    known = np.isfinite(found["thickness"].data)
    assert known[:2, :2].all() and known.sum() == 4
    steps = [
        int(np.isfinite(part.buffers[0]["thickness"].data).sum())
        for part in context.run_udf_iter(dataset=dataset, udf=client.HybridfitUDF("L", 12.0, block=1))
    ]
    assert steps == sorted(steps) and 0 < steps[0] < steps[-1] == 34


def test_real_fits(context, small_library, small_recipe):
    from hybridfit import simulate_frame

    truth = {"tilt": (0.5, -0.3), "scale": 3.2, "rotation": 14.0, "centre": (47.5, 46.0)}
    data = np.stack(
        [
            simulate_frame(
                small_library, semi_angle=9.0, shape=(96, 96), electrons=1e6, seed=i, thickness=30.0, **truth
            )[0]
            for i in range(4)
        ]
    ).reshape(2, 2, 96, 96)
    dataset = context.load("memory", data=data.astype(np.float32), sig_dims=2, num_partitions=1)
    options = {"fix": {"scale": 3.2, "rotation": 14.0}}
    udf = client.HybridfitUDF(str(small_recipe), 9.0, block=2, options=options)
    found = context.run_udf(dataset=dataset, udf=udf)
    assert np.abs(found["thickness"].data - 30.0).max() < 0.5
    assert np.abs(found["tilt_x"].data - 0.5).max() < 0.1 and np.ptp(found["thickness"].data) == 0

"""What Python users have in their hands: dask, xarray, HyperSpy, and paths."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

import hybridfit
from hybridfit.errors import InputError
from hybridfit.io.arrays import frame_of


@pytest.fixture
def image(pattern) -> np.ndarray:
    return (200 * pattern(64, 48)).astype("u2")


class Stand:
    """A HyperSpy signal, as far as it is looked at: axes are listed columns first."""

    def __init__(self, data: Any, units: str = "mrad", navigation: tuple[Any, ...] = ()) -> None:
        def axis(name: str, units: str, scale: float) -> Any:
            return SimpleNamespace(name=name, units=units, scale=scale)

        self.data = data
        self.axes_manager = SimpleNamespace(
            navigation_axes=tuple(axis("<undefined>", "<undefined>", 1.0) for _ in navigation),
            signal_axes=(axis("kx", units, 0.5), axis("ky", units, 0.5)),
        )
        tree = {"Acquisition_instrument": {"TEM": {"beam_energy": 200.0, "convergence_angle": 13.6}}}
        self.metadata = SimpleNamespace(as_dictionary=lambda: tree)


def test_plain_arrays(image: np.ndarray) -> None:
    np.testing.assert_array_equal(frame_of(image).image, image)
    assert frame_of(image.tolist()).calibration == {}
    frame = frame_of(image)
    assert frame_of(frame) is frame


def test_dask(image: np.ndarray) -> None:
    da = pytest.importorskip("dask.array")
    np.testing.assert_array_equal(frame_of(da.from_array(image, chunks=20)).image, image)


@pytest.mark.parametrize(
    ("dims", "turned"),
    [(("ky", "kx"), False), (("kx", "ky"), True), (("y", "x"), False), (("x", "y"), True), (None, False)],
)
def test_xarray(image: np.ndarray, dims: tuple[str, str] | None, turned: bool) -> None:
    array = xr.DataArray(image.T if turned else image, dims=dims)
    np.testing.assert_array_equal(frame_of(array).image, image)
    assert frame_of(array).calibration == {}


def test_xarray_with_units(image: np.ndarray) -> None:
    coords = {name: (name, 0.5 * np.arange(n), {"units": "mrad"}) for name, n in (("ky", 64), ("kx", 48))}
    array = xr.DataArray(image[None], dims=("t", "ky", "kx"), coords=coords)
    frame = frame_of(array)
    np.testing.assert_array_equal(frame.image, image)
    assert frame.calibration == {"mrad_per_px": 0.5}
    with pytest.raises(InputError, match=r"\(2, 64, 48\) of several frames"):
        frame_of(xr.DataArray(np.stack([image, image]), dims=("t", "ky", "kx")))


def test_a_signal(image: np.ndarray) -> None:
    frame = frame_of(Stand(image))
    np.testing.assert_array_equal(frame.image, image)
    assert frame.calibration == {"mrad_per_px": 0.5, "energy_kv": 200.0, "semi_angle_mrad": 13.6}
    assert frame_of(Stand(image, "1/nm")).calibration["mrad_per_px"] == pytest.approx(0.5 * 2.50793, rel=1e-5)
    np.testing.assert_array_equal(frame_of(Stand(image[None], navigation=(1,))).image, image)
    with pytest.raises(InputError, match="several frames"):
        frame_of(Stand(np.stack([image, image]), navigation=(2,)))
    assert "hyperspy" not in sys.modules


def test_a_signal_of_hyperspy(image: np.ndarray) -> None:
    hyperspy = pytest.importorskip("hyperspy.api")
    signal = hyperspy.signals.Signal2D(image)
    for axis, name in zip(signal.axes_manager.signal_axes, ("kx", "ky"), strict=True):
        axis.name, axis.units, axis.scale = name, "mrad", 0.5
    signal.metadata.set_item("Acquisition_instrument.TEM.beam_energy", 200.0)
    for each in (signal, signal.as_lazy()):
        frame = frame_of(each)
        np.testing.assert_array_equal(frame.image, image)
        assert frame.calibration == {"mrad_per_px": 0.5, "energy_kv": 200.0}


def test_fit_takes_them_all(small_library, tmp_path) -> None:
    image, _ = hybridfit.simulate_frame(
        small_library, thickness=31.0, tilt=(0.4, -0.3), semi_angle=9.0, shape=(80, 72), scale=2.6
    )
    np.save(tmp_path / "a.npy", image)
    hints = hybridfit.Hints(thickness=31.0, tilt=(0.4, -0.3), scale=2.6, rotation=0.0)
    given = [image, tmp_path / "a.npy", xr.DataArray(image.T, dims=("x", "y")), Stand(image, "")]
    fits = [hybridfit.fit(each, small_library, semi_angle=9.0, hints=hints) for each in given]
    assert {fit.status.name for fit in fits} == {"converged"}
    thicknesses = [fit.parameters["thickness"].value for fit in fits]
    assert thicknesses == pytest.approx([thicknesses[0]] * 4) and thicknesses[0] == pytest.approx(31, abs=0.2)


def test_the_semi_angle_of_a_file_is_believed(small_library, image: np.ndarray) -> None:
    with pytest.raises(InputError, match="does not say its semi-angle; give semi_angle in mrad"):
        hybridfit.fit(image, small_library)
    frame, _ = hybridfit.simulate_frame(
        small_library, thickness=31.0, tilt=(0.4, -0.3), semi_angle=9.0, shape=(80, 72), scale=2.6
    )
    signal = Stand(frame, "")
    signal.metadata.as_dictionary()["Acquisition_instrument"]["TEM"]["convergence_angle"] = 9.0
    hints = hybridfit.Hints(thickness=31.0, tilt=(0.4, -0.3), scale=2.6, rotation=0.0)
    found = hybridfit.fit(signal, small_library, hints=hints)
    assert found.status.name == "converged" and found.parameters["semi_angle"].value == 9.0

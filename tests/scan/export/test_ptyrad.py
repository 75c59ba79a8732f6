"""Starting values for PtyRAD: its own reader takes them, and its propagator tilts the way they say."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import xarray as xr

from hybridfit.errors import InputError
from hybridfit.physics.bloch import DynamicalMatrix, beam_intensities
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.projection import project
from hybridfit.physics.scattering import wavelength
from hybridfit.physics.structure_factors import structure_factors
from hybridfit.scan.export import write_ptyrad
from hybridfit.scan.export.ptyrad import camera_tilts

POINTS, SLICE = 32, 0.5  # points of a cell; Å


@pytest.fixture
def ready(make_map, tmp_path):
    """A map with all that a map of hybridfit says of itself, of a scan that is there."""

    def ready(*, average: int = 1, flip: bool = False, rotation: float = 30.0) -> xr.Dataset:
        found = make_map(step=0.04)
        found["rotation"] = found["tilt_x"].copy(data=np.full((12, 16), rotation))
        path = tmp_path / "scan.npy"
        np.save(path, np.ones((12 * average, 16 * average, 20, 20), np.uint8))
        settings = {
            "scan": str(path),
            "library_name": "SrTiO3_001_200kV",
            "semi_angle": 13.6,
            "background": "radial",
            "average": average,
            "bin": 1,
            "roi": [0, 12 * average, 0, 16 * average],
            "fix": {},
            "common": {},
            "free": [],
            "flip": flip,
            "opened": {},
        }
        found.attrs["settings"] = json.dumps(settings)
        return found

    return ready


def test_ptyrad_reads_the_file(ready, tmp_path):
    params = pytest.importorskip("ptyrad.params")
    written = write_ptyrad(ready(average=2), tmp_path / "start.yaml")
    assert [path.name for path in written] == ["start.yaml", "start_tilts.npy"]
    found = params.load_params(str(written[0]), validate=True)["init_params"]
    assert found["probe_kv"] == 200.0 and found["probe_conv_angle"] == 13.6
    assert (found["pos_N_scan_slow"], found["pos_N_scan_fast"], found["meas_Npix"]) == (24, 32, 20)
    assert found["pos_scan_step_size"] == pytest.approx(0.4)
    assert found["meas_calibration"]["mode"] == "da"
    assert found["meas_calibration"]["value"] == pytest.approx(1 / 3, rel=1e-3)
    assert found["obj_Nlayer"] * found["obj_slice_thickness"] == pytest.approx(230, rel=0.02)
    assert found["tilt_source"] == "file"
    tilts = np.load(written[1])
    assert tilts.shape == (24 * 32, 2) and np.isfinite(tilts).all()


def test_tilts_are_minus_ours_turned_to_the_camera(ready, tmp_path):
    found = ready(rotation=90.0)
    write_ptyrad(found, tmp_path / "start.yaml")
    tilts = np.load(tmp_path / "start_tilts.npy").reshape(12, 16, 2)
    x, y = found["tilt_x"].values[11, 2], found["tilt_y"].values[11, 2]
    # a quarter turn brings the crystal's x to the rows of the camera
    np.testing.assert_allclose(tilts[11, 2], [-x, y], rtol=1e-5)
    np.testing.assert_allclose(camera_tilts(found, flipped=True)[11, 2], [x, -y], rtol=1e-5)


def test_a_mirrored_camera_is_turned_upside_down(ready, tmp_path):
    write_ptyrad(ready(flip=True), tmp_path / "start.yml")
    assert "meas_flipT: [1, 0, 0]" in (tmp_path / "start.yml").read_text()


def test_what_cannot_be_is_refused(ready, tmp_path):
    found = ready()
    with pytest.raises(InputError, match=r"0\.05"):
        write_ptyrad(found, tmp_path / "start.yaml", slice_nm=20)
    found["status"][:] = 4
    with pytest.raises(InputError, match="no position"):
        write_ptyrad(found, tmp_path / "start.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["scan.npy"]


def ptyrad_propagator(theta: tuple[float, float], dx: float, lam: float) -> np.ndarray:
    """PtyRAD's propagator of a slice: its `near_field_evolution`, times its factor of the tilt θ_y, θ_x."""
    optics = pytest.importorskip("ptyrad.optics.propagator")
    h = optics.near_field_evolution((POINTS, POINTS), dx, SLICE, lam)
    k = 2 * np.pi * np.fft.fftfreq(POINTS, dx)
    ky, kx = np.meshgrid(k, k, indexing="ij")
    return h * np.exp(1j * SLICE * (ky * np.tan(theta[0]) + kx * np.tan(theta[1])))


def test_ptyrads_propagator_with_minus_our_tilt_gives_our_beams(crystals):
    """Bloch waves of a beam along τ, and a multislice through PtyRAD's tilted propagator with θ = −τ."""
    lam, thickness, tau = wavelength(200), 12.0, np.array([6.0, -3.0]) * 1e-3
    crystal = Crystal.from_cif(crystals["SrTiO3"])
    projection = project(crystal, (0, 0, 1), (1, 0, 0))
    beams = projection.beams(1.6)
    matrix = DynamicalMatrix.of(projection, beams, 200)
    bloch = beam_intensities(
        matrix, tau[None] / lam, np.array([thickness]), device="cpu", dtype=torch.complex128
    )[0, :, 0]

    index = np.rint(np.fft.fftfreq(POINTS, 1 / POINTS)).astype(int)
    k, h = np.meshgrid(index, index, indexing="ij")  # rows are y
    u, absorbed = structure_factors(crystal, np.stack([h, k, 0 * h], axis=-1), 200)
    beams_of_bloch = np.hypot(h, k) / crystal.cell[0] <= 1.6
    grating = np.exp(1j * np.pi * lam * SLICE * np.fft.ifft2(u + 1j * absorbed, norm="forward"))

    def multislice(theta):
        step = ptyrad_propagator(theta, crystal.cell[0] / POINTS, lam) * beams_of_bloch
        psi = np.ones((POINTS, POINTS), complex)
        for _ in range(round(10 * thickness / SLICE)):
            psi = np.fft.ifft2(step * np.fft.fft2(grating * psi))
        out = np.abs(np.fft.fft2(psi, norm="forward")) ** 2
        hkl = beams @ projection.basis_hkl
        return out[hkl[:, 1], hkl[:, 0]]

    right, wrong = multislice((-tau[1], -tau[0])), multislice((tau[1], tau[0]))
    scale = bloch.max()
    assert np.abs(right - bloch).max() < 0.02 * scale
    assert np.abs(wrong - bloch).max() > 0.1 * scale
    assert np.abs(multislice((tau[1], -tau[0])) - bloch).max() > 0.1 * scale  # of each component

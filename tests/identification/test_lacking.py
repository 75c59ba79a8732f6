"""What a library lacks: electrons in beams beyond its longest one, extrapolated from those that it has."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from hybridfit.identification.lacking import absorption_of, beyond, lacking_of
from hybridfit.physics.scattering import wavelength

TO_MRAD = 1e3 * wavelength(200.0)
STEP = 0.12  # 1/Å, of a square lattice


def dataset(fall: float, stored: float = 1.2, g_max: float = 1.4, kept: float = 0.8) -> xr.Dataset:
    """Beams up to `stored` whose intensities fall by exp(−fall |g|), 1/Å; Σ_g I_g is `kept` at 25 nm."""
    n = np.stack(np.meshgrid(*2 * [np.arange(-40, 41)]), axis=-1).reshape(-1, 2)
    n = n[np.argsort(np.linalg.norm(n, axis=1), kind="stable")]
    n = n[np.linalg.norm(n, axis=1) * STEP <= stored]
    falling = np.exp(-fall * np.linalg.norm(n, axis=1) * STEP)
    beams = kept * falling / falling.sum()
    intensity = np.stack([beams / kept, beams])[..., None] * np.ones(3)
    intensity[..., 2] = 0.0  # of a direction outside the disc
    return xr.Dataset(
        {
            "intensity": (("thickness", "beam", "direction"), intensity),
            "basis": (("vector", "axis"), STEP * TO_MRAD * np.eye(2)),
            "beam_n": (("beam", "vector"), n),
        },
        {
            "thickness": [0.0, 25.0],
            "qx": ("direction", [0.0, 3.0, 30.0]),
            "qy": ("direction", [0.0, 3.0, 0.0]),
        },
        {"recipe": json.dumps({"g_max": g_max, "energy_kv": 200.0})},
    )


@pytest.mark.parametrize("fall", [3.0, 5.0])
def test_electrons_beyond_are_about_those_of_beams_that_were_left_out(fall):
    every = dataset(fall, stored=4.5)
    g = STEP * np.linalg.norm(every.beam_n.values, axis=1)
    beams = every.intensity.values[1, :, 0]
    expected = beams[g > 1.4].sum() / beams[g <= 1.2].sum()
    assert 0.5 < beyond(dataset(fall), 10.0) / expected < 1.1  # means of what falls lie above its middle


def test_a_library_of_more_beams_lacks_less():
    few, more = (lacking_of(dataset(4.0, g_max=g_max), 10.0) for g_max in (1.4, 2.3))
    assert 5 * more < few


def test_lacking_is_of_what_is_lost_and_what_is_beyond():
    data = dataset(4.0)
    assert absorption_of(data, 10.0) == pytest.approx(-np.log(0.8) / 25)
    assert lacking_of(data, 10.0) == pytest.approx(-np.log(0.8) / 25 * np.sqrt(beyond(data, 10.0)))
    assert lacking_of(dataset(4.0, kept=0.6), 10.0) == pytest.approx(
        np.log(0.6) / np.log(0.8) * lacking_of(data, 10.0)
    )


def test_beams_that_do_not_fall_lack_no_more_than_all():
    assert beyond(dataset(-2.0), 10.0) == 1.0


def test_one_ring_of_beams_is_compared_with_the_direct_beam():
    sharp, flat = (beyond(dataset(fall, stored=1.1 * STEP), 10.0) for fall in (40.0, 20.0))
    assert 0 < sharp < flat <= 1


def test_a_crystal_that_is_solved_with_more_beams_lacks_less(build_library):
    few, more = (build_library("SrTiO3", (0, 0, 1), g_max=g_max) for g_max in (1.0, 1.6))
    found = [lacking_of(each.dataset, each.semi_angle_max) for each in (few, more)]
    assert 0 < 5 * found[1] < found[0] < 0.01
    structural = few.dataset.assign(intensity=few.dataset.intensity.expand_dims(polarity=2))
    assert lacking_of(structural, few.semi_angle_max) == pytest.approx(found[0])

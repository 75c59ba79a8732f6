"""Run in an environment that has py4DSTEM, by `benchmarks.py4dstem_bloch`: Bloch waves of many directions.

Nothing of hybridfit is imported: one .npz file has the problem, another gets the answer.  py4DSTEM's zone
axis points against the beam.

Run with: python py4dstem_script.py ASKED.npz ANSWER.npz
"""

from __future__ import annotations

import sys
import time

import numpy as np
from emdfile import PointList
from py4DSTEM import __version__
from py4DSTEM.process.diffraction import Crystal
from py4DSTEM.process.diffraction.crystal_bloch import DynamicalMatrixCache
from py4DSTEM.process.utils import electron_wavelength_angstrom

FIELDS = [("qx", "f8"), ("qy", "f8"), ("intensity", "f8"), ("h", "i8"), ("k", "i8"), ("l", "i8")]


def solve(crystal: Crystal, asked) -> tuple[np.ndarray, float]:
    """Intensities (thickness, beam, direction) and seconds per direction, the matrix kept between them."""
    beams = np.zeros(len(asked["hkl"]), FIELDS)
    beams["h"], beams["k"], beams["l"] = asked["hkl"].T
    points, cache = PointList(beams), DynamicalMatrixCache()
    out = np.empty((len(asked["thickness_a"]), len(beams), len(asked["beam_directions"])))

    def one(direction: np.ndarray) -> np.ndarray:
        patterns = crystal.generate_dynamical_diffraction_pattern(
            points,
            thickness=asked["thickness_a"],
            zone_axis_cartesian=direction * (-1, -1, 1),
            foil_normal_lattice=asked["zone"],
            dynamical_matrix_cache=cache,
            always_return_list=True,
        )
        return np.stack([pattern.data["intensity"] for pattern in patterns])

    one(asked["beam_directions"][0])
    start = time.perf_counter()
    for i, direction in enumerate(asked["beam_directions"]):
        out[:, :, i] = one(direction)
    return out, (time.perf_counter() - start) / len(asked["beam_directions"])


def main() -> None:
    """Solve with the structure factors that were given, and with its own."""
    with np.load(sys.argv[1]) as stored:
        asked = dict(stored)
    crystal = Crystal(asked["positions"], asked["numbers"], asked["cell"])
    energy, sigma = float(asked["energy_ev"]), dict(zip(asked["sigma_z"], asked["sigma"], strict=True))
    crystal.calculate_dynamical_structure_factors(
        energy, "WK-P", k_max=float(asked["reach"]), thermal_sigma=sigma, g_vec_precision=3
    )
    own, _ = solve(crystal, asked)
    crystal.accel_voltage, crystal.wavelength = energy, electron_wavelength_angstrom(energy)
    crystal.Ug_dict = {tuple(hkl): u for hkl, u in zip(asked["u_hkl"], asked["u"], strict=True)}
    given, seconds = solve(crystal, asked)
    np.savez(sys.argv[2], given=given, own=own, seconds=seconds, version=np.array(__version__))


if __name__ == "__main__":
    main()

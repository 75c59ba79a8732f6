"""The oracle of higher zones: multislice through the atoms in three dimensions."""

from __future__ import annotations

import numpy as np

from hybridfit.physics.crystal import Crystal
from hybridfit.physics.scattering import wavelength
from hybridfit.physics.structure_factors import elastic_structure_factors, structure_factors

POINTS, SLICES = 64, 16  # of a cell


def multislice(crystal: Crystal, q: np.ndarray, cells: int, energy_kv: float) -> np.ndarray:
    """|ψ_hk|² (POINTS, POINTS) behind so many cells along [001] of an orthogonal cell, without absorption.

    The potential is that of the atoms in three dimensions, cut into thin slices.
    """
    index = np.rint(np.fft.fftfreq(POINTS, 1 / POINTS)).astype(int)
    h, k = np.meshgrid(index, index, indexing="ij")
    g = np.stack([h, k], axis=-1) / crystal.cell[:2]
    most = SLICES - 1
    zones = [
        elastic_structure_factors(crystal, np.stack([h, k, np.full_like(h, zone)], axis=-1), energy_kv)
        for zone in range(-most, most + 1)
    ]
    # what the mean wave adds to the potential is known of the projected atoms
    zones[most] = structure_factors(crystal, np.stack([h, k, np.zeros_like(h)], axis=-1), energy_kv)[0]
    spatial = np.fft.ifft2(np.array(zones), norm="forward")
    thick, wave = crystal.cell[2] / SLICES, 1 / wavelength(energy_kv)
    along = np.sqrt(wave**2 - ((g + q) ** 2).sum(axis=-1))  # without the paraxial approximation
    free = np.exp(2j * np.pi * thick * (along - np.sqrt(wave**2 - q @ q)))
    free *= np.hypot(*np.moveaxis(g, -1, 0)) < POINTS / 3 / max(crystal.cell[:2])
    zone = np.arange(-most, most + 1)
    psi = np.ones((POINTS, POINTS), complex)
    gratings = []
    for z in (np.arange(SLICES) + 0.5) / SLICES:
        potential = np.tensordot(np.sinc(zone / SLICES) * np.exp(2j * np.pi * zone * z), spatial, 1)
        gratings.append(np.exp(1j * np.pi / wave * thick * potential.real))
    for _ in range(cells):
        for grating in gratings:
            psi = np.fft.ifft2(free * np.fft.fft2(grating * psi))
    return np.abs(np.fft.fft2(psi, norm="forward")) ** 2

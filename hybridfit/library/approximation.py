"""How far what a library approximates moves a thickness: a part of every error bar.

Two things are compared with its own Bloch waves, at a few directions and at thicknesses over its range:

beams         those that the library folds into the potential are solved instead
termination   slabs that are cut elsewhere in the cell (`hybridfit.physics.termination`); a library is the
              mean crystal, and what is on the stage ends at some plane of atoms that nobody knows

    I_other − I ≈ δt ∂I/∂t + f I

gives the shifts δt by least squares over all stored beams and directions at one thickness, f a factor.
The standard deviation of all of them together goes into error bars as `library`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hybridfit.library.settings import APPROXIMATION as SETTINGS
from hybridfit.library.settings import ApproximationSettings

if TYPE_CHECKING:
    from hybridfit.physics.projection import Projection

Array = NDArray[np.float64]
APPROXIMATION = "approximation_nm"  # attribute of a library
STEP = 0.1  # nm, for ∂I/∂t


def approximation(
    projection: Projection,
    every: NDArray[np.int64],
    counts: tuple[int, int],
    energy_kv: float,
    radii: tuple[float, float],
    thickness_nm: Array,
    *,
    device: str = "auto",
    settings: ApproximationSettings = SETTINGS,
) -> float:
    """The standard deviation (nm) of a thickness for what a library of this crystal approximates.

    Parameters
    ----------
    projection : Projection
    every : (b, 2) int array
        Beams: those solved, then those folded.
    counts : (int, int)
        How many are solved, and how many stored.
    energy_kv : float
    radii : (float, float), Å⁻¹
        Directions are drawn up to the first; beams with 2K s_g below minus the square of the second are left
        out.
    thickness_nm : (m,) array
        Thicknesses of the library.
    device : str
    settings : ApproximationSettings
    """
    from hybridfit.physics import bloch
    from hybridfit.physics.termination import surface_phase

    low = max(settings.thinnest, float(thickness_nm[0]))
    high = max(low + STEP, min(settings.thickest, float(thickness_nm[-1])))
    times = np.linspace(low, high, settings.thicknesses)
    rng = np.random.default_rng(0)
    r, angle = (
        radii[0] * np.sqrt(rng.random(settings.directions)),
        rng.uniform(0, 2 * np.pi, settings.directions),
    )
    q = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)
    whole = bloch.DynamicalMatrix.of(projection, every, energy_kv, higher_zones=True)
    strong, stored = counts
    folded, outer = whole.folded(strong, radii[1]), radii[1]
    around = np.sort(np.concatenate([times, times + STEP]))
    both = bloch.beam_intensities(folded, q, around, keep=stored, device=device).reshape(len(around), -1)
    known, slope = both[::2], (both[1::2] - both[::2]) / STEP
    all_strong = replace(whole, radii=(outer, outer), kept=strong)
    solved = bloch.beam_intensities(all_strong, q, times, keep=stored, device=device).reshape(len(times), -1)
    beams = _shifts(solved, known, slope)
    # a surface is one of strong beams alone
    bare = bloch.DynamicalMatrix.of(projection, every[:strong], energy_kv, higher_zones=True)
    known = bloch.beam_intensities(bare, q, times, keep=stored, device=device).reshape(len(times), -1)
    cuts = []
    for height in settings.cuts:
        surface = surface_phase(projection, every[:strong], energy_kv, height)
        cut = bloch.beam_intensities(bare, q, times, keep=stored, device=device, surface=surface)
        cuts.append(_shifts(cut.reshape(len(times), -1), known, slope))
    return float(np.sqrt((beams**2).mean() + (np.array(cuts) ** 2).mean()))


def _shifts(other: NDArray[Any], known: NDArray[Any], slope: NDArray[Any]) -> Array:
    """δt (nm) at every thickness; arrays (thickness, values)."""
    rows = zip(np.asarray(other, float), known, slope, strict=True)
    return np.array([np.linalg.lstsq(np.stack([s, k], 1), o - k, rcond=None)[0][0] for o, k, s in rows])

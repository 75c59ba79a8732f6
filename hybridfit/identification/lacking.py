"""What a library lacks: beams beyond the longest that it solves.

A crystal of heavy atoms that vibrate little, as tungsten or platinum, scatters strongly to large angles.
Beams that a library leaves out take electrons from those that it has, and change them: in a coarse library
of such a crystal more than vibration or energy would.  How many electrons they would have is extrapolated
from the beams that are stored.  With I₁ the mean intensity of diffracted beams up to 0.8 of the longest
stored one, whose mean |g| is g₁, and I₂ and g₂ those of the beams beyond,

    I(g) = I₂ exp(−s (g − g₂)),        s = ln(I₁/I₂)/(g₂ − g₁),
    σ = (2π/Ω) ∫_{g_max}^∞ I(g) g dg / Σ_g I_g
      = (2π/Ω) I₂ exp(−s (g_max − g₂)) (g_max/s + 1/s²) / Σ_g I_g,

Ω being the area of the reciprocal cell.  The library lacks

    ℓ = μ √σ,

μ its absorption.  Beams to 1.7 in place of 1.4 1/Å change 42 crystals that set thresholds by 1e-5 to 0.3 of
the variance of their intensities, and ℓ says by how much within a factor of two, μ within one of three.  Of
these libraries NaCl lacks 0.00005/nm and W 0.007; shipped libraries, which have more beams, lack less than
0.0002.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hybridfit.library.integrity import passing
from hybridfit.physics.scattering import wavelength

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]

AT = 25.0  # nm
OUTER = 0.8  # of the longest beam that is stored
LEAST_FALL = 0.05  # of ln I from the inner beams to the outer ones


def absorption_of(dataset: xr.Dataset, semi_angle: float) -> float:
    """How much of its electrons a crystal scatters out of the beams by vibrating, 1/nm.

    −ln Σ_g I_g / t at about 25 nm, a mean over the directions of one semi-angle: 0.003 of Si, 0.03 of Pt.

    Parameters
    ----------
    dataset : Dataset of a library
    semi_angle : float, mrad
    """
    thickness, beams = _intensities(dataset, semi_angle)
    return float(-np.log(np.clip(beams.sum(), 1e-3, 1 - 1e-3)) / thickness)


def lacking_of(dataset: xr.Dataset, semi_angle: float) -> float:
    """ℓ, 1/nm; parameters as for `absorption_of`."""
    return absorption_of(dataset, semi_angle) * float(np.sqrt(beyond(dataset, semi_angle)))


def beyond(dataset: xr.Dataset, semi_angle: float) -> float:
    """σ, at most 1; parameters as for `absorption_of`."""
    recipe = json.loads(dataset.attrs["recipe"])
    longest = recipe["g_max"] * 1e3 * wavelength(recipe["energy_kv"])  # mrad
    _, beams = _intensities(dataset, semi_angle)
    basis = dataset.basis.values.reshape(-1, 2, 2)[0]
    g = np.linalg.norm(dataset.beam_n.values @ basis, axis=1)
    outer = g > OUTER * g.max()
    inner = ~outer & (g > 0) if (~outer & (g > 0)).any() else ~outer  # or the direct beam alone
    near, far = float(beams[inner].mean()), max(float(beams[outer].mean()), 1e-30)
    s = max(float(np.log(near / far)), LEAST_FALL) / (g[outer].mean() - g[inner].mean())
    at_longest = far * np.exp(-s * (longest - g[outer].mean()))
    density = 2 * np.pi / abs(np.linalg.det(basis))
    return float(min(density * at_longest * (longest / s + 1 / s**2) / beams.sum(), 1.0))


def _intensities(dataset: xr.Dataset, semi_angle: float) -> tuple[float, Array]:
    """A thickness of about 25 nm, and I_g there: means over the directions of one semi-angle."""
    thickness = dataset.thickness.values
    at = int(np.abs(thickness - AT).argmin())
    first = {n: 0 for n in dataset.intensity.dims if n not in ("thickness", "beam", "direction")}
    with passing():
        beams = dataset.intensity.isel(thickness=at, **first).values
    inside = np.hypot(dataset.qx.values, dataset.qy.values) <= semi_angle
    inside = inside.reshape(-1, inside.shape[-1])[0]  # of the first crystal, if directions depend on it
    return float(thickness[at]), np.asarray(beams[:, inside].mean(axis=1), float)

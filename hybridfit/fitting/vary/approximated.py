"""What a library approximates, as changes of the images of frames about the answer of a fit.

Of the same two things `hybridfit.library.approximation` makes a standard deviation of the thickness:

beams         more of them are solved, and more folded into the potential, than in the library
termination   slabs that are cut elsewhere in the cell (`hybridfit.physics.termination`)

Both are solved for the crystal at hand, where the frames are.  A change δ of the images moves the answer by

    d = (M + diag(1/σ²))⁻¹ Σ_f S_f W_f^½ δ_f

(`hybridfit.fitting.vary.errors`, M with what is taken for granted), and counts as d dᵀ; cuts in the mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.refine.refiner import Refiner
from hybridfit.fitting.vary.again import Again
from hybridfit.fitting.vary.joint import Joint
from hybridfit.fitting.vary.settings import VARY, VarySettings
from hybridfit.fitting.vary.state import OneFrame
from hybridfit.library.build import FOLDED
from hybridfit.library.library import Library
from hybridfit.library.settings import APPROXIMATION
from hybridfit.library.slopes import Slopes
from hybridfit.model import FINE_PIXEL, ForwardModel
from hybridfit.physics.bloch import DynamicalMatrix, beam_intensities
from hybridfit.physics.folding import reach_of
from hybridfit.physics.projection import common_beams
from hybridfit.physics.termination import surface_phase

Array = NDArray[np.float64]
BEAMS, CUT = "beams", "cut"


def changes_of(
    again: Again,
    values: Mapping[str, float],
    windows: Sequence[Library],
    settings: VarySettings = VARY,
    cuts: Sequence[float] = APPROXIMATION.cuts,
) -> list[Slopes]:
    """What beams and termination change in the intensities of each of the windows, by name.

    Parameters
    ----------
    again : Again
    values : mapping
        Structural numbers of the crystal.
    windows : sequence of Library
        About the answers of the frames.
    settings : VarySettings
    cuts : sequence of float
        Heights at which slabs are cut, of the period.
    """
    grid, energy_kv = again.coarse(windows), again.energy_kv
    projection = again.structure.projected(values)
    first = again.every[: again.strong]

    def solved(matrix: DynamicalMatrix, surface: NDArray[np.complex128] | None = None) -> NDArray[np.float32]:
        found = beam_intensities(
            matrix, grid.q, grid.thickness, keep=grid.beams, device=again.device, surface=surface
        )
        return np.asarray(found, np.float32)

    def folded(beams: NDArray[np.int64], strong: int, outer: float) -> DynamicalMatrix:
        whole = DynamicalMatrix.of(projection, beams, energy_kv, higher_zones=True)
        return whole.folded(strong, outer)

    g_max = settings.more_beams * again.structure.recipe.g_max
    outer = FOLDED * g_max
    more = common_beams([projection], reach_of(outer, float(np.linalg.norm(grid.q, axis=1).max())))
    finer = folded(more, len(common_beams([projection], g_max)), outer)
    found = {BEAMS: solved(finer) - solved(folded(again.every, again.strong, again.outer))}
    # a surface is one of strong beams alone
    bare = DynamicalMatrix.of(projection, first, energy_kv, higher_zones=True)
    plain = solved(bare)
    for height in cuts:
        found[f"{CUT} {height:g}"] = solved(bare, surface_phase(projection, first, energy_kv, height)) - plain
    return again.tables(windows, grid, found)


def images_of(
    changes: Sequence[Slopes],
    states: Sequence[OneFrame],
    windows: Sequence[Library],
    refiner: Callable[[Library], Refiner],
) -> list[dict[str, Array]]:
    """What they change in the image (n,) of each frame, by name."""
    out = []
    for change, state, window in zip(changes, states, windows, strict=True):
        model = refiner(window).model(state.frame, state.candidate, state.region, FINE_PIXEL)
        assert isinstance(model, ForwardModel)
        images = model.recorded_slopes(change, state.values)
        out.append({name: state.coefficients[0] * image for name, image in images.items()})
    return out


def moved_by(joint: Joint, changes: Sequence[Array]) -> Array:
    """How far changes of the images (n,) of all frames move each parameter of a joint fit, to first order."""
    count = len(joint.names)
    normal, slope = np.zeros((count, count)), np.zeros(count)
    for part, place, change in zip(joint.parts, joint.places, changes, strict=True):
        sensitivity = part.problem.sensitivity(part.params)
        normal[np.ix_(place, place)] += sensitivity @ sensitivity.T
        slope[place] += sensitivity @ (part.problem.root_weights * change)
    for name, prior in joint.priors.items():
        i = joint.names.index(name)
        normal[i, i] += 1 / prior.sigma**2
    scale = 1 / np.sqrt(np.maximum(np.diag(normal), 1e-300))
    return np.asarray(scale * np.linalg.solve(normal * np.outer(scale, scale), scale * slope))


def covariance_of(joint: Joint, changes: Sequence[Mapping[str, Array]]) -> Array:
    """The covariance of all parameters for such changes of the images of each frame, by name."""
    names = [*changes[0]]
    cuts = sum(name.startswith(CUT) for name in names)
    out = np.zeros((len(joint.names),) * 2)
    for name in names:
        moved = moved_by(joint, [each[name] for each in changes])
        out += np.outer(moved, moved) / (cuts if name.startswith(CUT) else 1)
    return out

"""Covariance of a joint fit, and what it contains.

With M the normal matrix without priors, P the fitted parameters and S what is taken for granted, in units
of its prior standard deviations,

    N = M_PP,    B = N⁻¹ M_PS,    V = (M_SS + 1 − M_SP B)⁻¹,
    cov = N⁻¹ (N + E) N⁻¹ + B V Bᵀ,

E what noise that neighbouring pixels share has beyond independent noise.  The weights contain the inflation
by misfit (`joint`).  Counting alone makes N⁻¹ C N⁻¹ of it, C = Σ_f S_f R_f S_fᵀ/λ_f, R_f the share of
counting.

Approximations are added.  That of the library is a part of the thickness, as of one frame
(`hybridfit.fitting.refine.budget`), and of the other parameters what it moves them by
(`hybridfit.fitting.vary.approximated`).  And pixels are composed at points: what finer ones would change,
images by δ_f, moves the parameters by d = N⁻¹ Σ_f S_f W_f^½ δ_f, and counts as d dᵀ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.assumptions import Assumed
from hybridfit.fitting.refine.algebra import inverse_of
from hybridfit.fitting.refine.budget import Marginal
from hybridfit.fitting.refine.noise import Noise
from hybridfit.fitting.refine.settings import REFINE
from hybridfit.fitting.refine.spread import covariance_of
from hybridfit.fitting.vary.joint import Joint

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Errors:
    """Of a joint fit.

    names : tuple of str
        Fitted parameters, p of them: shared ones, then those of the frames.
    covariance, counting, honest, library, sampling, beside : (p, p) arrays
        The last are of what the library approximates, in thicknesses; of the points that pixels are composed
        at; and of what the library approximates in the other parameters.
    bias : (p, q) array, spread : (q, q) array
    nuisances : tuple of str
    assumed : mapping of their names to what the frames say of them
    """

    names: tuple[str, ...]
    covariance: Array
    counting: Array
    honest: Array
    library: Array
    sampling: Array
    beside: Array
    bias: Array
    spread: Array
    nuisances: tuple[str, ...]
    assumed: Mapping[str, Assumed]

    def block(self, names: Sequence[str]) -> NDArray[np.intp]:
        """Where names are."""
        return np.array([self.names.index(name) for name in names], np.intp)

    def marginal(
        self, names: Sequence[str], own: Sequence[str], values: Mapping[str, float], lacking: tuple[str, ...]
    ) -> Marginal:
        """The part of some of the parameters, which are called `own` elsewhere: of one frame."""
        at = self.block(names)
        cut = np.ix_(at, at)
        covariance = self.covariance[cut]
        errors = np.sqrt(np.maximum(np.diag(covariance), 0))
        return Marginal(
            values,
            tuple(own),
            covariance,
            dict(zip(own, errors.tolist(), strict=True)),
            self.counting[cut],
            self.honest[cut],
            self.bias[at],
            self.spread,
            self.assumed,
            lacking,
            self.nuisances,
            None,
            (self.library + self.sampling + self.beside)[cut],
        )

    def with_approximation(self, joint: Joint, covariance: Array) -> Errors:
        """The same with a covariance of all parameters of the joint fit for what the library approximates.

        Thicknesses have a part for it already.
        """
        at = np.array([joint.names.index(name) for name in self.names], np.intp)
        others = np.array([not _is_thickness(name) for name in self.names], float)
        beside = covariance[np.ix_(at, at)] * np.outer(others, others)
        return replace(self, covariance=self.covariance + beside, beside=beside)


def _is_thickness(name: str) -> bool:
    """Whether a name of the joint fit is the thickness of a frame."""
    return name.split(" ")[0] == "thickness"


def errors_of(
    joint: Joint,
    noises: Sequence[Noise],
    images: Sequence[Array],
    scales: Sequence[float],
    coarseness: Sequence[Array],
    library: float,
    means: Mapping[str, float],
) -> Errors:
    """What a joint fit knows, where it has ended.

    Parameters
    ----------
    joint : Joint
    noises : sequence of Noise, of each frame
    images : sequence of (n,) arrays, the model on the pixels of each frame
    scales : sequence of float, λ of each frame
    coarseness : sequence of (n,) arrays
        What finer points would change in the image of each frame.
    library : float, nm
        Standard deviation of a thickness for what the library approximates.
    means : mapping of nuisance name to what relative shifts are relative to
        The value that was taken; 1 for what is a logarithm already.
    """
    count = len(joint.names)
    whole, counting, extra = (np.zeros((count, count)) for _ in range(3))
    along = np.zeros(count)
    for part, place, noise, image, scale, coarse in zip(
        joint.parts, joint.places, noises, images, scales, coarseness, strict=True
    ):
        cut = np.ix_(place, place)
        j, mask = part.problem.sensitivity(part.params), part.problem.model.mask
        whole[cut] += j @ j.T
        along[place] += j @ (part.problem.root_weights * coarse)
        shared = j * np.sqrt(noise.share(image) / scale)
        with_neighbours = covariance_of(shared, mask, noise.correlation)
        counting[cut] += with_neighbours
        if noise.correlation:
            extra[cut] += with_neighbours - covariance_of(shared, mask, ())
    nuisances = [name for name in joint.names if name in joint.priors]
    s = np.array([joint.names.index(name) for name in nuisances], np.intp)
    p = np.array([i for i, name in enumerate(joint.names) if name not in joint.priors], np.intp)
    names = tuple(joint.names[i] for i in p)
    unit = np.array([joint.priors[name].sigma for name in nuisances])
    normal = whole[np.ix_(p, p)]
    inverse = inverse_of(normal)
    across = whole[np.ix_(p, s)] * unit
    bias = inverse @ across
    within = unit[:, None] * whole[np.ix_(s, s)] * unit + np.eye(len(s)) - across.T @ bias
    spread = np.linalg.inv(within) if len(s) else np.zeros((0, 0))
    away = np.array(
        [(joint.params[n].value - joint.priors[n].mean) / joint.priors[n].sigma for n in nuisances]
    )
    # slopes of vibration and energy are known to some per cent only
    slack = np.array([0.0 if n == "semi_angle" else REFINE.slope_accuracy for n in nuisances]) * away
    spread = spread + np.diag(slack**2)
    honest = inverse @ (normal + extra[np.ix_(p, p)]) @ inverse
    thick = np.array([_is_thickness(name) for name in names], float)
    own = np.diag(library**2 * thick)
    moved = inverse @ along[p]
    sampling = np.outer(moved, moved)
    assumed = {}
    for i, name in enumerate(nuisances):
        prior = joint.priors[name].sigma / means.get(name, 1.0)
        assumed[name] = Assumed(prior, float(prior * away[i]), float(prior * np.sqrt(spread[i, i])))
    return Errors(
        names,
        honest + bias @ spread @ bias.T + own + sampling,
        inverse @ counting[np.ix_(p, p)] @ inverse,
        honest,
        own,
        sampling,
        np.zeros_like(own),
        bias,
        spread,
        tuple(nuisances),
        assumed,
    )

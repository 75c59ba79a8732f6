"""Fits of many frames of a known camera: fitting and weighting in turn, as `refine` does."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hybridfit.fitting.batch.camera import NAMES, BatchCamera
from hybridfit.fitting.batch.levenberg import Point, minimise
from hybridfit.fitting.batch.noise import NoiseEstimate, Noises
from hybridfit.fitting.batch.projected import counting, inverted, point, slopes_of, solve
from hybridfit.fitting.batch.regions import Regions
from hybridfit.fitting.batch.settings import BATCH
from hybridfit.fitting.refine.settings import REFINE, RefineSettings


@dataclass(eq=False)
class Fits:
    """Where b fits ended, tensors on the device; float64 unless they say otherwise.

    Attributes
    ----------
    values : (b, 6)
        Columns as of `camera.NAMES`.
    varied : list of int
        The p columns that were fitted.
    covariance : (b, p, p)
        (JᵀJ)⁻¹ under the last weights, those of noise and misfit.
    counting : (b, p, p)
        Covariance of counting noise alone.
    coefficients : (b, 1 + m)
        Intensity factor and background, that in columns of `camera.Images`.
    chi2, squares : (b,)
        Σ r²/v, and Σ r².
    noise : Noises
    evaluations : (b,) int64
        Of the model, in all rounds.
    settled : (b,) bool
        Whether the next step would be next to nothing.
    """

    values: Tensor
    varied: list[int]
    covariance: Tensor
    counting: Tensor
    coefficients: Tensor
    chi2: Tensor
    squares: Tensor
    noise: Noises
    evaluations: Tensor
    settled: Tensor

    def put(self, which: Tensor, new: Fits) -> None:
        """Replace some of them; their evaluations add up."""
        new.evaluations += self.evaluations[which]
        for name in ("values", "covariance", "counting", "coefficients", "chi2", "squares"):
            getattr(self, name)[which] = getattr(new, name)
        self.evaluations[which], self.settled[which] = new.evaluations, new.settled
        for old, each in zip(self.noise, new.noise, strict=True):
            old[which] = each


class Rounds:
    """Fits frames of one camera.

    Parameters
    ----------
    camera : BatchCamera
    varied : list of int
        Columns of `camera.NAMES` that are fitted; the others stay where they start.
    settings : RefineSettings
    """

    def __init__(self, camera: BatchCamera, varied: list[int], settings: RefineSettings = REFINE) -> None:
        self.camera, self.varied, self.settings = camera, varied, settings
        self.noise = NoiseEstimate(camera.known.mask, camera.device, settings)

    def fit(self, regions: Regions, start: Tensor, bounds: tuple[Tensor, Tensor], per_nm: Tensor) -> Fits:
        """Fit b frames.

        Parameters
        ----------
        regions : Regions
            Of the camera's reference.
        start : (b, 6) float64
        bounds : (b, 6) and (b, 6) float64
        per_nm : (b,) float64
            Background per nm of thickness.
        """
        return _Run(self, regions, start, bounds, per_nm).finish()


class _Run:
    """One batch on its way."""

    def __init__(
        self,
        rounds: Rounds,
        regions: Regions,
        start: Tensor,
        bounds: tuple[Tensor, Tensor],
        per_nm: Tensor,
    ) -> None:
        self.rounds, self.camera, self.regions = rounds, rounds.camera, regions
        self.varied, self.per_nm = rounds.varied, per_nm
        self.bounds = bounds[0][:, self.varied], bounds[1][:, self.varied]
        self.values = start.clone()
        data, valid = regions.data, regions.valid
        self.pixels = valid.sum(1).double()
        mean = data.double().sum(1) / self.pixels.clamp_min(1)
        away = torch.where(valid, data.double() - mean[:, None], 0.0)
        variance = ((away**2).sum(1) / self.pixels.clamp_min(1)).clamp_min(1e-30)
        self.weights = valid.float() / variance.float()[:, None]
        b, p, m = len(data), len(self.varied), 1 + self.camera.components
        none = torch.zeros_like(self.pixels)
        self.found = Fits(
            self.values,
            self.varied,
            none.new_zeros((b, p, p)),
            none.new_zeros((b, p, p)),
            none.new_zeros((b, m)),
            none.clone(),
            none.clone(),
            Noises(none.clone(), none.clone(), none.clone(), none.clone(), none.bool()),
            none.long(),
            none.bool(),
        )

    def finish(self) -> Fits:
        settings, found = self.rounds.settings, self.found
        at = torch.arange(len(self.values), device=self.values.device)
        here = self._measure(at, self.values[:, self.varied])
        for turn in range(settings.passes):
            within = settings.settled if turn else BATCH.nearly_settled
            known = at

            def measure(which: Tensor, new: Tensor, known: Tensor = known) -> Point:
                return self._measure(known[which], new)

            own_bounds = self.bounds[0][at], self.bounds[1][at]
            ended = minimise(measure, here, own_bounds, self.pixels[at], within, settings.evaluations)
            found.evaluations[at] += ended.evaluations
            self._put(at, ended.point.values)
            here, settled = self._weigh(at, ended.point.values)
            found.settled[at] = settled | ended.done
            at, here = at[~settled], here.at(~settled)
            if not len(at):
                break
        return found

    def _put(self, at: Tensor, new: Tensor) -> None:
        whole = self.values[at]
        whole[:, self.varied] = new
        self.values[at] = whole

    def _parts(self, at: Tensor) -> list[slice]:
        each = self.camera.together
        return [slice(first, first + each) for first in range(0, len(at), each)]

    def _measure(self, at: Tensor, new: Tensor) -> Point:
        """What a step needs of the frames `at`, at new values of what varies."""
        parts = []
        for part in self._parts(at):
            own = at[part]
            values = self.values[own]
            values[:, self.varied] = new[part]
            images = self.camera.evaluate(values, self.regions.corner[own])
            weights, per_nm = self.weights[own], self.per_nm[own]
            solved = solve(images, self.regions.data[own], weights, per_nm * values[:, 0])
            slopes = slopes_of(self.camera, images, solved, per_nm, self.varied)
            parts.append(point(new[part], solved, slopes, weights))
        return Point(*(torch.cat(each) for each in zip(*parts, strict=True)))

    def _weigh(self, at: Tensor, new: Tensor) -> tuple[Point, Tensor]:
        """Weights from the residuals, what a step needs then, and whether fits have settled."""
        parts, settled = [], []
        found, regions, settings = self.found, self.regions, self.rounds.settings
        for part in self._parts(at):
            own = at[part]
            values, per_nm, data = self.values[own], self.per_nm[own], regions.data[own]
            valid = regions.valid[own]
            images = self.camera.evaluate(values, regions.corner[own])
            fixed = per_nm * values[:, 0]
            solved = solve(images, data, self.weights[own], fixed)
            noises = self.rounds.noise.estimate(solved.residual, solved.image, valid)
            variance = noises.variance(solved.image)
            share = noises.counting(solved.image) / variance
            weights = valid.float() / variance
            self.weights[own] = weights
            found.coefficients[own] = solved.coefficients
            found.chi2[own] = (solved.residual.double() ** 2 * weights).sum(1)
            found.squares[own] = torch.where(valid, solved.residual.double() ** 2, 0.0).sum(1)
            for old, each in zip(found.noise, noises, strict=True):
                old[own] = each
            solved = solve(images, data, weights, fixed)
            slopes = slopes_of(self.camera, images, solved, per_nm, self.varied)
            here = point(new[part], solved, slopes, weights)
            inverse = inverted(here.normal)
            found.covariance[own] = inverse
            found.counting[own] = counting(solved, slopes, weights, share, inverse)
            step = (inverse @ here.slope[:, :, None])[:, :, 0]
            error = inverse.diagonal(dim1=1, dim2=2).clamp_min(0).sqrt()
            settled.append((step.abs() <= settings.settled * error).all(1))
            parts.append(here)
        return Point(*(torch.cat(each) for each in zip(*parts, strict=True))), torch.cat(settled)


def columns_of(names: tuple[str, ...] | list[str]) -> list[int]:
    """Columns of the values of batches, by name."""
    return [NAMES.index(name) for name in names]

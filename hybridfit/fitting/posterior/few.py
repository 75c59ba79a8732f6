"""A frame of few electrons: every minimum of the library, weighed by counting statistics.

likelihood of all library points in all orientations → maxima → each climbed on the pixels of the frame
→ what is around each → odds → against a smooth pattern: is there a crystal at all?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import lmfit
import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.modes import covariance_of, log_volume, odds_of
from hybridfit.fitting.posterior.marginal import Hill, at_maximum, hill
from hybridfit.fitting.posterior.maximum import Point, Posterior
from hybridfit.fitting.posterior.nothing import smooth_likelihood
from hybridfit.fitting.posterior.settings import POSTERIOR, PosteriorSettings
from hybridfit.fitting.refine.noise import Noise
from hybridfit.fitting.refine.refiner import Refiner
from hybridfit.fitting.refine.region import Region, too_few_pixels
from hybridfit.fitting.search.full import Searcher
from hybridfit.fitting.search.likelihood import Electrons, maxima, settle
from hybridfit.fitting.search.settings import LIKELIHOOD
from hybridfit.fitting.search.templates import ANGLES
from hybridfit.frame import Frame
from hybridfit.pattern.binning import bin_frame, from_binned

Array = NDArray[np.float64]

FOLLOWING = ("centre_x", "centre_y", "scale", "blur", "semi_angle")  # priors hold the others
NOTHING = 1e-3  # of the pattern's intensity


@dataclass(frozen=True, eq=False)
class Weighed:
    """All maxima of the posterior of a frame.

    Attributes
    ----------
    region : Region
    posterior : Posterior
    points : tuple of Point
        The likeliest first.
    odds : (m,) array
        Of the points.
    covariances : tuple of (p, p) arrays
        Of the varied parameters.
    crystal : float
        ln of the odds that there is a crystal, against a smooth pattern.
    start : Candidate
        Where the likeliest was found.
    """

    region: Region
    posterior: Posterior
    points: tuple[Point, ...]
    odds: Array
    covariances: tuple[Array, ...]
    crystal: float
    start: Candidate


class Weigher:
    """Weighs frames of few electrons against one library.

    Parameters
    ----------
    refiner : Refiner
    searcher : Searcher
        Of the same library, under the same settings.
    settings : PosteriorSettings
    """

    def __init__(self, refiner: Refiner, searcher: Searcher, settings: PosteriorSettings = POSTERIOR) -> None:
        self.refiner, self.searcher, self.settings = refiner, searcher, settings

    def weigh(
        self,
        frame: Frame,
        noise: Noise,
        cameras: Sequence[tuple[float, float, float]],
        others: Sequence[Candidate] = (),
    ) -> Weighed:
        """The maxima of the posterior.

        Parameters
        ----------
        frame : Frame
        noise : Noise
            Of the pixels of the frame: a + b μ.
        cameras : sequence of (centre_x, centre_y, scale), px and px/mrad
            Where the direct disc may be.
        others : sequence of Candidate
            Further places worth a look.

        Raises
        ------
        InputError
            Too few pixels are usable.
        """
        found = self.candidates(frame, noise, cameras)
        starts = [*found, *others]
        region = Region.around(frame, found[0], self.refiner.semi_angle, self.settings.radius)
        posterior = self._posterior(frame, found[0], region, noise)
        points = self._climb(posterior, starts)
        laplace = odds_of([-point.cost + log_volume(point.information) for point in points])
        hills = [
            hill(posterior, point, self.settings)
            if odds >= self.settings.looked_at
            else at_maximum(posterior, point)
            for point, odds in zip(points, laplace, strict=True)
        ]
        order = np.argsort([-each.log_weight for each in hills])
        kept: list[int] = []
        for i in order:
            if not any(self._same(posterior, points[k], points[i], hills[k].covariance) for k in kept):
                kept.append(int(i))
        points, hills = [points[i] for i in kept], [hills[i] for i in kept]
        crystal = self._crystal(posterior, region, points)
        means = [self._at_mean(posterior, p, h) for p, h in zip(points, hills, strict=True)]
        odds = odds_of([each.log_weight for each in hills])
        covariances = tuple(each.covariance for each in hills)
        return Weighed(region, posterior, tuple(means), odds, covariances, crystal, found[0])

    @staticmethod
    def _at_mean(posterior: Posterior, point: Point, around: Hill) -> Point:
        """The posterior at the mean of what is around a maximum."""
        mean = np.clip(around.mean, posterior.low, posterior.high)
        values = {**point.values, **dict(zip(posterior.names, mean.tolist(), strict=True))}
        return posterior.at(values, posterior.opened(point))

    def candidates(
        self, frame: Frame, noise: Noise, cameras: Sequence[tuple[float, float, float]]
    ) -> list[Candidate]:
        """Maxima among the library points, the likeliest first."""
        s, settings = self.searcher, self.settings
        electrons = electrons_near(frame, noise.per_intensity, cameras, s)
        allowed = np.ones(ANGLES, bool)
        if s.hints.rotation is not None:
            away = (np.arange(ANGLES) * 360 / ANGLES - s.hints.rotation + 180) % 360 - 180
            allowed = np.abs(away) <= s.settings.hinted_rotation + 360 / ANGLES
        patterns = s.ring_patterns()
        held = s.hints.centre is not None, s.hints.scale is not None
        within = settings.within[0] + settings.within[1] * float(electrons.counts.sum())
        order = s.library.rotation_order
        found: list[Candidate] = []
        settled = settle(electrons, patterns, cameras, allowed, held)
        least = float(settled[0].log_likelihood[:, allowed].max()) - within
        for best in settled:
            found += maxima(best, patterns, order, allowed, least)
        # χ² of candidates is relative to the best of their camera
        tops = {best.camera: float(best.log_likelihood[:, allowed].max()) for best in settled}
        found.sort(key=lambda c: c.chi2 / 2 - tops[c.centre_x, c.centre_y, c.scale])
        return found[: settings.most_starts]

    def _posterior(self, frame: Frame, at: Candidate, region: Region, noise: Noise) -> Posterior:
        """The posterior on a region: all of the library, within the user's bounds."""
        refiner, settings = self.refiner, self.settings
        fewest, usable = refiner.settings.refining.fewest_pixels, int(region.mask.sum())
        if usable < fewest:
            raise too_few_pixels(frame, at.scale, usable, fewest)
        model = refiner.model(frame, at, region, settings.fine_pixel)
        params = self.parameters(at)
        names = [name for name, p in params.items() if p.vary]
        bounds = {name: (float(params[name].min), float(params[name].max)) for name in names}
        room = refiner.tilt_limit
        whole = {
            "thickness": refiner.library.thickness_range,
            "tilt_x": (-room, room),
            "tilt_y": (-room, room),
        }
        for name, (low, high) in whole.items():
            lowest, highest = refiner.settings.bounds.get(name, (-np.inf, np.inf))
            bounds[name] = max(low, lowest), min(high, highest)
        priors = {
            "blur": settings.blur,
            "ellipticity_a": (0.0, settings.ellipticity),
            "ellipticity_b": (0.0, settings.ellipticity),
        }
        own = noise.on_pixels(region.factor**2)
        return Posterior(model, region.image[region.mask], own, names, bounds, priors)

    def parameters(self, at: Candidate) -> lmfit.Parameters:
        """lmfit's parameters at a candidate: which vary, and where the others are held."""
        return self.refiner.parameters(self.refiner._start(at, {}))

    def _climb(self, posterior: Posterior, starts: Sequence[Candidate]) -> list[Point]:
        """The maxima that starts lead to, each once, those that fell behind left out."""
        settings = self.settings
        points = []
        for start in starts:
            params = self.parameters(start)
            values = {name: float(p.value) for name, p in params.items()}
            for name, low, high in zip(posterior.names, posterior.low, posterior.high, strict=True):
                values[name] = float(np.clip(values[name], low, high))
            points.append(posterior.at(values))
        for steps in (*settings.first_steps, settings.steps):
            points = [posterior.climb(point, steps, settings.gain_left) for point in points]
            points = self._each_once(posterior, points)
            hope = settings.hope if steps < settings.steps else 0.0
            best = min(point.cost for point in points)
            points = [p for p in points if p.cost - hope * p.gain <= best + settings.given_up]
        return points

    def _each_once(self, posterior: Posterior, points: Sequence[Point]) -> list[Point]:
        """Points that are not nearer to a likelier one than the standard errors."""
        kept: list[Point] = []
        for point in sorted(points, key=lambda p: p.cost):
            if not any(self._same(posterior, other, point) for other in kept):
                kept.append(point)
        return kept

    def _same(self, posterior: Posterior, a: Point, b: Point, covariance: Array | None = None) -> bool:
        """Whether b is nearer to a than its standard errors, those of its curvature by default."""
        order = self.refiner.library.rotation_order
        index = [posterior.names.index(n) for n in ("thickness", "tilt_x", "tilt_y") if n in posterior.names]
        if not index:
            return True
        sector = 360 / order
        turns = np.round((a.values["rotation"] - b.values["rotation"]) / sector)
        angle = -np.deg2rad(turns * sector)
        x, y = b.values["tilt_x"], b.values["tilt_y"]
        turned = {
            "thickness": b.values["thickness"],
            "tilt_x": np.cos(angle) * x - np.sin(angle) * y,
            "tilt_y": np.sin(angle) * x + np.cos(angle) * y,
        }
        away = np.array([turned[posterior.names[i]] - a.values[posterior.names[i]] for i in index])
        covariance = covariance_of(a.information) if covariance is None else covariance
        distance = away @ np.linalg.pinv(covariance[np.ix_(index, index)], hermitian=True) @ away
        return bool(distance <= self.settings.same**2)

    def _crystal(self, posterior: Posterior, region: Region, points: Sequence[Point]) -> float:
        """ln of the odds of a crystal against a smooth pattern.

        What all minima together have of the posterior, over what a smooth pattern has: thickness, tilt and
        rotation may be anything beforehand.  Of all else, also of a smooth pattern, the likeliest is taken,
        so every number that follows the noise costs one nat [Akaike].
        """
        best, names = points[0], posterior.names
        # the volume of thickness, tilt and rotation in each minimum, over what they may be beforehand
        own = [names.index(n) for n in ("thickness", "tilt_x", "tilt_y", "rotation") if n in names]
        rest = [i for i in range(len(best.gradient)) if i not in own]
        low, high = self.refiner.library.thickness_range
        before = {
            "thickness": np.log(high - low),
            "tilt_x": 0.5 * np.log(np.pi * self.refiner.tilt_limit**2),
            "tilt_y": 0.5 * np.log(np.pi * self.refiner.tilt_limit**2),
            "rotation": np.log(360 / self.refiner.library.rotation_order),
        }
        log_prior = sum(before[names[i]] for i in own)
        evidence = []
        for point in points:
            others = log_volume(point.information[np.ix_(rest, rest)])
            volume = min(log_volume(point.information) - others - log_prior, 0.0)
            evidence.append(point.likelihood + volume)
        top = max(evidence)
        total = top + np.log(np.exp(np.array(evidence) - top).sum())
        rows, cols = np.nonzero(region.mask)
        x0, y0 = region.origin
        values = best.values
        smooth, numbers = smooth_likelihood(
            posterior.z,
            np.asarray(x0 + region.factor * cols, dtype=float),
            np.asarray(y0 + region.factor * rows, dtype=float),
            (values["centre_x"], values["centre_y"], values["scale"]),
            self.refiner.semi_angle,
            posterior.floor,
            self.settings,
        )
        followed = sum(names[i] in FOLLOWING for i in rest if i < len(names))
        followed += int((best.coefficients > NOTHING * best.coefficients.max()).sum())
        return float(total - followed - (smooth - numbers))


def electrons_near(
    frame: Frame, gain: float, cameras: Sequence[tuple[float, float, float]], searcher: Searcher
) -> Electrons:
    """The electrons about trial cameras: pixels within the reach of the widest, in blocks of some pixels."""
    scale = float(np.median([camera[2] for camera in cameras]))
    reach = searcher.settings.reach(searcher.semi_angle) * scale
    factor = max(1, int(reach / searcher.settings.searched_radius_px))
    image, valid = bin_frame(frame.image, frame.valid, factor)
    row, col = (from_binned(each, factor) for each in np.nonzero(valid))
    near = np.zeros(len(row), bool)
    beyond = LIKELIHOOD.pixels_beyond * searcher.settings.reach(searcher.semi_angle)
    for x, y, own in cameras:
        near |= np.hypot(col - x, row - y) <= beyond * own
    counts = np.maximum(image[valid], 0) * (factor**2 / gain)
    return Electrons(col[near], row[near], counts[near], float(factor))

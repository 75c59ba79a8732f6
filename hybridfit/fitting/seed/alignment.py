"""Alignment: centre and size of the direct disc of any crystal, by the network that is made for it.

    whole frame → discs and their odds → crop at each → … → what stays, seen from all sides

The network sees a crop in units of a guessed radius, and names a few discs with their odds.  The first crop
is the frame itself, so that nothing has to be guessed.  The likely discs are followed, pass by pass, until
nothing moves; the one that the network is surest of in the end is read in all eight orientations.  The
spread of what is said of these, and the σ that the network gives, measure the doubt.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.seed.orientations import orientations, turned_back
from hybridfit.fitting.seed.settings import SEED, SeedSettings
from hybridfit.frame import Frame
from hybridfit.network.alignment.network import SHIPPED, AlignmentNetwork, Discs
from hybridfit.network.alignment.shape import HALF_WIDTH, SHOWN
from hybridfit.network.crop import crops

Array = NDArray[np.float64]
HUGE = 1e15  # counts in a pixel


class Alignment(NamedTuple):
    """Where the direct disc is: centre (px), scale (px/mrad), and the doubt in it (of the radius).

    sure says whether the doubt is small, in the settings' eyes.
    """

    centre_x: float
    centre_y: float
    scale: float
    doubt: float
    sure: bool

    @property
    def camera(self) -> tuple[float, float, float]:
        """Centre and scale."""
        return self.centre_x, self.centre_y, self.scale


class Aligner:
    """Finds the direct disc of patterns of any crystal.

    Parameters
    ----------
    network : AlignmentNetwork
    semi_angle : float, mrad
    hints : Hints
        A known centre or scale is kept.
    settings : SeedSettings
    threads : int, optional
        That share crops; by default all cores.

    Raises
    ------
    InputError
        The semi-angle is not a positive number.
    """

    def __init__(
        self,
        network: AlignmentNetwork,
        semi_angle: float,
        *,
        hints: Hints | None = None,
        settings: SeedSettings = SEED,
        threads: int | None = None,
    ) -> None:
        if not 0 < semi_angle < np.inf:
            raise InputError(f"semi-angle {semi_angle!r} mrad cannot be; give it in mrad, such as 13.6")
        self.network, self.semi_angle, self.threads = network, semi_angle, threads
        self.settings, self.hints = settings.alignment, hints or Hints()

    @classmethod
    def shipped(
        cls, semi_angle: float, *, hints: Hints | None = None, settings: SeedSettings = SEED
    ) -> Aligner | None:
        """By the shipped network; None where its weights are missing.

        Raises
        ------
        InputError
            The weights are damaged.
        """
        if not SHIPPED.is_file():
            return None
        return cls(_shipped(), semi_angle, hints=hints, settings=settings)

    def align(self, frame: Frame) -> Alignment:
        """The disc that the network is surest of.

        Raises
        ------
        InputError
            All of the frame is masked.
        """
        return self.discs(frame)[0]

    def discs(self, frame: Frame) -> list[Alignment]:
        """The discs of one frame that are worth a trial, the surest first.

        Raises
        ------
        InputError
            All of the frame is masked.
        """
        known = self.hints
        if known.centre is not None and known.scale is not None:
            return [Alignment(*known.centre, known.scale, doubt=0.0, sure=True)]
        if not frame.valid.any():
            raise InputError("no direct disc found: every pixel of the frame is masked; leave some unmasked")
        found = self._followed(frame, self._first(frame))
        best = self._all_round(frame, found[0][0])
        others = [self._alignment(disc, doubt) for disc, doubt in found[1:]]
        return [best] if best.sure else [best, *others]

    def _first(self, frame: Frame) -> Array:
        """Discs (n, 3), centre and radius in px, that the whole frame shows."""
        rows, cols = frame.image.shape
        middle = self.hints.centre or ((cols - 1) / 2, (rows - 1) / 2)
        reach = max(abs(at - edge) for at, n in zip(middle, (cols, rows), strict=True) for edge in (0, n - 1))
        whole = np.array([[*middle, (reach + 0.5) / HALF_WIDTH]])
        said = self._said(frame, whole)
        likely = said.odds[0] >= self.settings.least_odds
        return self._moved(
            np.repeat(whole, likely.sum(), axis=0), said.centre[0, likely], said.size[0, likely]
        )

    def _followed(self, frame: Frame, discs: Array) -> list[tuple[Array, float]]:
        """Where discs (n, 3) lead, and the doubt in each, of its radius; the surest first."""
        moving, doubts = np.ones(len(discs), bool), np.full(len(discs), np.inf)
        for _ in range(self.settings.passes):
            said = self._said(frame, discs[moving])
            centre, size = said.centre[:, 0], said.size[:, 0]
            doubts[moving] = self._doubt(said)
            discs[moving] = self._moved(discs[moving], centre, size)
            still = np.maximum(np.hypot(*centre.T), np.abs(size)) < self.settings.still
            moving[np.flatnonzero(moving)[still]] = False
            if not moving.any():
                break
        found: list[tuple[Array, float]] = []
        for i in np.argsort(doubts):
            if not any(self._alike(discs[i], other) for other, _ in found):
                found.append((discs[i], float(doubts[i])))
        return found

    def _all_round(self, frame: Frame, disc: Array) -> Alignment:
        """A disc (3,) as it is seen in eight orientations."""
        seen = orientations(self._crops(frame, disc[None]), mirrored=True)
        said = self.network.predict(seen, self.threads)
        centre = np.concatenate([turned_back(said.centre[i : i + 1, 0], i % 4) for i in range(8)])
        centre[4:, 1] *= -1
        size = said.size[:, 0]
        scatter = centre.var(axis=0).sum() + size.var()
        # half of the orientations may be right where the others take another disc
        middle, log_size = np.median(centre, axis=0), float(np.median(size))
        moved = self._moved(disc[None], middle[None], np.array([log_size]))[0]
        return self._alignment(moved, float(np.hypot(np.sqrt(scatter), self._doubt(said).mean())))

    def _alignment(self, disc: Array, doubt: float) -> Alignment:
        x, y, radius = (float(v) for v in disc)
        scale = self.hints.scale or radius / self.semi_angle
        return Alignment(x, y, scale, doubt, sure=doubt <= self.settings.doubtful)

    @staticmethod
    def _doubt(said: Discs) -> Array:
        """σ of centre and size together, of the radius (n,): greater where other discs are likely as well."""
        spread = np.sqrt(2 * said.sigma[:, 0] ** 2 + said.spread[:, 0] ** 2)
        return np.asarray(spread / np.maximum(said.odds[:, 0], 1e-3))

    def _alike(self, a: Array, b: Array) -> bool:
        """Whether two discs are one."""
        apart = self.settings.apart * b[2]
        return bool(np.hypot(*(a[:2] - b[:2])) < apart and abs(a[2] - b[2]) < apart)

    def _said(self, frame: Frame, discs: Array) -> Discs:
        return self.network.predict(self._crops(frame, discs), self.threads)

    @staticmethod
    def _crops(frame: Frame, discs: Array) -> NDArray[np.float32]:
        largest = float(np.abs(frame.image[frame.valid]).max(initial=0.0))
        if largest > HUGE or 0 < largest < 1 / HUGE:  # single precision would not hold its square
            return crops(frame.image / largest, frame.valid, discs[:, :2], discs[:, 2] / SHOWN)
        return crops(frame.image, frame.valid, discs[:, :2], discs[:, 2] / SHOWN)

    def _moved(self, discs: Array, centre: Array, size: Array) -> Array:
        """Discs (n, 3) moved by what the network says; what hints know stays as it is."""
        out = discs.copy()
        if self.hints.centre is None:
            out[:, :2] += centre * discs[:, 2:]
        out[:, 2] = self.hints.scale * self.semi_angle if self.hints.scale else out[:, 2] * np.exp(size)
        return out


@cache
def _shipped() -> AlignmentNetwork:
    """The shipped network, read once."""
    return AlignmentNetwork.shipped()

"""Alignment: centre and size of the direct disc of any crystal, by the two networks that are made for it.

    whole frame → discs and their odds → crop at each → … → what stays → its rim
        in doubt?  → crops of other sizes and places → the same, for each
        a poor fit? → crops all over the frame → where several of them lead

The alignment network sees a crop in units of a guessed radius, and names a few discs with their odds.  The
first crop is the frame itself, so that nothing has to be guessed.  The likely discs are followed, pass by
pass, until nothing moves.  Then the rim network measures them, and says how likely it is that one is there:
the width of its answer over that probability is the doubt.  Far from the zone axis another disc than the
direct one may look like it from one crop, and not from others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.seed.settings import SEED, SeedSettings
from hybridfit.fitting.seed.starts import many, several, whole
from hybridfit.frame import Frame
from hybridfit.network.alignment.network import AlignmentNetwork, Discs
from hybridfit.network.alignment.shape import SHOWN
from hybridfit.network.crop import GRID, CropGrid, crops
from hybridfit.network.rim.network import RimNetwork
from hybridfit.network.rim.posterior import Circles
from hybridfit.network.rim.shape import FINE, WINDOW

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


class Followed(NamedTuple):
    """Where crops lead: a disc (column, row, radius in px), the doubt in it, and how many crops led there."""

    disc: Array
    doubt: float
    starts: int


class Aligner:
    """Finds the direct disc of patterns of any crystal.

    Parameters
    ----------
    network : AlignmentNetwork
    rim : RimNetwork
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
        rim: RimNetwork,
        semi_angle: float,
        *,
        hints: Hints | None = None,
        settings: SeedSettings = SEED,
        threads: int | None = None,
    ) -> None:
        if not 0 < semi_angle < np.inf:
            raise InputError(f"semi-angle {semi_angle!r} mrad cannot be; give it in mrad, such as 13.6")
        self.network, self.rim, self.semi_angle, self.threads = network, rim, semi_angle, threads
        self.settings, self.hints = settings.alignment, hints or Hints()

    @classmethod
    def shipped(
        cls, semi_angle: float, *, hints: Hints | None = None, settings: SeedSettings = SEED
    ) -> Aligner | None:
        """By the shipped networks; None where weights are missing.

        Raises
        ------
        InputError
            The weights are damaged.
        """
        if not all(each.shipped_as.is_file() for each in (AlignmentNetwork, RimNetwork)):
            return None
        return cls(*_shipped(), semi_angle, hints=hints, settings=settings)

    def align(self, frame: Frame) -> Alignment:
        """The disc that the networks are surest of.

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
        first = self._followed(frame, self._first(frame, whole(frame, known.centre)))
        seen = self._measured(frame, first[:1])
        if not seen[0].sure:
            more = self._first(frame, several(frame, known.centre, self.settings))
            others = self._merged([*first[1:], *self._followed(frame, more)])
            others = [each for each in others if not self._alike(each.disc, first[0].disc)]
            seen += self._measured(frame, others[: self.settings.measured])
            seen.sort(key=lambda each: each.doubt)
        return self._unlike(seen)[: 1 if seen[0].sure else self.settings.most]

    def further(self, frame: Frame, tried: Sequence[tuple[float, float, float]] = ()) -> list[Alignment]:
        """Discs that crops all over a frame lead to, for where those of `discs` fit badly; the surest first.

        Parameters
        ----------
        frame : Frame
        tried : sequence of (centre_x, centre_y, scale), px and px/mrad
            Discs that are about one of these are left out.
        """
        known, s = self.hints, self.settings
        if not frame.valid.any() or (known.centre is not None and known.scale is not None):
            return []
        crops_shown = many(frame, known.centre, s)
        found = self._followed(frame, self._first(frame, crops_shown, alone=True))
        before = [Alignment(*camera, doubt=0.0, sure=False) for camera in tried]
        likely = [each for each in found if each.starts >= s.seen_from][: s.more_measured]
        after = sorted(self._measured(frame, likely), key=lambda each: each.doubt)
        return self._unlike([*before, *after])[len(before) :][: s.more_most]

    def _first(self, frame: Frame, shown: Array, *, alone: bool = False) -> Array:
        """Discs (n, 3), centre and radius in px, that crops (m, 3) show: the likely ones, or the first."""
        said = self._said(frame, shown)
        likely = said.odds >= self.settings.least_odds
        likely[:, 1:] &= not alone
        crop, disc = np.nonzero(likely)
        return self._moved(shown[crop], said.centre[crop, disc], said.size[crop, disc])

    def _followed(self, frame: Frame, discs: Array) -> list[Followed]:
        """Where discs (n, 3) lead, the surest first; those that have become one are followed as one."""
        ended: list[Followed] = []
        moving = [Followed(disc, np.inf, 1) for disc in discs]
        for _ in range(self.settings.passes):
            at = np.array([each.disc for each in moving])
            said = self._said(frame, at)
            centre, size = said.centre[:, 0], said.size[:, 0]
            still = np.maximum(np.hypot(*centre.T), np.abs(size)) < self.settings.still
            to, doubts = self._moved(at, centre, size), self._doubt(said)
            now = [Followed(to[i], float(doubts[i]), each.starts) for i, each in enumerate(moving)]
            ended += [now[i] for i in np.flatnonzero(still)]
            moving = self._merged([now[i] for i in np.flatnonzero(~still)])
            if not moving:
                break
        return self._merged([*ended, *moving])

    def _merged(self, found: Sequence[Followed]) -> list[Followed]:
        """Those that differ, the surest first, each with all the starts that led to it."""
        out: list[Followed] = []
        for each in sorted(found, key=lambda one: one.doubt):
            for i, other in enumerate(out):
                if self._alike(each.disc, other.disc):
                    out[i] = other._replace(starts=other.starts + each.starts)
                    break
            else:
                out.append(each)
        return out

    def _unlike(self, found: Sequence[Alignment]) -> list[Alignment]:
        """Those that differ from all before them."""
        out: list[Alignment] = []
        for each in found:
            disc = self._disc(each)
            if not any(self._alike(disc, self._disc(other)) for other in out):
                out.append(each)
        return out

    def _measured(self, frame: Frame, found: Sequence[Followed]) -> list[Alignment]:
        """Discs as the rim network has them; where it sees none, as they are."""
        if not found:
            return []
        discs, s = np.array([each.disc for each in found]), self.settings
        centred, sized = self.hints.centre is not None, self.hints.scale is not None
        x, y, size = WINDOW
        reach = (0.0 if centred else x, 0.0 if centred else y, 0.0 if sized else size)
        for _ in range(s.rim_passes):
            cut = discs.copy()
            if not centred:
                cut[:, :2] += discs[:, 2:] * s.beside
            said = self.rim.predict(self._crops(frame, cut, FINE), self.threads, reach)
            there = (said.there > s.there)[:, None]
            discs = np.where(there, self._moved(cut, said.centre, said.size), discs)
            doubts = self._doubt_in(said)
            if doubts.max() <= s.rim_sure:
                break
        return [self._alignment(disc, float(doubt)) for disc, doubt in zip(discs, doubts, strict=True)]

    def _alignment(self, disc: Array, doubt: float) -> Alignment:
        x, y, radius = (float(v) for v in disc)
        scale = self.hints.scale or radius / self.semi_angle
        return Alignment(x, y, scale, doubt, sure=doubt <= self.settings.doubtful)

    def _disc(self, found: Alignment) -> Array:
        """Centre and radius (px)."""
        return np.array([found.centre_x, found.centre_y, found.scale * self.semi_angle])

    @staticmethod
    def _doubt(said: Discs) -> Array:
        """σ of centre and size together, of the radius (n,): greater where other discs are likely as well."""
        spread = np.sqrt(2 * said.sigma[:, 0] ** 2 + said.spread[:, 0] ** 2)
        return np.asarray(spread / np.maximum(said.odds[:, 0], 1e-3))

    @staticmethod
    def _doubt_in(said: Circles) -> Array:
        """Standard deviation of centre and size together, of the radius (n,), over the probability."""
        spread = np.sqrt((said.sigma**2).sum(axis=1) + said.spread**2)
        return np.asarray(spread / np.maximum(said.there * said.first, 1e-3))

    def _alike(self, a: Array, b: Array) -> bool:
        """Whether two discs are one."""
        apart = self.settings.apart * b[2]
        return bool(np.hypot(*(a[:2] - b[:2])) < apart and abs(a[2] - b[2]) < apart)

    def _said(self, frame: Frame, discs: Array) -> Discs:
        return self.network.predict(self._crops(frame, discs), self.threads)

    @staticmethod
    def _crops(frame: Frame, discs: Array, grid: CropGrid = GRID) -> NDArray[np.float32]:
        largest = float(np.abs(frame.image[frame.valid]).max(initial=0.0))
        if largest > HUGE or 0 < largest < 1 / HUGE:  # single precision would not hold its square
            return crops(frame.image / largest, frame.valid, discs[:, :2], discs[:, 2] / SHOWN, grid)
        return crops(frame.image, frame.valid, discs[:, :2], discs[:, 2] / SHOWN, grid)

    def _moved(self, discs: Array, centre: Array, size: Array) -> Array:
        """Discs (n, 3) moved by what the network says; what hints know stays as it is."""
        out = discs.copy()
        if self.hints.centre is None:
            out[:, :2] += centre * discs[:, 2:]
        out[:, 2] = self.hints.scale * self.semi_angle if self.hints.scale else out[:, 2] * np.exp(size)
        return out


@cache
def _shipped() -> tuple[AlignmentNetwork, RimNetwork]:
    """The shipped networks, read once."""
    return AlignmentNetwork.shipped(), RimNetwork.shipped()

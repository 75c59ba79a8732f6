"""The identifier: which of some libraries a frame shows."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.clock import Clock
from hybridfit.fitting.refine.noise import electrons_in
from hybridfit.fitting.result import Thumbnail
from hybridfit.fitting.search.full import Searcher
from hybridfit.fitting.search.match import Matcher
from hybridfit.fitting.settings import FitSettings
from hybridfit.frame import Frame
from hybridfit.identification.answer import Identification, Match
from hybridfit.identification.compare import Compared, compare
from hybridfit.identification.hypotheses import Hypothesis, hypotheses_of
from hybridfit.identification.known import Known, Left, comparable, open_known
from hybridfit.identification.odds import Evidence
from hybridfit.identification.screen import Screen
from hybridfit.identification.settings import IDENTIFY, IdentifySettings
from hybridfit.io.arrays import frame_of
from hybridfit.library.library import Library

Array = NDArray[np.float64]

FEW = "The frame has few electrons: odds are less sure than they look."


class Identifier:
    """Compares frames of one semi-angle with several libraries; keep it when there are many frames.

    Parameters
    ----------
    semi_angle : float, mrad
    among : names or files of libraries, or libraries, optional
        By default all that are built.
    workers : int, threads; by default all cores
    progress : callable(stage, fraction), optional
    mirror : bool
        Whether the camera may have mirrored its frames.
    settings : IdentifySettings
    options : fields of `FitSettings`
        background, hints, …

    Attributes
    ----------
    known : list of Known
    left : list of Left
        Libraries that cannot be compared, and why.

    Raises
    ------
    InputError, LibraryError
        There is no library, or one that was named cannot be used.
    """

    def __init__(
        self,
        semi_angle: float,
        among: Iterable[str | Path | Library] | None = None,
        *,
        workers: int | None = None,
        progress: Callable[[str, float], None] | None = None,
        mirror: bool = True,
        settings: IdentifySettings = IDENTIFY,
        **options: Any,
    ) -> None:
        self.semi_angle, self.settings, self.mirror = semi_angle, settings, mirror
        self.workers = workers or os.cpu_count() or 1
        self.progress = progress or (lambda stage, fraction: None)
        self.fit_settings = FitSettings(semi_angle=semi_angle, **options)
        opened, self.left = open_known(among, lambda fraction: self.progress("build", fraction))
        self.known, out_of_reach = comparable(opened, semi_angle, {}, settings)
        self.left += out_of_reach
        self._hypotheses: dict[str, list[Hypothesis]] = {}
        self._matcher: Matcher | None = None
        self._lock = threading.RLock()

    def identify(self, frame: Frame | ArrayLike) -> Identification:
        """The odds of every library, and of none.

        Raises
        ------
        InputError
            The frame cannot be used, has no direct disc, or is of an energy that no library has.
        """
        frame = frame_of(frame)
        with self._lock:
            clock = Clock()
            known, others = comparable(self.known, self.semi_angle, frame.calibration, self.settings)
            hypotheses = [h for each in known for h in self._of(each)]
            screen = Screen(frame, hypotheses, self._aligned(hypotheses[0]), self.settings, self.progress)
            clock.lap("search")
            found = compare(frame, screen, self.settings, self.progress)
            clock.lap("refine")
            evidence = _evidence(found, screen)
            none = evidence.none(self.settings)
            few = electrons_in(frame.image, frame.valid) < self.fit_settings.posterior.few
            every = _matches(known, found, screen, (1 - none) * evidence.shares(self.settings))
            matches, same = _by_crystal(known, every)
            return Identification(
                source=frame.source,
                semi_angle=self.semi_angle,
                matches=matches,
                none=none,
                left=(*self.left, *others, *same),
                remarks=((FEW,) if few else ()) + ((f"{frame.note}.",) if frame.note else ()),
                seconds=clock.seconds(),
                evidence=evidence,
            )

    def prepare(self) -> None:
        """Make all templates, or read them from the cache; a frame is quicker afterwards."""
        for each in self.known:
            self._of(each)

    def _of(self, known: Known) -> list[Hypothesis]:
        if known.name not in self._hypotheses:
            self._hypotheses[known.name] = hypotheses_of(
                known, self.fit_settings, self.workers, self.progress, self.mirror
            )
        return self._hypotheses[known.name]

    def _aligned(self, any_one: Hypothesis) -> Matcher:
        """What finds the cameras of a frame: the same for all libraries."""
        if self._matcher is None:
            searcher = Searcher(
                any_one.library,
                self.semi_angle,
                hints=self.fit_settings.hints,
                workers=self.workers,
                progress=self.progress,
                settings=self.fit_settings.searching,
                finding=self.fit_settings.seeding.disc,
            )
            self._matcher = Matcher.aligned(searcher, self.fit_settings.seeding)
        return self._matcher


def _evidence(found: list[Compared], screen: Screen) -> Evidence:
    """What refinements say of a frame."""
    count = Counter(h.known.name for h in screen.trials)
    names = [each.hypothesis.known.name for each in found]
    return Evidence(
        libraries=tuple(names),
        excess=tuple(each.excess for each in found),
        log_widths=tuple(
            each.log_width - float(np.log(count[name])) for each, name in zip(found, names, strict=True)
        ),
        off_angles=tuple(each.off_angle for each in found),
        n_effective=found[0].minimum.fit.n_effective,
        left=found[0].left,
        lacking=found[0].hypothesis.known.lacking,
    )


def _matches(known: list[Known], found: list[Compared], screen: Screen, shares: Array) -> tuple[Match, ...]:
    """Every library with its odds, the likeliest first; those that were not refined by their templates."""
    place = {h.known.name: i for i, h in reversed(list(enumerate(screen.ranked())))}
    out = []
    for each in known:
        mine = [(c, p) for c, p in zip(found, shares, strict=True) if c.hypothesis.known is each]
        if not mine:
            out.append(Match(each.name, each.title, 0.0, refined=False))
            continue
        best = max(mine, key=lambda pair: pair[1])[0]
        out.append(_match(best, {c.hypothesis: float(p) for c, p in mine}))
    return tuple(sorted(out, key=lambda m: (-m.probability, place[m.name])))


def _by_crystal(known: list[Known], matches: tuple[Match, ...]) -> tuple[tuple[Match, ...], tuple[Left, ...]]:
    """Matches with one library of each crystal, which has the odds of all of them, and the other libraries.

    Libraries of one crystal and zone axis that reach other tilts are no rivals.
    """
    plain = {each.name for each in known if not each.library.structure}
    first: dict[str, str] = {}
    odds: dict[str, float] = {}
    left = []
    for match in matches:  # the likeliest first
        of = match.title if match.name in plain else match.name
        if of in first:
            left.append(Left(match.name, f"it is of the same crystal as {first[of]}, which fits as well"))
        first.setdefault(of, match.name)
        odds[first[of]] = odds.get(first[of], 0.0) + match.probability
    kept = [replace(each, probability=odds[each.name]) for each in matches if each.name in odds]
    return tuple(sorted(kept, key=lambda each: -each.probability)), tuple(left)


def _match(best: Compared, shares: Mapping[Hypothesis, float]) -> Match:
    """A library at its best hypothesis, with the odds of the others."""
    h, minimum = best.hypothesis, best.minimum
    total = max(sum(shares.values()), 1e-300)
    answer = h.outward(minimum.answer)
    region, fit = minimum.region, minimum.fit
    fitted = np.full(region.image.shape, np.nan)
    fitted[region.mask] = fit.model
    compared = np.where(region.mask, region.image, np.nan)
    structure: dict[str, dict[float, float]] = {}
    for name in h.discrete:
        odds: dict[float, float] = {}
        for each, share in shares.items():
            value = each.discrete[name]
            odds[value] = odds.get(value, 0.0) + share / total
        structure[name] = odds
    flipped = [share / total for each, share in shares.items() if each.flipped]
    plain = Match(
        h.known.name,
        h.known.title,
        sum(shares.values()),
        refined=True,
        thickness=answer.thickness,
        tilt_x=answer.tilt_x,
        tilt_y=answer.tilt_y,
        rotation=answer.rotation,
        scale=answer.scale,
        residual_fraction=float((fit.residual**2).mean() / region.variance),
        structure_left=best.left.share,
        structure=structure,
        picture=Thumbnail(compared, fitted, minimum.radius, region.extent),
    )
    return replace(plain, mirrored=sum(flipped)) if flipped or h.flipped else plain


def identify(
    frame: Frame | ArrayLike | str | Path,
    semi_angle: float | None = None,
    *,
    among: Iterable[str | Path | Library] | None = None,
    **options: Any,
) -> Identification:
    """Which crystal, zone axis and polarity a frame shows: libraries by their odds, and "none of these".

    Parameters
    ----------
    frame : Frame, (rows, cols) array, or the path of a file that holds one frame
    semi_angle : float, mrad, optional
        By default what the file or the signal says.
    among : names or files of libraries, or libraries, optional
        By default all that are built.
    options : of `Identifier`
        workers, progress, mirror, and fields of `FitSettings`.

    Returns
    -------
    Identification

    Raises
    ------
    InputError, LibraryError
    """
    if isinstance(frame, str | Path):
        from hybridfit.io import read_frames

        frames = read_frames(frame)
        if len(frames) != 1:
            raise InputError(
                f"{frame} holds {len(frames)} frames; give one of them, from hybridfit.read_frames"
            )
        frame = frames[0]
    frame = frame_of(frame)
    if semi_angle is None:
        semi_angle = frame.calibration.get("semi_angle_mrad")
    if semi_angle is None:
        raise InputError("the frame does not say its semi-angle; give semi_angle in mrad, such as 13.6")
    return Identifier(semi_angle, among, **options).identify(frame)


__all__ = ["Identifier", "Left", "identify"]

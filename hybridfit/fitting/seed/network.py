"""Seeding: the network aligns a frame, pass by pass, and names thickness and tilt.

    rough disc → crop → network → centre, size → crop → …   until nothing moves

The last crop is looked at in all four orientations, and in the mirror where the crystal has one;
the mean of what the network says of it becomes a handful of candidates: peaks of the thickness
probabilities × peaks of the tilt probabilities.  The network sees the tilt as the camera does; in
the crystal frame it is τ = R(−φ) τ_camera, one candidate for all the rotations φ + 360°/n that
symmetry leaves open.

Where the background is the paper's, an intensity per nm, it is subtracted from the crop with the
thickness of the pass before; the radial ones the network knows from its training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.candidates import WINDOW, Candidate, Seed, canonical
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.seed.disc import quick_disc, rough_discs
from hybridfit.frame import Frame
from hybridfit.library.library import Library
from hybridfit.network.crop import crops
from hybridfit.network.samples import mirror_of
from hybridfit.network.weights import Network, Predictions
from hybridfit.pattern.background import PER_NM

Array = NDArray[np.float64]

PASSES = 4  # at most, before the crop is looked at in all four orientations
STILL_MRAD, STILL_SIZE = 0.2, 0.01  # a pass that moves less is the last but one
FARTHEST_SIZE = 3.0  # a scale that has changed by such a factor is lost
CERTAIN = 0.5  # confidence below which other starts are tried
PEAK = (1.5, 0.75)  # nm, mrad: a candidate's share is the probability within this of its peak
LEAST_SHARE = 0.02  # of the probability: peaks below are left out
MOST = 6  # candidates
CHUNK = 64  # frames whose crops are held at a time


class Seeder:
    """Seeds frames with a network; batched, thousands of frames at once.

    Parameters
    ----------
    network : Network
    library : Library
    semi_angle : float, mrad
    hints : Hints
        A known centre or scale replaces what the network says of it.
    background : str
        With "uniform-per-nm" the background is subtracted before the network looks.

    Raises
    ------
    LibraryError, InputError
        The network does not belong to the library, or was not trained for the semi-angle.
    """

    def __init__(
        self,
        network: Network,
        library: Library,
        semi_angle: float,
        *,
        hints: Hints | None = None,
        background: str = "radial",
    ) -> None:
        network.check(library, semi_angle)
        self.network, self.library, self.semi_angle = network, library, semi_angle
        self.hints = hints or Hints()
        self.per_nm = PER_NM if background == "uniform-per-nm" else 0.0
        self.tilt_limit = library.tilt_max + library.semi_angle_max - semi_angle

    def seed(self, frame: Frame) -> Seed:
        """Seed one frame.

        Raises
        ------
        InputError
            Nothing in the frame is brighter than the rest.
        """
        return self.seed_many([frame])[0]

    def seed_many(self, frames: Sequence[Frame]) -> list[Seed]:
        """Seed any number of frames."""
        seeds: list[Seed] = []
        for start in range(0, len(frames), CHUNK):
            seeds += self._chunk(frames[start : start + CHUNK])
        return seeds

    # ---------------------------------------------------------------- inside

    def _chunk(self, frames: Sequence[Frame]) -> list[Seed]:
        starts = np.array([self._start(frame) for frame in frames])
        seeds = self._passes(frames, starts)
        unsure = [i for i, seed in enumerate(seeds) if seed.certainty < CERTAIN]
        if self.hints.centre is None or self.hints.scale is None:
            for i in unsure:
                discs = [self._known(*disc[:3]) for disc in _discs(frames[i])]
                for other in self._passes([frames[i]] * len(discs), np.array(discs)) if discs else ():
                    if other.certainty > seeds[i].certainty:
                        seeds[i] = other
        return seeds

    def _start(self, frame: Frame) -> tuple[float, float, float]:
        """Centre (px) and scale (px/mrad) that the first crop is cut at."""
        if self.hints.centre is not None and self.hints.scale is not None:
            return (*self.hints.centre, self.hints.scale)
        return self._known(*quick_disc(frame.image, frame.valid)[:3])

    def _known(self, x: float, y: float, radius: float) -> tuple[float, float, float]:
        """A disc as centre and scale, with what the hints know."""
        x, y = self.hints.centre or (x, y)
        return x, y, self.hints.scale or radius / self.semi_angle

    def _passes(self, frames: Sequence[Frame], starts: Array) -> list[Seed]:
        """Align and align again, all frames at once; those that have settled are left alone."""
        now = starts.copy()
        done: list[tuple[int, float]] = [(0, 0.0)] * len(frames)
        level = np.array([self.per_nm * float(frame.image[frame.valid].max()) for frame in frames])
        thickness = np.zeros(len(frames))
        active = np.arange(len(frames))
        for turn in range(1, PASSES + 1):
            cut = [
                crops(frames[i].image, frames[i].valid, now[[i], :2], now[[i], 2]) for i in active.tolist()
            ]
            pixels = np.concatenate(cut)
            if self.per_nm:
                pixels[:, 0] -= (level * thickness)[active, None, None] * (pixels[:, 1] > 0)
            said = self.network.predict(pixels, self.semi_angle)
            step = now[active].copy()
            if self.hints.centre is None:
                step[:, :2] += said.centre_mrad * now[active, 2:]
            if self.hints.scale is None:
                step[:, 2] *= np.exp(said.log_size)
                step[:, 2] = np.clip(
                    step[:, 2], starts[active, 2] / FARTHEST_SIZE, starts[active, 2] * FARTHEST_SIZE
                )
            moved = np.hypot(*(step[:, :2] - now[active, :2]).T) / now[active, 2]
            sized = np.abs(np.log(step[:, 2] / now[active, 2]))
            now[active] = step
            thickness[active] = said.thickness @ self.network.thicknesses
            settled = (moved < STILL_MRAD) & (sized < STILL_SIZE)
            for row, i in enumerate(active):
                done[i] = (turn, float(moved[row]))
            active = active[~settled]
            if not len(active):
                break
        return self._all_round(frames, now, level * thickness, done)

    def _all_round(
        self, frames: Sequence[Frame], cameras: Array, below: Array, passes: Sequence[tuple[int, float]]
    ) -> list[Seed]:
        """Look once more, at the aligned crops in all orientations, and take the mean."""
        cut = [
            crops(f.image, f.valid, c[None, :2], c[None, 2])[0] for f, c in zip(frames, cameras, strict=True)
        ]
        pixels = np.stack(cut)
        pixels[:, 0] -= below[:, None, None] * (pixels[:, 1] > 0)
        order, seen = self.library.rotation_order, [pixels]
        mirror = mirror_of(self.library)
        if mirror is not None:
            seen.append(pixels[:, :, ::-1])
        turns = [np.rot90(view, k, axes=(2, 3)) for view in seen for k in range(4)]
        said = self.network.predict(np.concatenate(turns), self.semi_angle)
        count = 4 * len(frames)
        straight = Predictions(*(values[:count] for values in said))
        mean = _mean_of_turns(straight, len(frames), order)
        if mirror is not None:
            mirrored = _mean_of_turns(Predictions(*(values[count:] for values in said)), len(frames), order)
            mean = _mean(mean, _mirrored(mirrored, mirror), order)
        if self.hints.centre is None:
            cameras[:, :2] += mean.centre_mrad * cameras[:, 2:]
        if self.hints.scale is None:
            cameras[:, 2] *= np.exp(mean.log_size)
        return [
            self._read(cameras[i], Predictions(*(part[i : i + 1] for part in mean)), *passes[i])
            for i in range(len(frames))
        ]

    def _read(self, camera: Array, said: Predictions, passes: int, moved: float) -> Seed:
        """Candidates from what the network said of the last crop."""
        p_t, p_tilt = said.thickness[0], said.tilt[0]
        nodes, axis = np.asarray(self.network.thicknesses, float), self.network.tilts
        tilt_x: Array = np.broadcast_to(axis[None, :], p_tilt.shape)
        tilt_y: Array = np.broadcast_to(axis[:, None], p_tilt.shape)
        thick, tilts = _peaks(p_t, nodes), _tilt_peaks(p_tilt, tilt_x, tilt_y)
        rotation = float(said.rotation_deg[0])
        c, s = np.cos(np.deg2rad(rotation)), np.sin(np.deg2rad(rotation))
        found = []
        for t, share in thick:
            for (x, y), share_of_tilt in tilts:
                inside = min(1.0, self.tilt_limit / max(float(np.hypot(x, y)), 1e-12))
                crystal_x, crystal_y, turn = canonical(
                    inside * (c * x + s * y), inside * (c * y - s * x), rotation, self.library.rotation_order
                )
                candidate = Candidate(
                    thickness=t,
                    tilt_x=crystal_x,
                    tilt_y=crystal_y,
                    centre_x=float(camera[0]),
                    centre_y=float(camera[1]),
                    scale=float(camera[2]),
                    rotation=turn,
                    probability=share * share_of_tilt,
                )
                found.append(candidate)
        found.sort(key=lambda candidate: -(candidate.probability or 0.0))
        kept = [c for i, c in enumerate(found) if i == 0 or (c.probability or 0.0) >= LEAST_SHARE][:MOST]
        best_t = thick[0][0]
        (best_x, best_y), _ = tilts[0]
        apart = np.hypot(tilt_x - best_x, tilt_y - best_y)
        return Seed(
            candidates=tuple(kept),
            confidence=(
                float(p_t[np.abs(nodes - best_t) <= WINDOW[0]].sum()),
                float(p_tilt[apart <= WINDOW[1]].sum()),
            ),
            thickness=p_t,
            thicknesses=nodes,
            tilt=p_tilt,
            passes=passes,
            moved=moved,
            spread=(
                float(np.sqrt(p_t @ (nodes - best_t) ** 2)),
                float(np.sqrt((p_tilt * apart**2).sum() / 2)),
                float(np.sqrt((p_tilt * apart**2).sum() / 2)),
            ),
        )


def _mean_of_turns(said: Predictions, count: int, order: int) -> Predictions:
    """The mean of what was said of crops turned by 0°, −90°, −180° and −270°, turned back.

    np.rot90 takes (x, y), y down, to (y, −x): a rotation by −90° where positive is from +x to +row.
    """
    size, certainty = np.zeros(count), np.zeros(count, complex)
    centre = np.zeros((count, 2))
    thickness, tilt = np.zeros_like(said.thickness[:count]), np.zeros_like(said.tilt[:count])
    for k in range(4):
        part = Predictions(*(values[k * count : (k + 1) * count] for values in said))
        x, y = part.centre_mrad.T
        for _ in range(k):
            x, y = -y, x
        centre += np.stack([x, y], axis=1) / 4
        size += part.log_size / 4
        phase = np.exp(1j * np.deg2rad(order * (part.rotation_deg + 90 * k)))
        certainty += part.rotation_certainty * phase / 4
        thickness += part.thickness / 4
        tilt += np.rot90(part.tilt, -k, axes=(1, 2)) / 4
    return Predictions(
        log_size=size,
        centre_mrad=centre,
        rotation_deg=np.rad2deg(np.angle(certainty)) / order,
        rotation_certainty=np.abs(certainty),
        thickness=thickness,
        tilt=tilt,
    )


def _mirrored(said: Predictions, mirror: Array) -> Predictions:
    """What is said of crops mirrored top to bottom, M, as it is of the crops.

    A mirror S of the crystal along the direction β is S = R(2β) M, so the pattern M R(φ) P is
    R(−φ − 2β) P of the tilt that is mirrored, too.
    """
    twice = np.rad2deg(np.arctan2(mirror[1, 0], mirror[0, 0]))
    return said._replace(
        centre_mrad=said.centre_mrad * [1.0, -1.0],
        rotation_deg=-said.rotation_deg - twice,
        tilt=said.tilt[:, ::-1],
    )


def _mean(a: Predictions, b: Predictions, order: int) -> Predictions:
    """The mean of what was said twice of the same crops."""
    phases = [p.rotation_certainty * np.exp(1j * np.deg2rad(order * p.rotation_deg)) for p in (a, b)]
    certainty = (phases[0] + phases[1]) / 2
    return Predictions(
        log_size=(a.log_size + b.log_size) / 2,
        centre_mrad=(a.centre_mrad + b.centre_mrad) / 2,
        rotation_deg=np.rad2deg(np.angle(certainty)) / order,
        rotation_certainty=np.abs(certainty),
        thickness=((a.thickness + b.thickness) / 2).astype(np.float32),
        tilt=((a.tilt + b.tilt) / 2).astype(np.float32),
    )


def _discs(frame: Frame) -> list[tuple[float, float, float]]:
    try:
        discs = rough_discs(frame.image, frame.valid)
        return [(disc.centre_x, disc.centre_y, disc.radius) for disc in discs]
    except InputError:
        return []


def _peaks(p: NDArray[np.float32], nodes: Array) -> list[tuple[float, float]]:
    """(value, share) of the peaks of a distribution over nodes, the largest share first."""
    rest = p.astype(float)
    found: list[tuple[float, float]] = []
    while len(found) < MOST:
        middle = nodes[np.argmax(np.convolve(rest, [0.5, 1, 0.5], mode="same"))]
        near = np.abs(nodes - middle) <= PEAK[0]
        share = float(rest[near].sum())
        if found and share < LEAST_SHARE:
            break
        found.append((float(rest[near] @ nodes[near] / max(share, 1e-12)), share))
        rest[np.abs(nodes - middle) <= 2 * PEAK[0]] = 0
    return sorted(found, key=lambda item: -item[1])


def _tilt_peaks(p: NDArray[np.float32], x: Array, y: Array) -> list[tuple[tuple[float, float], float]]:
    """((x, y), share) of the peaks of a distribution over tilts."""
    rest = p.astype(float)
    found: list[tuple[tuple[float, float], float]] = []
    while len(found) < MOST:
        at = np.unravel_index(np.argmax(rest), rest.shape)
        apart = np.hypot(x - x[at], y - y[at])
        near = apart <= PEAK[1]
        share = float(rest[near].sum())
        if found and share < LEAST_SHARE:
            break
        mean = ((rest * x)[near].sum() / max(share, 1e-12), (rest * y)[near].sum() / max(share, 1e-12))
        found.append(((float(mean[0]), float(mean[1])), share))
        rest[apart <= 2 * PEAK[1]] = 0
    return sorted(found, key=lambda item: -item[1])

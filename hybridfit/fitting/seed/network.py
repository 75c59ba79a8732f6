"""Seeding: the network aligns a frame, pass by pass, and names thickness and tilt.

    rough disc → crop → network → centre, size → crop → …   until nothing moves

The last crop is read in all four orientations, and mirrored as well where the crystal has a mirror.  The
mean of these answers becomes a handful of candidates: peaks of the thickness probabilities × peaks of the
tilt probabilities.  The network sees the tilt as the camera does; in the crystal frame it is
τ = R(−φ) τ_camera, one candidate for all the rotations φ + 360°/n that symmetry leaves open.

Where the background is the paper's, an intensity per nm, it is subtracted from the crop with the
thickness of the pass before.  Radial backgrounds are known to the network from its training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.candidates import WINDOW, Candidate, Seed, canonical
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.seed.orientations import mean_of_orientations, orientations
from hybridfit.fitting.seed.passes import Passes, crops_at
from hybridfit.fitting.seed.peaks import thickness_peaks, tilt_peaks
from hybridfit.fitting.seed.settings import SEED, SeedSettings
from hybridfit.frame import Frame
from hybridfit.library.library import Library
from hybridfit.library.mirror import mirror_of
from hybridfit.network.weights import Network, Predictions
from hybridfit.pattern.background import PER_NM

Array = NDArray[np.float64]

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
        With "uniform-per-nm" the background is subtracted before the network reads a crop.
    settings : SeedSettings

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
        settings: SeedSettings = SEED,
    ) -> None:
        network.check(library, semi_angle)
        self.network, self.library, self.semi_angle = network, library, semi_angle
        self.settings = settings
        self.aligning = Passes(semi_angle, semi_angle, hints or Hints(), settings)
        self.mirror = mirror_of(library)
        self.per_nm = PER_NM if background == "uniform-per-nm" else 0.0
        self.tilt_limit = library.tilt_max + library.semi_angle_max - semi_angle

    def seed(self, frame: Frame) -> Seed:
        """Seed one frame.

        Raises
        ------
        InputError
            All of the frame is masked.
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
        starts = np.array([self.aligning.start(frame) for frame in frames])
        seeds = self._passes(frames, starts)
        if self.aligning.known is not None:
            return seeds
        for i, seed in enumerate(seeds):
            if seed.certainty < self.settings.other_starts_below:
                others = self.aligning.other_starts(frames[i])
                tried = self._passes([frames[i]] * len(others), np.array(others)) if others else []
                seeds[i] = max([seed, *tried], key=lambda one: one.certainty)
        return seeds

    def _passes(self, frames: Sequence[Frame], starts: Array) -> list[Seed]:
        """Align and align again, all frames at once; those that have settled are left alone."""
        settings = self.settings
        now = starts.copy()
        done: list[tuple[int, float]] = [(0, 0.0)] * len(frames)
        level = np.array([self.per_nm * float(frame.image[frame.valid].max()) for frame in frames])
        thickness = np.zeros(len(frames))
        active = np.arange(len(frames))
        for turn in range(1, settings.passes + 1):
            pixels = self._crops(
                [frames[i] for i in active.tolist()], now[active], (level * thickness)[active]
            )
            said = self.network.predict(pixels, self.semi_angle)
            step = self.aligning.moved(now[active], said.centre_mrad, said.log_size, starts[active])
            moved = np.hypot(*(step[:, :2] - now[active, :2]).T) / now[active, 2]
            sized = np.abs(np.log(step[:, 2] / now[active, 2]))
            now[active] = step
            thickness[active] = said.thickness @ self.network.thicknesses
            settled = (moved < settings.still_mrad) & (sized < settings.still_size)
            for row, i in enumerate(active):
                done[i] = (turn, float(moved[row]))
            active = active[~settled]
            if not len(active):
                break
        # once more, in all orientations
        pixels = self._crops(frames, now, level * thickness)
        said = self.network.predict(orientations(pixels, mirrored=self.mirror is not None), self.semi_angle)
        mean = mean_of_orientations(said, len(frames), self.library.rotation_order, self.mirror)
        now = self.aligning.moved(now, mean.centre_mrad, mean.log_size, None)
        return [
            self._read(now[i], Predictions(*(part[i : i + 1] for part in mean)), *done[i])
            for i in range(len(frames))
        ]

    def _crops(self, frames: Sequence[Frame], cameras: Array, below: Array) -> NDArray[np.float32]:
        """The crop of each frame at its camera, less a background (n,)."""
        pixels = crops_at(frames, cameras)
        if self.per_nm:
            pixels[:, 0] -= below[:, None, None] * (pixels[:, 1] > 0)
        return pixels

    def _read(self, camera: Array, said: Predictions, passes: int, moved: float) -> Seed:
        """Candidates from what the network said of the last crop."""
        p_t, p_tilt = said.thickness[0], said.tilt[0]
        nodes, axis = np.asarray(self.network.thicknesses, float), self.network.tilts
        tilt_x: Array = np.broadcast_to(axis[None, :], p_tilt.shape)
        tilt_y: Array = np.broadcast_to(axis[:, None], p_tilt.shape)
        thick = thickness_peaks(p_t, nodes, self.settings)
        tilts = tilt_peaks(p_tilt, tilt_x, tilt_y, self.settings)
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
        least = self.settings.least_share
        kept = [c for i, c in enumerate(found) if i == 0 or (c.probability or 0.0) >= least]
        best_t = thick[0][0]
        (best_x, best_y), _ = tilts[0]
        apart = np.hypot(tilt_x - best_x, tilt_y - best_y)
        return Seed(
            candidates=tuple(kept[: self.settings.most]),
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

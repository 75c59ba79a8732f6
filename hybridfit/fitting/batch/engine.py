"""From frames of one known camera to attempts: the whole library matched, and fits from what is found.

seeds        the deepest minima of the match of every frame (`match`)
fits         all of them, from there (`rounds`); where one reaches the rim of its window, it follows
attempts     the minima that fits of a frame lead to, with blur and noise: from there `Fitter.fit_matched`
             needs next to no evaluation to have the same answer, which it judges
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hybridfit.errors import InputError
from hybridfit.fitting.attempts import Attempt
from hybridfit.fitting.batch.camera import BLUR, CENTRE, NAMES, THICKNESS, TILT, BatchCamera
from hybridfit.fitting.batch.match import BatchMatcher
from hybridfit.fitting.batch.regions import Regions, cut
from hybridfit.fitting.batch.rounds import Fits, Rounds, columns_of
from hybridfit.fitting.batch.settings import BATCH, BatchSettings
from hybridfit.fitting.candidates import WINDOW, Candidate, Fitted
from hybridfit.fitting.fitter import Fitter
from hybridfit.fitting.refine.refiner import FOLLOWED
from hybridfit.frame import Frame
from hybridfit.pattern import background as bg

Array = np.ndarray


class Answers(NamedTuple):
    """What is found of b frames, on the device.

    owner : (e,) int64
        Of which frame an entry is; those of a frame follow each other, the best match first.
    seeds : (e, 3) float64
        Thickness (nm) and tilt (mrad) of the match.
    chi2 : (e,)
        Of the match.
    fits : Fits
        From there.
    relative : (e,) float64
        Σ r² of the fit over the sum of the squares of the frame about its mean.
    usable : (e,) bool
        Whether a fit has come to an end.
    curves : (b, m)
        Least χ² of the match at every thickness.
    """

    owner: Tensor
    seeds: Tensor
    chi2: Tensor
    fits: Fits
    relative: Tensor
    usable: Tensor
    curves: Tensor


class BatchFitter:
    """Fits frames of the camera that the settings of a fitter hold.

    Parameters
    ----------
    fitter : Fitter
        Of many frames of a known camera (`shared`).
    device : torch.device
    settings : BatchSettings

    Raises
    ------
    InputError
        The fitter is of another kind.
    """

    def __init__(self, fitter: Fitter, device: torch.device, settings: BatchSettings = BATCH) -> None:
        self.fitter, self.device, self.settings = fitter, device, settings
        self.refiner = fitter.finder.refiner
        if not self.refiner.shares_camera:
            raise InputError(
                "frames are fitted together with one camera: fix its scale, rotation and distortion, and give"
                " their blur as `shared`"
            )
        if device.type == "cuda":
            whole = torch.cuda.get_device_properties(device).total_memory
            self._memory = min(settings.node_bytes, whole / 4)
            self._workspace = min(settings.workspace, whole / 8)
        else:
            self._memory, self._workspace = (
                settings.cpu_share * each for each in (settings.node_bytes, settings.workspace)
            )

    @cached_property
    def matcher(self) -> BatchMatcher:
        """The templates, made on first use."""
        return BatchMatcher(self.fitter.known.matcher, self.device, self._workspace)

    @cached_property
    def rounds(self) -> Rounds:
        """Fits with the node images of the first refinement of a frame."""
        limits = self.refiner.settings.refining
        known = self.refiner.shared_camera(limits.coarse_pixel)
        camera = BatchCamera(known, self.device, self._memory, self._workspace)
        start = dict.fromkeys(NAMES, 0.0) | {"thickness": self.refiner.library.thickness_range[0]}
        known_values = {n: v for n, v in self.refiner.settings.fix.items() if v is not None}
        params = self.refiner.parameters({**start, "semi_angle": self.refiner.semi_angle, **known_values})
        varied = [name for name, p in params.items() if p.vary]
        return Rounds(camera, columns_of(varied), limits)

    # ---------------------------------------------------------------- on the device

    def answers(self, images: Tensor, valid: Tensor, centres: Tensor) -> Answers:
        """Match and fit frames that are on the device; arguments as of `regions.cut`."""
        seeds, depth, curves = self.matcher.match(images, valid, centres)
        owner, rank = depth.isfinite().nonzero(as_tuple=True)
        own = seeds[owner, rank]
        fits, relative, usable = self.fits(images, valid, centres, owner, own)
        return Answers(owner, own, depth[owner, rank], fits, relative, usable, curves)

    def fits(
        self, images: Tensor, valid: Tensor, centres: Tensor, owner: Tensor, seeds: Tensor
    ) -> tuple[Fits, Tensor, Tensor]:
        """Fit frames from seeds (e, 3), nm and mrad, of which each is of the frame `owner`.

        Returns the fits, the share of the frame's variance that they leave, and which can be used.
        """
        limits = self.refiner.settings.refining
        regions = cut(images, valid, centres, self.rounds.camera.known.reference)
        whole = _about_the_mean(regions)
        start = torch.cat([seeds, centres[owner], torch.full_like(seeds[:, :1], limits.blur_start)], 1)
        start = self._held(start)
        regions, per_nm = Regions(*(each[owner] for each in regions)), self._per_nm(images, valid)[owner]
        fits = self._from(start, start, regions, per_nm)
        room = torch.tensor([WINDOW[0], WINDOW[1], WINDOW[1]], dtype=torch.float64, device=self.device)
        room *= limits.left * limits.slack
        anchor = start
        for _ in range(FOLLOWED - 1):
            moved = (fits.values[:, :3] - anchor[:, :3]).abs() >= room
            thin = fits.values[:, THICKNESS] < min(
                limits.nothing, self.refiner.library.thickness_range[0] + limits.thinnest
            )
            at = (moved.any(1) & ~thin & fits.values.isfinite().all(1)).nonzero()[:, 0]
            if not len(at):
                break
            anchor = anchor.clone()
            anchor[at] = fits.values[at]
            again = fits.values[at].clone()
            again[:, BLUR] = start[at, BLUR]
            part = Regions(*(each[at] for each in regions))
            fits.put(at, self._from(again, again, part, per_nm[at]))
        enough = regions.valid.sum(1) >= limits.fewest_pixels
        numbers = fits.values.isfinite().all(1) & fits.chi2.isfinite()
        return fits, fits.squares / whole[owner], enough & numbers & fits.settled

    def _from(self, start: Tensor, anchor: Tensor, regions: Regions, per_nm: Tensor) -> Fits:
        """Fits from starts in windows about anchors, both (e, 6)."""
        low, high = self.bounds(anchor)
        room = 1e-3 * (high - low)
        inside = torch.minimum(torch.maximum(start, low + room), high - room)
        varied = self.rounds.varied
        start = start.clone()
        start[:, varied] = inside[:, varied]
        return self.rounds.fit(regions, start, (low, high), per_nm)

    def _held(self, start: Tensor) -> Tensor:
        """Starts with what is fixed at a value."""
        out = start.clone()
        for name, value in self.refiner.settings.fix.items():
            if name in NAMES and value is not None:
                out[:, NAMES.index(name)] = float(value)
        return out

    def bounds(self, anchor: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds (e, 6) in windows about anchors (e, 6): those of `Refiner.parameters`."""
        refiner = self.refiner
        limits, asked = refiner.settings.refining, refiner.settings.bounds
        scale = self.fitter.known.matcher.camera.scale
        low, high = anchor.clone(), anchor.clone()
        room, centre = limits.slack * WINDOW[0] + limits.edge, limits.centre_room * scale
        thinnest, thickest = refiner.library.thickness_range
        low[:, THICKNESS] = (low[:, THICKNESS] - room).clamp_min(thinnest)
        high[:, THICKNESS] = (high[:, THICKNESS] + room).clamp_max(thickest)
        tilt, limit = limits.slack * WINDOW[1], refiner.tilt_limit
        low[:, TILT] = (low[:, TILT] - tilt).clamp_min(-limit)
        high[:, TILT] = (high[:, TILT] + tilt).clamp_max(limit)
        low[:, CENTRE] -= centre
        high[:, CENTRE] += centre
        low[:, BLUR], high[:, BLUR] = 0.0, limits.blur_most
        for name, (lowest, highest) in asked.items():
            if name not in NAMES:
                continue
            i = NAMES.index(name)
            if i > TILT.stop - 1:  # the user's replace those of good sense
                low[:, i], high[:, i] = lowest, highest
                continue
            a, b = low[:, i].clamp(lowest, highest), high[:, i].clamp(lowest, highest)
            low[:, i] = torch.where(a < b, a, lowest)
            high[:, i] = torch.where(a < b, b, highest)
        return low, high

    def _per_nm(self, images: Tensor, valid: Tensor) -> Tensor:
        """Background per nm of thickness of every frame."""
        if self.refiner.settings.background != "uniform-per-nm":
            return torch.zeros(len(images), dtype=torch.float64, device=self.device)
        brightest = torch.where(valid, images, images.new_zeros(())).flatten(1).amax(1)
        return bg.PER_NM * brightest.double()

    # ---------------------------------------------------------------- for the fitter

    def attempts(self, frames: Sequence[Frame], centres: Sequence[tuple[float, float]]) -> list[Attempt]:
        """What `known.match` of the fitter says of frames, with candidates where fits from there end."""
        images = torch.as_tensor(np.stack([frame.image for frame in frames]), device=self.device)
        valid = torch.as_tensor(np.stack([frame.valid for frame in frames]), device=self.device)
        places = torch.as_tensor(np.asarray(centres, float).reshape(-1, 2), device=self.device)
        found = self.answers(images, valid, places)
        owner, usable = found.owner.cpu().numpy(), found.usable.cpu().numpy()
        seeds, depth = found.seeds.cpu().numpy(), found.chi2.double().cpu().numpy()
        curves = found.curves.cpu()
        fitted = self._fitted(found)
        out = []
        for i, (x, y) in enumerate(centres):
            entries = np.arange(*np.searchsorted(owner, [i, i + 1]))
            given = [self._candidate([*seeds[e], x, y], float(depth[e])) for e in entries]
            refined = self._apart([fitted[e] for e in entries]) if usable[entries].all() else given
            curve = self.matcher.curve(curves[i])
            out.append(self.fitter.known.attempt(given, curve)._replace(found=refined))
        return out

    def _candidate(self, values: Sequence[float] | Array, chi2: float) -> Candidate:
        """A candidate of this camera, from the columns before the blur."""
        camera = self.fitter.known.matcher.camera
        thickness, tilt_x, tilt_y, x, y = (float(v) for v in values)
        return Candidate(thickness, tilt_x, tilt_y, x, y, camera.scale, camera.rotation, chi2)

    def _fitted(self, found: Answers) -> list[Candidate]:
        """The ends of all fits."""
        values, relative = (each.cpu().numpy() for each in (found.fits.values, found.relative))
        noise = torch.stack(found.fits.noise[:4], 1).cpu().numpy()
        shared = found.fits.noise.shared.cpu().numpy()
        return [
            Fitted(
                **vars(self._candidate(v[:BLUR], float(chi2))),
                blur=float(v[BLUR]),
                noise=() if unknown else tuple(parts.tolist()),
            )
            for v, chi2, parts, unknown in zip(values, relative, noise, shared, strict=True)
        ]

    def _apart(self, ends: list[Candidate]) -> list[Candidate]:
        """Ends of the fits of a frame that are no one minimum, the best first."""
        same, order = self.refiner.settings.refining.same, self.refiner.library.rotation_order
        out: list[Candidate] = []
        for end in sorted(ends, key=lambda c: c.chi2):
            if not any(end.same_as(other, order, same) for other in out):
                out.append(end)
        return out


def _about_the_mean(regions: Regions) -> Tensor:
    """(b,): sums of squares of frames about their means."""
    count = regions.valid.sum(1).clamp_min(1)
    mean = regions.data.double().sum(1) / count
    away = torch.where(regions.valid, regions.data.double() - mean[:, None], 0.0)
    return (away**2).sum(1).clamp_min(1e-300)

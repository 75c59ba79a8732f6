"""PACBED patterns and camera frames of a reference: hard aperture, any tilt, any semi-angle.

    P(k) = (1/πα²) { Σ_g A(k − g) I_g(k − g + τ)  +  ∫_{|κ|<α} D(k + τ; τ + κ) dκ }     per mrad²

I_g(q) of the mean wave on a fine grid, by cubic splines; D(p; q) of the diffuse intensity on a coarse
grid of q, interpolated by cubic convolution (Keys 1981), so that the integral over the aperture is a
weighted sum of images.  A is 1 within α, with an edge as wide as the points of a frame are apart.

Symbols: k from the centre of the direct disc, p = k + τ, τ tilt, α semi-angle (mrad).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numba
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates, spline_filter

from benchmarks.directions import Directions
from hybridfit.pattern.camera import Camera, to_angles

Array = NDArray[np.float64]
OVERSAMPLING = 4  # points along a side of a pixel
FAINT = 1e-7  # beams whose intensity never is larger are left out
APERTURE_STEP = 0.2  # mrad between the points that the integral over the aperture is made of
SMOOTHING = 1.0  # samples of p
SPREAD = 0.5  # px, standard deviation of what a point becomes


@numba.njit(cache=True, fastmath=True)
def _discs(out, x, y, beams, splines, step, tilt, semi_angle, edge):
    """Add Σ_g A(k − g) I_g(k − g + τ) to out; splines (beam, qx, qy), their middle at q = 0."""
    middle = (splines.shape[1] - 1) // 2
    w, v = np.empty(4), np.empty(4)
    for n in range(len(x)):
        for b in range(len(beams)):
            kx, ky = x[n] - beams[b, 0], y[n] - beams[b, 1]
            inside = (semi_angle - math.sqrt(kx * kx + ky * ky)) / edge + 0.5
            if inside <= 0:
                continue
            i, j = (kx + tilt[0]) / step + middle, (ky + tilt[1]) / step + middle
            i0, j0 = math.floor(i), math.floor(j)
            for weights, f in ((w, i - i0), (v, j - j0)):
                weights[0] = (1 - f) ** 3 / 6
                weights[1] = (4 - 6 * f * f + 3 * f**3) / 6
                weights[2] = (1 + 3 * f + 3 * f * f - 3 * f**3) / 6
                weights[3] = f**3 / 6
            value = 0.0
            for a in range(4):
                for c in range(4):
                    value += w[a] * v[c] * splines[b, i0 - 1 + a, j0 - 1 + c]
            out[n] += min(inside, 1.0) * value


@dataclass(frozen=True)
class Elastic:
    """I_g(q) of the mean wave: (thickness, beam, direction of the wedge)."""

    thickness_nm: Array
    beams: NDArray[np.int64]
    beam_mrad: Array
    directions: Directions
    intensity: NDArray[np.float32]

    def splines(self, t: int) -> tuple[Array, NDArray[np.float32]]:
        """Beams (b, 2) in mrad and their cubic splines over q (b, n, n) at a thickness."""
        intensity, d = self.intensity[t], self.directions
        numbers = {tuple(beam): i for i, beam in enumerate(self.beams)}
        bright = np.flatnonzero(intensity.max(axis=1) > FAINT)
        reach = max(d.square()) + 2
        where = tuple((d.index + reach).T)
        known = np.zeros((2 * reach + 1, 2 * reach + 1), bool)
        known[where] = True
        nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
        origin = np.array([[numbers.get(tuple(beam @ m), -1) for m in d.operations] for beam in self.beams])
        bright = np.array([b for b in range(len(self.beams)) if np.isin(origin[b], bright).any()])
        out = np.empty((len(bright), *known.shape), np.float32)
        for n, b in enumerate(bright):
            image = np.zeros(known.shape)
            image[where] = intensity[origin[b][d.operation], d.row]
            out[n] = spline_filter(image[tuple(nearest)], order=3)
        return self.beam_mrad[bright], out


@dataclass(frozen=True)
class Diffuse:
    """D(p; q) of some pairs of configurations: (pair, thickness, direction of the wedge, px, py)."""

    directions: Directions
    sample_mrad: Array
    intensity: NDArray[np.float32]

    def weights(self, tilt: tuple[float, float], semi_angle: float, every: int = 1) -> Array:
        """(1/πα²) ∫ L_q(τ + κ) dκ for every direction, or for every n-th along x and y."""
        d = self.directions
        axis = np.arange(-semi_angle, semi_angle + APERTURE_STEP, APERTURE_STEP)
        k = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
        at = (k[np.linalg.norm(k, axis=1) < semi_angle] + tilt) / d.step / every
        used = np.flatnonzero((d.index % every == 0).all(axis=1))
        nodes = d.index[used] // every
        low = nodes.min(axis=0) - 2
        total = np.zeros(nodes.max(axis=0) - low + 3)
        base = np.floor(at).astype(int)
        fx, fy = (_keys(f) for f in (at - base).T)
        for a in range(4):
            for b in range(4):
                i, j = (base + np.array([a - 1, b - 1]) - low).T
                inside = (i >= 0) & (j >= 0) & (i < total.shape[0]) & (j < total.shape[1])
                if not inside.all():
                    raise ValueError("directions do not reach as far as this semi-angle and tilt")
                np.add.at(total, (i, j), fx[a] * fy[b])
        known = np.zeros(total.shape, bool)
        known[tuple((nodes - low).T)] = True
        nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
        moved = np.zeros_like(total)
        np.add.at(moved, tuple(nearest), total)  # what falls on directions that are not there
        out = np.zeros(len(d.index))
        out[used] = moved[tuple((nodes - low).T)] / len(at)
        return out

    def image(
        self,
        t: int,
        tilt: tuple[float, float],
        semi_angle: float,
        pairs: list[int] | None = None,
        every: int = 1,
    ) -> Array:
        """(px, py): the diffuse part of the pattern, per mrad², at p = k + τ."""
        d, weights = self.directions, self.weights(tilt, semi_angle, every)
        chosen = self.intensity[:, t] if pairs is None else self.intensity[pairs, t]
        mean = chosen.mean(axis=0, dtype=np.float64)
        total = np.zeros(mean.shape[1:])
        for number, operation in enumerate(d.operations):
            mine = np.bincount(d.row, weights * (d.operation == number), len(mean))
            total += _turned(np.tensordot(mine, mean, 1), operation)
        return gaussian_filter(total, SMOOTHING, mode="nearest")


def _keys(f: Array) -> list[Array]:
    """Weights of cubic convolution of the four nodes around a fraction."""
    return [
        -0.5 * f + f**2 - 0.5 * f**3,
        1 - 2.5 * f**2 + 1.5 * f**3,
        0.5 * f + 2 * f**2 - 1.5 * f**3,
        -0.5 * f**2 + 0.5 * f**3,
    ]


def _turned(image: Array, operation: NDArray[np.int64]) -> Array:
    """The image of D(p; q) in D(Sp; Sq): axes exchanged and reversed about the middle."""
    turned = image.T if operation[0, 0] == 0 else image
    for axis in (0, 1):
        if operation[axis].sum() < 0:
            turned = np.flip(turned, axis)
    return turned


@dataclass(frozen=True)
class Reference:
    """Elastic and diffuse part of one crystal.  Without a diffuse part, only the elastic one is there."""

    elastic: Elastic
    diffuse: Diffuse | None
    attributes: dict[str, object]

    @cached_property
    def thickness_nm(self) -> Array:
        """Those that are there."""
        return self.elastic.thickness_nm

    def points(
        self,
        t: int,
        k: Array,
        tilt: tuple[float, float],
        semi_angle: float,
        edge: float,
        pairs: list[int] | None = None,
    ) -> Array:
        """P at points k (2, n) in mrad, per mrad²."""
        beams, splines = self._splines(t)
        out = np.zeros(k.shape[1])
        step = float(self.elastic.directions.step[0])
        _discs(out, k[0], k[1], beams, splines, step, np.array(tilt, float), semi_angle, edge)
        out /= np.pi * semi_angle**2
        if self.diffuse is not None:
            image = self.diffuse.image(t, tilt, semi_angle, pairs)
            middle = (np.array(image.shape) - 1) / 2
            at = (k + np.array(tilt)[:, None]) / self.diffuse.sample_mrad[:, None] + middle[:, None]
            out += map_coordinates(image, at, order=1, mode="nearest")
        return out

    def _splines(self, t: int) -> tuple[Array, NDArray[np.float32]]:
        kept = self.__dict__.setdefault("_kept", {})
        if t not in kept:
            kept.clear()
            kept[t] = self.elastic.splines(t)
        return kept[t]

    def frame(
        self, t: int, camera: Camera, shape: tuple[int, int], tilt: tuple[float, float], semi_angle: float,
        pairs: list[int] | None = None,
    ) -> Array:  # fmt: skip
        """A camera frame without noise, integrated over pixels: the fraction of the electrons in each.

        It is blurred by SPREAD, as by a camera and by a source that is not a point.
        """
        n = OVERSAMPLING
        rows, cols = ((np.indices((shape[0] * n, shape[1] * n)) + 0.5) / n - 0.5).reshape(2, -1)
        k = np.ascontiguousarray(to_angles(cols, rows, camera))
        edge = 1 / (n * camera.scale)
        fine = self.points(t, k, tilt, semi_angle, edge, pairs) / camera.scale**2
        blurred = gaussian_filter(np.clip(fine, 0, None).reshape(shape[0] * n, -1), SPREAD * n)
        return blurred.reshape(shape[0], n, shape[1], n).mean(axis=(1, 3))


def open_reference(elastic: Path, pairs: list[Path]) -> Reference:
    """Read what `benchmarks.references` has kept."""
    with xr.open_dataset(elastic) as data:
        data = data.load()
    operations = [
        np.array(m).reshape(2, 2) for m in np.reshape(data.attrs["operations"], (-1, 4)).astype(int)
    ]
    directions = Directions.within(data.attrs["radius_mrad"], data.attrs["step_mrad"], operations)
    table = Elastic(
        data.thickness_nm.values, data.beams.values, data.beam_mrad.values, directions, data.intensity.values
    )
    diffuse = None
    if pairs:
        loaded = [xr.open_dataset(path).load() for path in pairs]
        attrs = loaded[0].attrs
        coarse = Directions.within(attrs["radius_mrad"], attrs["step_mrad"], operations)
        stack = np.stack([each.diffuse.values for each in loaded])
        diffuse = Diffuse(coarse, np.array(attrs["sample_mrad"]), stack)
    return Reference(table, diffuse, dict(data.attrs))

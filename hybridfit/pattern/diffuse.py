"""Thermal diffuse intensity of a pattern: a table D(p; q, t), averaged over the directions in the aperture.

    P_d(k; τ, t) = ∫_{|κ| < α} d²κ D(k + τ; κ + τ, t)

in units of the intensity of the empty disc.  k scattering angle from the centre of the direct disc, τ tilt, α
semi-angle, t thickness; q = κ + τ incident and p = k + τ exit direction in the frame of the crystal (mrad).
D (mrad⁻²) is smooth: few incident directions, and steps of about a milliradian between exits, hold it.

All interpolation is by four-point Lagrange polynomials.  Incident directions are stored in the wedge of the
symmetry only, D(Rp; Rq) = D(p; q).  Beyond the stored directions the nearest ones stand for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from hybridfit.pattern.expand import Intensity, lagrange
from hybridfit.pattern.jit import add_scaled_8, kernel

Array = NDArray[np.float64]
RINGS = 9  # of the quadrature over the aperture; the outermost has 6 RINGS − 3 points
MARGIN = 3  # nodes around what is stored
LANES = 8  # images that are interpolated at once


@dataclass(frozen=True)
class Image:
    """Diffuse intensity at points of a pattern, and its derivatives, (n,) each.

    slopes_k : (2, n) along k; slopes_tilt : (2, n)
    """

    value: Array
    slopes_k: Array
    slopes_tilt: Array
    slope_thickness: Array
    slope_semi_angle: Array

    def times(self, share: float) -> Image:
        """The intensity of a share of the area."""
        return self if share == 1 else Image(*(share * getattr(self, each.name) for each in fields(self)))

    def slopes(self, camera: Array, names: Sequence[str]) -> dict[str, Array]:
        """Derivatives along parameters of a model, given those along its camera's and their names."""
        return {
            "thickness": self.slope_thickness,
            "tilt_x": self.slopes_tilt[0],
            "tilt_y": self.slopes_tilt[1],
            "semi_angle": self.slope_semi_angle,
            **dict(zip(names, camera, strict=True)),
        }


@dataclass(frozen=True, eq=False)
class DiffuseTable:
    """D(p; q, t) of a library.

    Attributes
    ----------
    intensity : (thickness, incident, exit) float32, mrad⁻²
    step_nm : float
        Thicknesses are its multiples, from the first on.
    incident_n, exit_n : (m, 2), (n, 2) int arrays
        Directions as multiples of the steps.
    incident_step, exit_step : (2, 2) arrays, mrad
        Rows are the steps of the two grids.
    symmetry : (o, 2, 2) int array
        Operations R on lattice coordinates; the identity comes first.
    """

    intensity: Intensity
    step_nm: float
    incident_n: NDArray[np.int64]
    exit_n: NDArray[np.int64]
    incident_step: Array
    exit_step: Array
    symmetry: NDArray[np.int64]

    def on(self, axes: Array) -> DiffuseTable:
        """The table on other axes: the steps are multiplied with a (2, 2) matrix from the right."""
        return replace(self, incident_step=self.incident_step @ axes, exit_step=self.exit_step @ axes)

    @cached_property
    def _incident(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which (operation, incident) stands for a node of the grid of incident directions; its middle."""
        m, o = len(self.incident_n), len(self.symmetry)
        nodes, which = [], []
        for i in reversed(range(o)):  # q = R⁻¹ of a stored direction; the identity is written last
            back = np.linalg.inv(self.symmetry[i]).round().astype(np.int64)
            nodes.append(self.incident_n @ back.T)
            which.append(i * m + np.arange(m))
        return _filled(np.concatenate(nodes), np.concatenate(which))

    @cached_property
    def _exits(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which stored exit stands for a node of the grid of exits, and its middle."""
        return _filled(self.exit_n, np.arange(len(self.exit_n)))

    @cached_property
    def _to_exits(self) -> Array:
        """From mrad to coordinates on the grid of exits."""
        return np.asarray(np.linalg.inv(self.exit_step).T, np.float64)

    @cached_property
    def _turned(self) -> NDArray[np.int64]:
        """(operation, exit): the stored exit that Rp is."""
        grid, middle = self._exits
        out = np.empty((len(self.symmetry), len(self.exit_n)), np.int64)
        for i, r in enumerate(self.symmetry):
            at = np.clip(self.exit_n @ r.T + middle, 0, np.array(grid.shape) - 1)
            out[i] = grid[at[:, 0], at[:, 1]]
        return out

    def at(self, k: Array, thickness: float, tilt: tuple[float, float], semi_angle: float) -> Image:
        """The diffuse intensity at k (2, n) mrad, and its derivatives."""
        return self.seen(self.on_exits(thickness, tilt, semi_angle), k, tilt)

    def on_exits(self, thickness: float, tilt: tuple[float, float], semi_angle: float) -> NDArray[np.float32]:
        """(5, rows, cols): intensity on the grid of exits, and its slopes at fixed exits.

        These are along tilt_x, tilt_y, semi-angle and thickness.
        """
        return self.by_exits(self.thick(thickness), self.aperture(tilt, semi_angle))

    def by_exits(
        self, layer: tuple[NDArray[np.float32], NDArray[np.float32]], weights: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The same of a `thick` layer, and of the weights that an `aperture` gives to its directions."""
        values, along_t = layer
        o, m = len(self.symmetry), len(self.incident_n)
        by_exit = (weights.reshape(4 * o, m) @ values).reshape(4, o, -1)
        thicker = (weights[0].reshape(o, m) @ along_t)[None]
        every = np.concatenate([by_exit, thicker])
        summed = np.take_along_axis(every, np.broadcast_to(self._turned, every.shape), axis=2).sum(axis=1)
        out: NDArray[np.float32] = summed[:, self._exits[0]]
        return out

    def seen(self, images: NDArray[np.float32], k: Array, tilt: tuple[float, float]) -> Image:
        """What `on_exits` is at k (2, n) mrad, and its derivatives."""
        _, middle = self._exits
        place = self._to_exits @ (k + np.array(tilt)[:, None]) + middle[:, None]
        found, slopes = _interpolated(_beside(images), np.ascontiguousarray(place), len(images))
        along_p = self._to_exits.T @ slopes
        return Image(found[0], along_p, along_p + found[1:3], found[4], found[3])

    def layers(self, thickness: float) -> tuple[int, Array]:
        """The first of four stored thicknesses to interpolate from (nm), and their weights.

        Of thin specimens the weight of the missing thickness, none, is left out: it holds nothing.
        """
        x = thickness / self.step_nm
        first = int(np.clip(np.floor(x), 1, len(self.intensity) - 2))
        weights = np.empty(4)
        lagrange(x - first, weights, np.empty(4))
        if first == 1:
            return 0, np.append(weights[1:], 0.0)
        return first - 2, weights

    def exits(self, layers: slice, tilt: tuple[float, float], semi_angle: float) -> NDArray[np.float32]:
        """(layers, rows · cols): intensity of stored thicknesses on the grid of exits, for `on_camera`."""
        weights = self.aperture(tilt, semi_angle)[0]
        summed = _by_exit(self.intensity[layers], weights, self._turned)
        out: NDArray[np.float32] = summed[:, self._exits[0].ravel()]
        return out

    def layers_at(self, k: Array, tilt: tuple[float, float], semi_angle: float) -> Array:
        """(layers, n): the diffuse intensity of all stored thicknesses at k (2, n) mrad."""
        grid, middle = self._exits
        images = self.exits(slice(0, len(self.intensity)), tilt, semi_angle).reshape(-1, *grid.shape)
        place = self._to_exits @ (k + np.array(tilt)[:, None]) + middle[:, None]
        groups = [images[i : i + LANES] for i in range(0, len(images), LANES)]
        place = np.ascontiguousarray(place)
        return np.concatenate([_interpolated(_beside(some), place, len(some))[0] for some in groups])

    def on_camera(
        self, exits: NDArray[np.float32], origin: Array, steps: Array, shape: tuple[int, int]
    ) -> NDArray[np.float32]:
        """What pixels (rows, cols) see of `exits` (rows · cols,).

        origin : (2,), mrad
            k + tilt at the first pixel.
        steps : (2, 2), mrad
            From a column to the next, and from a row to the next, in its columns.
        """
        grid, middle = self._exits
        out = np.empty(shape, np.float32)
        first = self._to_exits @ origin + middle
        _on_camera(exits.reshape(grid.shape), first, self._to_exits @ steps, out)
        return out

    def thick(self, thickness: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(incident, exit) at a thickness (nm), and its derivative: a layer; there is nothing at none."""
        x = thickness / self.step_nm
        first = int(np.clip(np.floor(x), 1, len(self.intensity) - 2))
        weights, slopes = _lagrange(np.array(x - first))
        value = np.zeros(self.intensity.shape[1:], np.float32)
        slope = np.zeros_like(value)
        for i in range(4):
            if first - 1 + i > 0:
                layer = self.intensity[first - 2 + i]
                value += np.float32(weights[i]) * layer
                slope += np.float32(slopes[i] / self.step_nm) * layer
        return value, slope

    def aperture(self, tilt: tuple[float, float], semi_angle: float) -> NDArray[np.float32]:
        """(4, operation, incident): weights (mrad²), and derivatives along tilt (mrad) and semi-angle."""
        grid, middle = self._incident
        inside, areas = _disc()
        to_grid = np.linalg.inv(self.incident_step).T
        place = to_grid @ (semi_angle * inside + np.array(tilt)[:, None]) + middle[:, None]
        most = np.array(grid.shape)[:, None] - 3
        base = np.clip(np.floor(place).astype(np.int64), 1, most)
        x = np.clip(place - base, -1, 2)
        (wx, sx), (wy, sy) = _lagrange(x[0]), _lagrange(x[1])
        size = semi_angle**2 * areas
        both = wx[:, None] * wy  # (4, 4, points)
        along = np.einsum(
            "ij,iabn->jabn", to_grid, np.stack([sx[:, None] * wy, wx[:, None] * sy])
        )  # per mrad
        outwards = np.einsum("in,iabn->abn", inside, along)
        parts = [both * size, *(along * size), both * (2 * semi_angle * areas) + outwards * size]
        span = np.arange(-1, 3)
        target = grid[base[0] + span[:, None, None], base[1] + span[None, :, None]]
        count = len(self.symmetry) * len(self.incident_n)
        sums = [np.bincount(target.ravel(), part.ravel(), count) for part in parts]
        return np.stack(sums).reshape(4, len(self.symmetry), -1).astype(np.float32)


def _lagrange(x: Array) -> tuple[Array, Array]:
    """Four-point Lagrange weights (4, …) and their derivatives, for nodes −1, 0, 1, 2."""
    others = [[m for m in (-1, 0, 1, 2) if m != n] for n in (-1, 0, 1, 2)]
    norms = [np.prod([n - m for m in rest]) for n, rest in zip((-1, 0, 1, 2), others, strict=True)]
    weights = [(x - a) * (x - b) * (x - c) / norm for (a, b, c), norm in zip(others, norms, strict=True)]
    slopes = [
        ((x - a) * (x - b) + (x - a) * (x - c) + (x - b) * (x - c)) / norm
        for (a, b, c), norm in zip(others, norms, strict=True)
    ]
    return np.stack(weights), np.stack(slopes)


def _disc() -> tuple[Array, Array]:
    """Points (2, n) in the unit disc and the area that each stands for."""
    radii, angles, areas = [], [], []
    edges = np.arange(RINGS + 1) / RINGS
    for i in range(RINGS):
        count = max(1, 6 * i)
        area = np.pi * (edges[i + 1] ** 2 - edges[i] ** 2)
        # the radius whose square is the mean over the ring, so that quadratic functions come out right
        radii += count * [np.sqrt((edges[i + 1] ** 2 + edges[i] ** 2) / 2) if i else 0.0]
        angles += list(2 * np.pi * (np.arange(count) + 0.5 * (i % 2)) / count)
        areas += count * [area / count]
    r, phi = np.array(radii), np.array(angles)
    return np.stack([r * np.cos(phi), r * np.sin(phi)]), np.array(areas)


def _filled(
    nodes: NDArray[np.int64], values: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A grid with values at nodes and, elsewhere, the value of the nearest node; and where node 0, 0 is."""
    middle = np.abs(nodes).max(axis=0) + MARGIN
    grid = np.full(2 * middle + 1, -1, np.int64)
    grid[nodes[:, 0] + middle[0], nodes[:, 1] + middle[1]] = values
    nearest = distance_transform_edt(grid < 0, return_distances=False, return_indices=True)
    return grid[tuple(nearest)], middle


def _beside(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """(rows, columns, LANES): up to so many images (·, rows, columns), side by side at every point."""
    out = np.zeros((*images.shape[1:], LANES), np.float32)
    out[..., : len(images)] = np.moveaxis(images, 0, -1)
    return out


@kernel
def _interpolated(images, place, count):
    """Values (count, n) at grid coordinates place (2, n), and derivatives (2, n) of those of the first image.

    images : (rows, columns, LANES) float32, of which `count` are used
    """
    rows, cols, n = images.shape[0], images.shape[1], place.shape[1]
    out, slopes = np.empty((count, n)), np.empty((2, n))
    wx, wy, sx, sy = np.empty(4), np.empty(4), np.empty(4), np.empty(4)
    flat, total = images.ravel(), np.empty(LANES, np.float32)
    for j in range(n):
        u = min(max(place[0, j], 1.0), rows - 2.001)
        v = min(max(place[1, j], 1.0), cols - 2.001)
        row, col = int(u), int(v)
        lagrange(u - row, wx, sx)
        lagrange(v - col, wy, sy)
        total[:] = 0
        along_x, along_y = 0.0, 0.0
        for a in range(4):
            start = ((row - 1 + a) * cols + col - 1) * LANES
            for b in range(4):
                add_scaled_8(total, 0, flat, start + LANES * b, np.float32(wx[a] * wy[b]))
                first = flat[start + LANES * b]
                along_x += sx[a] * wy[b] * first
                along_y += wx[a] * sy[b] * first
        slopes[0, j], slopes[1, j] = along_x, along_y
        for i in range(count):
            out[i, j] = total[i]
    return out, slopes


@kernel
def _by_exit(intensity, weights, turned):
    """(layers, exits): Σ over operations and incident directions of weights, most of which are none."""
    layers, incident, exits = intensity.shape
    out, part = np.zeros((layers, exits), np.float32), np.empty(exits, np.float32)
    for l in range(layers):
        for o in range(weights.shape[0]):
            part[:] = 0
            for i in range(incident):
                w, row = weights[o, i], intensity[l, i]
                if w != 0:
                    for e in range(exits):
                        part[e] += w * row[e]
            for e in range(exits):
                out[l, e] += part[turned[o, e]]
    return out


@kernel
def _on_camera(image, first, steps, out):
    """The values of `_interpolated` at pixels, whose grid coordinates are first + steps @ (col, row)."""
    rows, cols = image.shape
    flat = image.ravel()
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            u = min(max(first[0] + steps[0, 0] * j + steps[0, 1] * i, 1.0), rows - 2.001)
            v = min(max(first[1] + steps[1, 0] * j + steps[1, 1] * i, 1.0), cols - 2.001)
            row, col = int(u), int(v)
            x, y = np.float32(u - row), np.float32(v - col)
            at = (row - 1) * cols + col - 1
            lines = (
                along_line(flat, at, y),
                along_line(flat, at + cols, y),
                along_line(flat, at + 2 * cols, y),
                along_line(flat, at + 3 * cols, y),
            )
            out[i, j] = along_line(lines, 0, x)


@kernel
def along_line(values, at, x):
    """The four-point Lagrange polynomial through values[at : at + 4] at x, for nodes −1, 0, 1, 2."""
    one, two, six, half = np.float32(1), np.float32(2), np.float32(1 / 6), np.float32(0.5)
    low, high = (x + one) * x, (x - one) * (x - two)
    outer = (x + one) * high * values[at + 1] - low * (x - two) * values[at + 2]
    return half * outer + six * (low * (x - one) * values[at + 3] - x * high * values[at])

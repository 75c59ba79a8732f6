"""The whole library against frames of one known camera: every template in a product with the frame.

A template is the pattern of a library point on the coarse pixels of the camera, less what a background of
three columns explains, and divided by its norm.  With f the frame, less the same, the largest share of its
variance that a template explains is max(T f)²/|f|²: one product for all templates, and for many frames.
Thickness and tilt are on a coarse lattice, and patterns are not blurred.  The least point between the
templates is that of a paraboloid; a refinement finds the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.candidates import Candidate
from hybridfit.fitting.search.paraboloid import least_between
from hybridfit.fitting.search.settings import SHARED, SharedSettings
from hybridfit.frame import Frame
from hybridfit.library.library import BEYOND_DISC, Library
from hybridfit.library.planes import one_of
from hybridfit.pattern import background as bg
from hybridfit.pattern.camera import Camera, to_angles
from hybridfit.pattern.node_kernels import (
    PAD,
    Entries,
    entries_at,
    fill_templates,
    nearest_points,
    undo_symmetry,
)
from hybridfit.pattern.reference import Reference

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
Integers = NDArray[np.int64]


class SharedMatcher:
    """Matches frames of one camera with all points of a library.

    Parameters
    ----------
    library : Library, in memory, without structural parameters
    camera : Camera
        Of all frames, but for its centre.
    semi_angle : float, mrad
    tilt_most : float, mrad
    settings : SharedSettings

    Attributes
    ----------
    thickness : (m,) array, nm
    tilts : (n, 2) array, mrad
        Of the templates, all of which are (m, n).
    templates : (m, n, pixels) float32 array
    background : (pixels, columns) float32 array
        Orthonormal; templates have no part of it.
    """

    def __init__(
        self,
        library: Library,
        camera: Camera,
        semi_angle: float,
        tilt_most: float,
        settings: SharedSettings = SHARED,
    ) -> None:
        self.camera, self.settings = camera, settings
        radius = int((semi_angle + BEYOND_DISC) * camera.scale)
        factor = max(1, radius // settings.template_radius)
        self.reference = reference = Reference(camera, semi_angle + BEYOND_DISC, factor)
        row, col = np.nonzero(reference.mask)
        k = to_angles(col.astype(float), row.astype(float), reference.camera)
        half_edge = max(library.step, settings.edge / reference.camera.scale) / 2
        table = library.table(k_max=float(np.hypot(*k).max()), semi_angle=semi_angle + half_edge)
        self.thickness, layers = _spread(
            table.thickness_first, table.thickness_step, len(table.intensity), settings
        )
        stride = np.maximum(1, np.rint(settings.tilt_step * np.hypot(*table.to_grid.T))).astype(int)
        reach = [int(tilt_most * np.hypot(*row)) + 1 for row in table.to_grid]
        nodes = np.stack(
            np.meshgrid(
                *(np.arange(-(n // s) * s, n + 1, s) for n, s in zip(reach, stride, strict=True)),
                indexing="ij",
            ),
            axis=-1,
        ).reshape(-1, 2)
        tilts = nodes @ np.linalg.inv(table.to_grid).T
        inside = np.hypot(*tilts.T) <= tilt_most
        self.tilts, nodes = tilts[inside], nodes[inside]
        self._steps = stride[:, None] * np.linalg.inv(table.to_grid).T  # mrad, of the lattice
        self._beside = _neighbours(nodes // stride)
        room = [n // 2 + PAD for n in table.direction_at.shape]
        shape, first = (2 * room[0] + 1, 2 * room[1] + 1), np.array([-each for each in room], np.int64)
        found = entries_at(k[0], k[1], table, semi_angle, half_edge, False, shape, first)
        entries = Entries(*found)
        nearest_points(entries, shape[1])
        grids = np.zeros((len(table.beam_n), *shape), np.float32)
        all_of_it = np.array([0, shape[0], 0, shape[1]], np.int64)
        shifts = np.ascontiguousarray(nodes[:, 0] * shape[1] + nodes[:, 1])
        components, _, _ = bg.basis("radial", k, semi_angle)
        self.background = np.linalg.qr(components.T)[0].astype(np.float32)
        self.templates = np.empty((len(layers), len(nodes), k.shape[1]), np.float32)
        for template, i in zip(self.templates, layers, strict=True):
            undo_symmetry(table, np.ascontiguousarray(one_of(table.intensity, i)), first, all_of_it, grids)
            fill_templates(entries, grids.ravel(), shifts, template)
            template -= (template @ self.background) @ self.background.T
            norm = np.linalg.norm(template, axis=1, keepdims=True)
            template /= np.maximum(norm, 1e-20)

    def match(self, frames: Sequence[Frame], centres: Array) -> list[tuple[list[Candidate], Array]]:
        """Candidates of every frame, best first, and the least χ² at every thickness: (2, m).

        Parameters
        ----------
        frames : sequence of Frame
        centres : (frames, 2) array, px
            Where the direct disc is, to a fraction of a milliradian.
        """
        data = np.zeros((len(frames), self.templates.shape[2]), np.float32)
        whole = np.empty(len(frames))
        for row, (frame, (x, y)) in enumerate(zip(frames, centres, strict=True)):
            left, top = self.reference.place(x, y)
            moved = _moved(frame.image, *self.reference.off_middle(x, y, left, top))
            image, mask = self.reference.cut(moved, frame.valid, left, top)
            data[row] = np.where(mask, image, 0.0)[self.reference.mask]
            missing = ~mask[self.reference.mask]
            if missing.any():
                data[row, missing] = data[row, ~missing].mean() if (~missing).any() else 0.0
            whole[row] = max(float(((data[row] - data[row].mean()) ** 2).sum()), 1e-30)
        data -= (data @ self.background) @ self.background.T
        m, n, size = self.templates.shape
        scores = data @ self.templates.reshape(m * n, size).T
        explained = np.maximum(scores, 0) ** 2 / whole[:, None]
        beside = 1 - (data**2).sum(axis=1) / whole  # what the background explains
        return [
            self._candidates(1 - beside[i] - explained[i].reshape(m, n), centres[i])
            for i in range(len(frames))
        ]

    def _candidates(self, chi2: Array, centre: Array) -> tuple[list[Candidate], Array]:
        """The deepest minima of χ² (thickness, tilt) that are apart."""
        settings = self.settings
        out: list[Candidate] = []
        curve = np.stack([self.thickness, chi2.min(axis=1)])
        least, left = float(chi2.min()), chi2.copy()
        scale, rotation = self.camera.scale, self.camera.rotation
        for _ in range(settings.candidates):
            i, j = np.unravel_index(int(left.argmin()), left.shape)
            value = float(left[i, j])
            if not np.isfinite(value) or (out and value > least + settings.deeper * least + settings.noise):
                break
            at = np.array([i]), np.array([j])
            layers, beside = self.about(*at)
            (place,) = self.between(*at, chi2[layers[:, :, None], beside[:, None]])
            if not any(self._same(place, (c.thickness, *c.tilt)) for c in out):
                (t, x, y), (col, row) = place.tolist(), centre.tolist()
                out.append(Candidate(t, x, y, col, row, scale, rotation, value))
            near = np.hypot(*(self.tilts - self.tilts[j]).T) < settings.apart[1]
            rows = np.abs(self.thickness - self.thickness[i]) < settings.apart[0]
            left[np.ix_(rows, near)] = np.inf
        return out, curve

    def _same(self, a: Sequence[float] | Array, b: Sequence[float] | Array) -> bool:
        """Whether a refinement would go the same way from two places (thickness, tilt_x, tilt_y)."""
        apart = self.settings.apart
        return abs(a[0] - b[0]) < apart[0] and bool(np.hypot(a[1] - b[1], a[2] - b[2]) < apart[1])

    def about(self, i: Integers, j: Integers) -> tuple[Integers, Integers]:
        """(b, 3) thicknesses and (b, 9) tilts about templates (i, j), by number; themselves at the rim."""
        layers = np.clip(i[:, None] + np.arange(-1, 2), 0, len(self.thickness) - 1)
        beside = self._beside[j]
        return layers, np.where(beside < 0, j[:, None], beside)

    def between(self, i: Integers, j: Integers, chi2: Array) -> Array:
        """(b, 3): thickness (nm) and tilt (mrad) of the least points about templates (i, j).

        chi2 (b, 3, 9) are values at the templates about them.  What is found is rounded, so that it does not
        depend on the order in which a product is summed.
        """
        middle = np.clip(i, 1, len(self.thickness) - 2)
        below, above = (self.thickness[middle + step] - self.thickness[middle] for step in (-1, 1))
        inside = (i == middle) & np.isclose(above, -below)
        around = (self._beside[j] >= 0).all(axis=1)
        steps = np.zeros((len(i), 3))
        for rows, values, axes in (
            (inside & around, chi2, [0, 1, 2]),
            (~inside & around, chi2[:, 1], [1, 2]),
            (inside & ~around, chi2[:, :, 4], [0]),
        ):
            if rows.any():
                part = values[rows].reshape(int(rows.sum()), -1)
                steps[np.ix_(rows, axes)] = least_between(part, len(axes))
        thickness = self.thickness[i] + steps[:, 0] * above
        found = np.column_stack([thickness, self.tilts[j] + steps[:, 1:] @ self._steps])
        grain = np.array([self.settings.grain[0], *2 * [self.settings.grain[1]]])
        return np.asarray(np.rint(found / grain) * grain)


def _moved(image: Array, across: float, down: float) -> Array:
    """An image (rows, cols) at points by less than a pixel to the right and below: linear between pixels.

    A disc that is off the middle of its region looks like a tilt.
    """
    for axis, by in ((1, across), (0, down)):
        n = image.shape[axis]
        beside = np.clip(np.arange(n) + (1 if by > 0 else -1), 0, n - 1)
        image = image + abs(by) * (image.take(beside, axis) - image)
    return image


def _neighbours(at: Integers) -> Integers:
    """(n, 9): which points of a lattice (n, 2) lie about each, row by row; −1 where there is none."""
    number = {tuple(point): j for j, point in enumerate(at.tolist())}
    about = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    return np.array([[number.get((x + a, y + b), -1) for a, b in about] for x, y in at.tolist()])


def _spread(first: float, step: float, count: int, settings: SharedSettings) -> tuple[Array, Integers]:
    """Thicknesses (nm) of the templates, and which of the library's they are."""
    each = max(1, round(settings.thickness_step / step))
    layers = np.unique(np.append(np.arange(0, count, each), count - 1))
    return first + step * layers, layers

"""The whole library against frames of one known camera: every template in a product with the frame.

A template is the pattern of a library point on the coarse pixels of the camera, less what a background of
three columns explains, and divided by its norm.  With f the frame, less the same, the largest share of its
variance that a template explains is max(T f)²/|f|²: one product for all templates, and for many frames.
Thickness and tilt are on a coarse lattice, and patterns are not blurred: a refinement finds the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.candidates import Candidate
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
            image, mask = self.reference.cut(frame.image, frame.valid, *self.reference.place(x, y))
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
        for _ in range(settings.candidates):
            i, j = np.unravel_index(int(left.argmin()), left.shape)
            value = float(left[i, j])
            if not np.isfinite(value) or (out and value > least + settings.deeper * least + settings.noise):
                break
            x, y = self.tilts[j]
            camera = self.camera._replace(centre_x=float(centre[0]), centre_y=float(centre[1]))
            out.append(
                Candidate(
                    float(self.thickness[i]),
                    float(x),
                    float(y),
                    camera.centre_x,
                    camera.centre_y,
                    camera.scale,
                    camera.rotation,
                    value,
                )
            )
            near = np.hypot(*(self.tilts - self.tilts[j]).T) < settings.apart[1]
            rows = np.abs(self.thickness - self.thickness[i]) < settings.apart[0]
            left[np.ix_(rows, near)] = np.inf
        return out, curve


def _spread(
    first: float, step: float, count: int, settings: SharedSettings
) -> tuple[Array, NDArray[np.int64]]:
    """Thicknesses (nm) of the templates, and which of the library's they are."""
    each = max(1, round(settings.thickness_step / step))
    layers = np.unique(np.append(np.arange(0, count, each), count - 1))
    return first + step * layers, layers

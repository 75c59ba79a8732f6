"""χ² against thickness over the whole library, at the tilt and camera of an answer.

A search about a confident seed covers a few nanometres.  This curve shows the other thicknesses in the
picture of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hybridfit.fitting.refine.problem import ROUNDING, Problem
from hybridfit.fitting.refine.refiner import Minimum, Refiner
from hybridfit.fitting.refine.region import Region
from hybridfit.frame import Frame
from hybridfit.model import CAMERA, ForwardModel
from hybridfit.pattern.averaging import LINE
from hybridfit.pattern.camera import Camera, to_angles
from hybridfit.pattern.columns import Columns
from hybridfit.pattern.expand import Table, thickness_weights

Array = NDArray[np.float64]

NODES_NM = 2.0  # between the thicknesses that are composed: patterns in between are right to 1e-3 of χ²
NEAR = 4  # of the library's thicknesses either way of the answer are composed, where χ² is least
POINTS = 6  # that a polynomial goes through


def along_thickness(
    refiner: Refiner, frame: Frame, minimum: Minimum, region: Region, fine_pixel: float
) -> Array:
    """(2, n): thickness (nm) over the whole library, and Σ r² there relative to the pattern's variance.

    Intensity factor and background are fitted at every thickness; everything else is the answer's.

    Parameters
    ----------
    refiner : Refiner
        Of the library in which the minimum was found.
    frame : Frame
    minimum : Minimum
    region : Region
        The pixels to compare.
    fine_pixel : float, mrad
        Wider pixels are divided.
    """
    model = refiner.model(frame, minimum.answer, region, fine_pixel)
    low, high = refiner.library.thickness_range
    step = refiner.settings.refining.curve_step
    count = max(int(np.ceil((high - low) / step)), 1)
    values, answer = minimum.fit.values, minimum.answer.thickness
    thickness = np.union1d(np.linspace(low, high, count + 1), np.clip(answer, low, high))
    problem = Problem(model, region.image[region.mask], np.full(model.n_pixels, 1 / region.variance))
    columns = model.evaluate(values)
    if isinstance(model, ForwardModel):
        patterns = _patterns(model, values, thickness, columns.columns[0])
    else:
        patterns = np.stack([model.pattern({**values, "thickness": float(t)}) for t in thickness])
    chi2 = []
    for t, pattern in zip(thickness, patterns, strict=True):
        own = Columns(np.stack([pattern, *columns.columns[1:]]), model.per_nm * float(t))
        _, image = problem.linear(own)
        chi2.append(((problem.data - image) ** 2).mean() / region.variance)
    return np.stack([thickness, chi2])


def _patterns(model: ForwardModel, values: Mapping[str, float], thickness: Array, known: Array) -> Array:
    """(m, n): the pattern's column at thicknesses (nm), all other values being the same.

    Composed at some of the library's thicknesses and, between them, interpolated by polynomials through
    POINTS of them.  `known` (n,) is the one at the values' own thickness.
    """
    last, spacing = model.table.intensity.shape[0] - 1, model.table.thickness_step
    own, _ = thickness_weights(model.table, values["thickness"])
    stride = max(int(NODES_NM / spacing + ROUNDING), 1)
    near = np.arange(max(own - NEAR, 0), min(own + NEAR + 1, last) + 1)
    planes = np.union1d(np.append(np.arange(0, last, stride), last), near)
    at = {**values, "thickness": float(values["thickness"])}
    nodes = np.stack([model.recorded(at, int(i)) for i in planes])
    spread, limits = values.get("thickness_spread", 0.0), model.thickness_range
    weights = np.zeros((len(thickness), len(planes)))
    for x, w in zip(*LINE, strict=True) if spread else [(0.0, 1.0)]:
        at_nm = np.clip(thickness + spread * x, *limits)
        weights += w * np.stack([_weights(model.table, planes, float(t)) for t in at_nm])
    out = weights @ nodes
    if model.diffuse is not None:
        camera = Camera(*(values[name] for name in CAMERA))
        k = to_angles(model.raster.pixel_col, model.raster.pixel_row, camera)
        tilt = values["tilt_x"], values["tilt_y"]
        layers = model.diffuse.layers_at(k, tilt, values["semi_angle"])
        for row, t in zip(out, thickness, strict=True):
            first_layer, shares = model.diffuse.layers(float(t))
            row += (1 - values.get("vacuum", 0.0)) * (shares @ layers[first_layer : first_layer + 4])
    out[np.isclose(thickness, values["thickness"], rtol=0, atol=ROUNDING)] = known
    return np.asarray(out)


def _weights(table: Table, planes: NDArray[np.int64], thickness: float) -> Array:
    """(planes,): what each counts at a thickness (nm): as in `pattern.expand`, where all four are there."""
    out = np.zeros(len(planes))
    node, (four, _) = thickness_weights(table, thickness)
    own = int(np.searchsorted(planes, node - 1))
    if planes[own : own + 4].tolist() == list(range(node - 1, node + 3)):
        out[own : own + 4] = four
        return out
    x = (thickness - table.thickness_first) / table.thickness_step
    count = min(POINTS, len(planes))
    first = int(np.clip(np.searchsorted(planes, x) - count // 2, 0, len(planes) - count))
    near = planes[first : first + count]
    for i in range(count):
        others = np.delete(near, i)
        out[first + i] = np.prod((x - others) / (near[i] - others))
    return out

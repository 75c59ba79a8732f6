"""Crops in all orientations, and what is said of them turned back.

    np.rot90(crop, k):  (x, y), y down, goes to (y, −x) k times, a rotation by −90° where positive is
                        from +x to +row
    crop[::-1]:         the mirror M from top to bottom, (x, −y)

A network is no better at one orientation than at another, so the mean of what it says of all is better
than what it says of one, and their spread is a measure of doubt.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybridfit.network.weights import Predictions

Array = NDArray[np.floating]


def orientations(crops: NDArray[Any], *, mirrored: bool) -> NDArray[Any]:
    """Crops (n, 2, rows, cols) in four orientations, and those of their mirror images: (4n or 8n, …)."""
    seen = [crops, crops[:, :, ::-1]] if mirrored else [crops]
    return np.concatenate([np.rot90(view, k, axes=(2, 3)) for view in seen for k in range(4)])


def turned_back(moves: Array, k: int) -> Array:
    """Vectors (n, 2) seen in crops that np.rot90 has turned k times, as they are in the crops."""
    x, y = moves.T
    for _ in range(k):
        x, y = -y, x
    return np.stack([x, y], axis=1)


def mean_of_orientations(said: Predictions, count: int, order: int, mirror: Array | None) -> Predictions:
    """The mean of what was said of `orientations` of `count` crops.

    Parameters
    ----------
    said : Predictions
    count, order : int
        Number of crops; rotation order of the projection.
    mirror : (2, 2) or None
        A mirror of the crystal; None where there is none, and no crop was mirrored.
    """
    half = 4 * count
    mean = _mean_of_turns(Predictions(*(values[:half] for values in said)), count, order)
    if mirror is None:
        return mean
    turns = _mean_of_turns(Predictions(*(values[half:] for values in said)), count, order)
    return _mean(mean, _mirrored_back(turns, mirror), order)


def _mean_of_turns(said: Predictions, count: int, order: int) -> Predictions:
    """The mean of what was said of crops turned 0, 1, 2 and 3 times."""
    size, certainty = np.zeros(count), np.zeros(count, complex)
    centre = np.zeros((count, 2))
    thickness, tilt = np.zeros_like(said.thickness[:count]), np.zeros_like(said.tilt[:count])
    for k in range(4):
        part = Predictions(*(values[k * count : (k + 1) * count] for values in said))
        centre += turned_back(part.centre_mrad, k) / 4
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


def _mirrored_back(said: Predictions, mirror: Array) -> Predictions:
    """What was said of mirrored crops, as it is of the crops.

    A mirror S of the crystal along the direction β is S = R(2β) M, so the pattern M R(φ) P is
    R(−φ − 2β) P of the mirrored tilt.
    """
    twice = np.rad2deg(np.arctan2(mirror[1, 0], mirror[0, 0]))
    return said._replace(
        centre_mrad=said.centre_mrad * [1.0, -1.0],
        rotation_deg=-said.rotation_deg - twice,
        tilt=said.tilt[:, ::-1],
    )


def _mean(a: Predictions, b: Predictions, order: int) -> Predictions:
    """The mean of two answers to the same crops."""
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

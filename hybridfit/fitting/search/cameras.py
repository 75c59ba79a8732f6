"""Cameras: which centres and scales are worth trying, and whether the direct disc is whole.

A camera is (centre_x, centre_y, scale): where the direct disc is (px) and how wide a mrad is (px/mrad).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybridfit.errors import InputError
from hybridfit.fitting.hints import Hints
from hybridfit.fitting.search.settings import SEARCH, SearchSettings
from hybridfit.fitting.seed.disc import DISC, bright_edge, quick_disc, rough_discs
from hybridfit.fitting.seed.settings import DiscSettings
from hybridfit.frame import Frame

Array = NDArray[np.float64]


def trial_cameras(
    frame: Frame,
    hints: Hints,
    semi_angle: float,
    settings: SearchSettings = SEARCH,
    finding: DiscSettings = DISC,
) -> Array:
    """(c, 3) centre_x, centre_y (px) and scale (px/mrad) worth trying: grids about the rims of the frame.

    Raises
    ------
    InputError
        No direct disc is found and none was given; or the semi-angle or a hint makes every camera absurd.
    """
    discs: list[tuple[float, float, float]]
    if hints.centre is not None and hints.scale is not None:
        discs = [(*hints.centre, hints.scale)]
    else:
        rough = [
            (*(hints.centre or (disc.centre_x, disc.centre_y)), hints.scale or disc.radius / semi_angle)
            for disc in rough_discs(frame.image, frame.valid, settings=finding)
        ]
        aligned, seen = _aligned(frame, hints, semi_angle, settings)
        aligned = aligned if rough or seen else []
        # a search around hints has no match by the alignment before it
        placed = seen and (hints.thickness is not None or hints.tilt is not None)
        discs = aligned if placed else [*aligned, *rough]
    if not discs:
        raise InputError(
            f"{frame.source}: no direct disc found in the frame; give its centre and scale as hints, "
            "or check the frame"
        )
    parents = np.array(discs)
    can_be = possible(frame, parents, semi_angle, settings)
    if not can_be.any():
        x, y, scale = discs[0]
        rows, cols = frame.image.shape
        raise InputError(
            f"{frame.source}: centre {x:.4g}, {y:.4g} px and scale {scale:.4g} px/mrad cannot be those of a "
            f"frame of {cols} × {rows} px; check the semi-angle ({semi_angle:g} mrad) and the hints"
        )
    cameras = around(parents[can_be], settings.shift_step, settings.scale_step_about(hints))
    whole = disc_outside(frame, cameras, semi_angle) <= settings.disc_outside
    return cameras[whole] if whole.any() else cameras


def _aligned(
    frame: Frame, hints: Hints, semi_angle: float, settings: SearchSettings
) -> tuple[list[tuple[float, float, float]], bool]:
    """The cameras that the alignment network names, and whether the first is that of a disc, not of nothing.

    Far from the zone axis rims mislead, and the region about another camera may hold more of the intensity.
    """
    from hybridfit.fitting.seed.alignment import Aligner  # which reads weights

    aligner = Aligner.shipped(semi_angle, hints=hints)
    if aligner is None or not frame.valid.any():
        return [], False
    found = aligner.discs(frame)
    cameras = np.array([each.camera for each in found])
    can_be = possible(frame, cameras, semi_angle, settings)
    some = [each.camera for each, can in zip(found, can_be, strict=True) if can]
    return some, found[0].doubt <= aligner.settings.nothing and bool(can_be[0])


def possible(
    frame: Frame, cameras: Array, semi_angle: float, settings: SearchSettings = SEARCH
) -> NDArray[np.bool_]:
    """Whether each camera (c, 3) could be that of the frame: anything but absurd, (c,)."""
    rows, cols = frame.image.shape
    x, y, scale = cameras.T
    away = settings.farthest_centre * max(rows, cols)
    seen = (x >= -away) & (x <= cols + away) & (y >= -away) & (y <= rows + away)  # False for NaN
    widest = settings.widest_region * min(rows, cols) / 2
    large = scale * semi_angle >= settings.smallest_disc_px
    return seen & large & (scale * settings.reach(semi_angle) <= widest)


def check_bright(
    frame: Frame, hints: Hints, settings: SearchSettings = SEARCH, finding: DiscSettings = DISC
) -> None:
    """Raise an InputError when what is bright in the frame is cut by its edge: why nothing fits."""
    if hints.centre is not None and hints.scale is not None:
        return
    cut = bright_edge(frame.image, frame.valid, finding)
    if cut > settings.bright_cut:
        rows, cols = frame.image.shape
        raise InputError(
            f"{frame.source}: nothing fits, and what is bright is cut by the edge of the {cols} × {rows} px "
            f"frame over {cut:.0%} of its width; record the direct disc whole, or give centre and scale"
        )


def wide_cameras(
    frame: Frame,
    hints: Hints,
    semi_angle: float,
    settings: SearchSettings = SEARCH,
    finding: DiscSettings = DISC,
) -> Array:
    """(c, 3) cameras on a wide grid about what is bright in the frame, for when its rim misleads."""
    x, y, radius = quick_disc(frame.image, frame.valid, finding)
    scales = (
        np.array([hints.scale]) if hints.scale is not None else settings.wide_scales() * radius / semi_angle
    )
    reach, step = settings.wide_reach, settings.wide_shift_step
    axis = np.arange(-reach, reach + 1e-9, step)
    shifts = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    shifts = shifts[np.hypot(*shifts.T) <= reach]
    if hints.centre is not None:
        (x, y), shifts = hints.centre, np.zeros((1, 2))
    cameras = np.array([(x + scale * dx, y + scale * dy, scale) for scale in scales for dx, dy in shifts])
    cameras = cameras[possible(frame, cameras, semi_angle, settings)]
    whole = disc_outside(frame, cameras, semi_angle) <= settings.disc_outside
    return cameras[whole] if whole.any() else cameras


def around(parents: Array, shift_mrad: float, scale_step: float) -> Array:
    """A 3 × 3 × 3 grid of centres and scales about each parent (centre_x, centre_y, scale)."""
    sizes = (0, -1, 1) if scale_step else (0,)
    steps = np.array([(dx, dy, ds) for ds in sizes for dx in (0, -1, 1) for dy in (0, -1, 1)], float)
    return _moved(parents, steps, shift_mrad, scale_step)


def beside(parents: Array, shift_mrad: float, scale_step: float) -> Array:
    """Each parent (centre_x, centre_y, scale) and its neighbours along one of the three alone."""
    steps = np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)])
    return _moved(parents, steps if scale_step else steps[[0, 1, 2, 4, 5]], shift_mrad, scale_step)


def _moved(parents: Array, steps: Array, shift_mrad: float, scale_step: float) -> Array:
    """Every parent moved by every step (n, 3)."""
    out = np.repeat(parents, len(steps), axis=0)
    steps = np.tile(steps, (len(parents), 1))
    out[:, :2] += steps[:, :2] * shift_mrad * out[:, 2:]
    out[:, 2] *= 1 + steps[:, 2] * scale_step
    return out


def disc_outside(frame: Frame, cameras: Array, semi_angle: float) -> Array:
    """How far the direct disc of each camera sticks out of the frame, in radii; negative is room."""
    rows, cols = frame.image.shape
    x, y, scale = cameras.T
    room = np.minimum.reduce([x + 0.5, y + 0.5, cols - 0.5 - x, rows - 0.5 - y])
    return 1 - room / (semi_angle * scale)


def check_disc(
    frame: Frame, camera: tuple[float, float, float], semi_angle: float, settings: SearchSettings = SEARCH
) -> None:
    """Raise an InputError when the direct disc is cut by the edge of the frame."""
    if disc_outside(frame, np.array([camera]), semi_angle)[0] > settings.disc_outside:
        rows, cols = frame.image.shape
        x, y, scale = camera
        radius = semi_angle * scale
        raise InputError(
            f"{frame.source}: the direct disc (centre {x:.0f}, {y:.0f} px, radius {radius:.0f} px) "
            f"is cut by the edge of the {cols} × {rows} px frame; record it whole, or give centre and scale "
            "as hints if this is wrong"
        )

"""A map whose pattern wanders over the camera, and leaves the frame in a corner."""

from __future__ import annotations

import numpy as np
from small_map import SEMI_ANGLE, mapped, status

from hybridfit import simulate_frame

SHAPE, SIDE = (3, 3), 64


def test_a_pattern_that_leaves_the_frame_is_right_or_told(small_library, small_recipe, tmp_path):
    """The disc has a radius of 19 px; its centre moves 10 px along either axis, to 16 px from the edges."""
    scan, thickness = np.zeros((*SHAPE, SIDE, SIDE), np.uint16), np.zeros(SHAPE)
    for y, x in np.ndindex(SHAPE):
        thickness[y, x] = 30.0 + 2.0 * x
        scan[y, x] = simulate_frame(
            small_library,
            thickness=thickness[y, x],
            semi_angle=SEMI_ANGLE,
            tilt=(0.5 - 0.2 * y, -0.3 + 0.15 * x),
            shape=(SIDE, SIDE),
            electrons=2e6,
            centre=(26.0 - 5.0 * x, 26.0 - 5.0 * y),
            scale=2.1,
            rotation=14.0,
            seed=10 * y + x,
        )[0]
    np.save(tmp_path / "scan.npy", scan)
    found = mapped(tmp_path / "scan.npy", small_recipe, fix={"scale": 2.1, "rotation": 14.0})
    off = np.abs(found["thickness"].values - thickness)
    good = np.array([[status(found, y, x) == "converged" for x in range(3)] for y in range(3)])
    assert good[:2, :2].all() and off[good].max() < 0.2
    assert (
        np.abs(found["centre_x"].values[good] - (26.0 - 5.0 * np.arange(3) * np.ones((3, 1)))[good]).max()
        < 0.1
    )

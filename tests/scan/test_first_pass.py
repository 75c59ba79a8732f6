"""Where direct discs are, by a plane through what a first pass found."""

from __future__ import annotations

import numpy as np

from hybridfit.scan.first_pass import centre_planes, sampled
from hybridfit.scan.rows import COLUMN, STATUSES, Rows

SHAPE = (6, 9)


def rows_at(at, off=0.0, converged=None):
    rows = Rows.empty(len(at))
    y, x = np.array(at).T
    rows.values[:, COLUMN["centre_x"]] = 40 + 0.3 * x - 0.1 * y
    rows.values[:, COLUMN["centre_y"]] = 38 - 0.2 * x + off * (-1.0) ** np.arange(len(at))
    rows.status[:converged] = STATUSES.index("converged")
    return rows


def test_planes_go_through_all_positions():
    at = sampled(SHAPE, 9)
    found = centre_planes(rows_at(at), at, SHAPE)
    y, x = np.indices(SHAPE)
    np.testing.assert_allclose(found[..., 0], 40 + 0.3 * x - 0.1 * y, atol=1e-9)
    np.testing.assert_allclose(found[..., 1], 38 - 0.2 * x, atol=1e-9)


def test_what_lies_on_no_plane_is_not_said_to():
    at = sampled(SHAPE, 9)
    assert centre_planes(rows_at(at, off=3.0), at, SHAPE) is None
    assert centre_planes(rows_at(at, converged=2), at, SHAPE) is None

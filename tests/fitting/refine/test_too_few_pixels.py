"""What is said of a pattern with too few pixels."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.fitting.refine.region import too_few_pixels
from hybridfit.frame import make_frame


@pytest.mark.parametrize(
    ("side", "remedy"),
    [
        (16, "16 × 16 px is too small for a whole pattern, which needs about 24 px a side: if it was binned"),
        (24, "200 are needed; bin or mask less"),
        (128, "200 are needed; bin or mask less"),
    ],
)
def test_the_remedy_goes_with_the_size_of_the_frame(side, remedy):
    frame = make_frame(np.random.default_rng(side).poisson(100.0, (side, side)))
    said = str(too_few_pixels(frame, 0.31, 138, 200))
    assert remedy in said and "at 0.31 px/mrad has only 138 usable pixels" in said

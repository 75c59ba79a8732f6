"""A fit to report on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tifffile

from hybridfit import Candidate, Fitter, simulate_frame
from hybridfit.fitting.result import FitResult


@pytest.fixture(scope="session")
def fitted(small_library, tmp_path_factory) -> FitResult:
    """A fit of a file, by refinement near the truth."""
    image, _ = simulate_frame(
        small_library,
        thickness=32.6,
        tilt=(0.9, -0.4),
        semi_angle=12.0,
        shape=(96, 96),
        centre=(49.2, 46.1),
        scale=2.4,
        rotation=17.0,
        electrons=3e6,
    )
    path = tmp_path_factory.mktemp("frames") / "frame.tif"
    tifffile.imwrite(path, image.astype("uint16"))
    near = Candidate(33.0, 0.8, -0.3, 49.0, 46.0, 2.4, 17.0)
    return replace(Fitter(small_library, 12.0, method="lsf").refine(image, near), source=str(path))

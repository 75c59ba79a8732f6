"""A fit to report on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hybridfit.fitting.result import FitResult


@pytest.fixture(scope="session")
def fitted(made_result, tmp_path_factory) -> FitResult:
    """A fit of a file that is there."""
    path = tmp_path_factory.mktemp("frames") / "frame.tif"
    path.write_bytes(b"II*\0 as good as a picture")
    return replace(made_result, source=str(path))

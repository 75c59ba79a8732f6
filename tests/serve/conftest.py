"""Servers: one without workers, whose queue only fills, and one with workers and the small library."""

from __future__ import annotations

import importlib.util
import io
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybridfit import simulate_frame

NEEDED = ("fastapi", "uvicorn", "python_multipart", "httpx")
THERE = all(importlib.util.find_spec(name) for name in NEEDED)
collect_ignore_glob = [] if THERE else ["test_*.py"]

if THERE:
    from serving import SEMI_ANGLE, TRUTH, Served, started

    from hybridfit.serve.settings import ServeSettings


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Served]:
    """A server whose workers are never started; it knows of a built library, and of one that is not."""
    built = tmp_path / "built.nc"
    built.touch()
    (tmp_path / "scans").mkdir()
    settings = ServeSettings(session=tmp_path / "session", folders={"scans": tmp_path / "scans"})
    served = started(settings)
    about = {
        "title": "",
        "crystal": "SrTiO3",
        "zone": [0, 0, 1],
        "energy_kv": 200.0,
        "has_network": False,
        "semi_angles": [0.0, 14.0],
        "thickness_nm": [1.0, 60.0],
        "structure": [],
    }
    known = [{**about, "name": "small", "path": "small", "file": str(built)}]
    known.append({**about, "name": "later", "path": "later", "file": str(tmp_path / "none.nc")})
    served.state._told({"libraries": known})
    yield served
    served.state.close()


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, small_recipe: Path, small_library: Any
) -> Iterator[Served]:
    """A server with workers; its library is `small`, made here, with nothing to warm up."""
    folder = tmp_path_factory.mktemp("served")
    own = folder / "session" / "libraries" / "small"
    own.mkdir(parents=True)
    for file in small_recipe.parent.iterdir():
        shutil.copy(file, own)
    (folder / "scans").mkdir()
    settings = ServeSettings(
        session=folder / "session", folders={"scans": folder / "scans"}, warm=False, workers=1
    )
    found = started(settings)
    with found.client:
        yield found


@pytest.fixture(scope="session")
def frame(small_library: Any) -> np.ndarray:
    """(96, 96) counts of the small library."""
    image, _ = simulate_frame(
        small_library, semi_angle=SEMI_ANGLE, shape=(96, 96), electrons=2e6, rotation=14.0, **TRUTH
    )
    return image.astype(np.uint16)


@pytest.fixture(scope="session")
def npy() -> Callable[[np.ndarray], bytes]:
    """An array as the bytes of a .npy file."""

    def npy(array: np.ndarray) -> bytes:
        out = io.BytesIO()
        np.save(out, array)
        return out.getvalue()

    return npy


@pytest.fixture(scope="session")
def until() -> Callable[[Callable[[], Any]], Any]:
    """Wait until something is true, and return it."""

    def until(ready: Callable[[], Any], seconds: float = 90.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := ready()):
            assert time.monotonic() < deadline, "it took too long"
            time.sleep(0.05)  # looking takes time from what is waited for
        return found

    return until

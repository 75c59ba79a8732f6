"""Run commands in this process; a simulated frame, and the options of its fits."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tifffile

from hybridfit import cli
from hybridfit.library.library import Library
from hybridfit.simulate.frame import simulate_frame

SEMI_ANGLE = 12.0
# older results, which must stay as they are; a command may replace files of their kind
OLD = {".json": b"[1, 2]", ".png": b"\x89PNG\r\n\x1a\nold"}


class Ran(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """Run the command line in this process."""

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        code = cli.main([str(a) for a in arguments])
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def simulated(small_library: Library) -> tuple[np.ndarray, dict]:
    """A 96 × 96 frame, and the truth about it."""
    image, truth = simulate_frame(
        small_library,
        thickness=32.6,
        tilt=(0.9, -0.4),
        semi_angle=SEMI_ANGLE,
        shape=(96, 96),
        centre=(49.2, 46.1),
        rotation=17.0,
        electrons=3e6,
    )
    return image.astype(np.uint16), truth


@pytest.fixture(scope="session")
def frame(simulated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulated frame as a TIFF."""
    path = tmp_path_factory.mktemp("frames") / "frame.tif"
    tifffile.imwrite(path, simulated[0])
    return path


@pytest.fixture(scope="session")
def options(small_library: Library, small_recipe: Path) -> list[str]:
    """Options of every fit of these frames; the library is in the cache."""
    return ["--library", str(small_recipe), "--semi-angle", f"{SEMI_ANGLE:g}"]


@pytest.fixture(scope="session")
def hints() -> list[str]:
    """Hints that make a fit of the simulated frame fast."""
    return "--hint-thickness 33 --hint-tilt 1,-0.5 --hint-centre 49,46 --hint-scale 2.4".split()


@pytest.fixture
def outputs(tmp_path: Path) -> list[object]:
    """The files that `refused` watches."""
    return ["--json", tmp_path / "out.json", "--plot", tmp_path / "fit.png"]


@pytest.fixture
def refused(run, tmp_path):
    """Run a command that must fail in one line that contains some words, and change no file."""

    def refused(words: str, *arguments: object) -> None:
        for path in (tmp_path / "out.json", tmp_path / "fit.png"):
            if not path.exists():
                path.write_bytes(OLD[path.suffix])
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        ran = run(*arguments)
        assert ran.code == 2, ran
        assert ran.err.startswith("hybridfit: ") and ran.err.endswith("\n") and ran.err.count("\n") == 1
        assert "Traceback" not in ran.err + ran.out
        assert words in ran.err
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

    return refused

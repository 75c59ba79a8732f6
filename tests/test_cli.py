"""The command line: what it prints, what it writes, and one clear line for everything it cannot use."""

from __future__ import annotations

import json
import os
import pickle
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr

from hybridfit import cli
from hybridfit.fitting.engine import Fitter
from hybridfit.fitting.result import Status
from hybridfit.library import Library
from hybridfit.simulate import simulate_frame

SEMI_ANGLE = 12.0
OLD = b"an older file, which must stay as it is"


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

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
    """What every fit of these frames needs; the library is in the cache by then."""
    return ["--library", str(small_recipe), "--semi-angle", f"{SEMI_ANGLE:g}"]


HINTS = ["--hint-thickness", "33", "--hint-tilt", "1,-0.5", "--hint-centre", "49,46", "--hint-scale", "2.4"]


# ------------------------------------------------------------------------------------------- answers


def test_fit_writes_the_json_of_the_contract_and_a_picture(run, frame, options, simulated, tmp_path):
    out, picture = tmp_path / "out.json", tmp_path / "fit.png"
    ran = run("fit", frame, *options, "--json", out, "--plot", picture)
    assert (ran.code, ran.err) == (0, "")
    assert f"{frame}: The fit converged." in ran.out
    assert ran.out.splitlines()[-1] == f"Written: {picture}, {out}"
    assert picture.read_bytes().startswith(b"\x89PNG")

    (answer,) = json.loads(out.read_text())
    truth = simulated[1]
    measured = {
        "thickness_nm": "thickness",
        "tilt_x_mrad": "tilt_x",
        "tilt_y_mrad": "tilt_y",
        "centre_x_px": "centre_x",
        "centre_y_px": "centre_y",
        "scale_px_per_mrad": "scale",
        "rotation_deg": "rotation",
        "blur_mrad": "blur",
    }
    for key, name in measured.items():
        value = answer[key]
        assert abs(value["value"] - truth[name]) < 5 * value["stderr"], key
        low, high = value["interval95"]
        assert low < value["value"] < high
    assert answer["semi_angle_mrad"] == {"value": SEMI_ANGLE, "stderr": None, "interval95": None}
    assert (answer["file"], answer["method"], answer["status"]) == (str(frame), "lsf", "converged")
    assert answer["message"] == "The fit converged."
    assert answer["structure"] == {}
    assert answer["intensity_factor"] > 0 and len(answer["background"]) == 3
    assert 0 < answer["residual_fraction"] < 0.02 and 0.8 < answer["reduced_chi2"] < 1.3
    assert set(answer["seconds"]) == {"seed", "search", "refine", "total"}
    assert answer["candidates"]
    for candidate in answer["candidates"]:
        assert set(candidate) == {"thickness_nm", "tilt_x_mrad", "tilt_y_mrad", "probability", "chi2"}


def test_several_patterns_are_numbered(run, frame, options, simulated, tmp_path):
    stack = tmp_path / "stack.npy"
    np.save(stack, np.stack([simulated[0], simulated[0][::-1]]))
    out = tmp_path / "out.json"
    ran = run("fit", frame, stack, *options, *HINTS, "--json", out, "--plot", tmp_path / "fit.svg")
    assert (ran.code, ran.err) == (0, "")
    assert [o["file"] for o in json.loads(out.read_text())] == [str(frame), f"{stack}[0]", f"{stack}[1]"]
    assert sorted(p.name for p in tmp_path.glob("*.svg")) == ["fit-1.svg", "fit-2.svg", "fit-3.svg"]


def test_fix_free_mask_and_quiet(run, frame, options, tmp_path):
    mask = np.zeros((96, 96), bool)
    mask[:, 60:62] = True
    np.save(tmp_path / "mask.npy", mask)
    out = tmp_path / "out.json"
    changes = ["--fix", "blur=0.25", "--fix", "rotation", "--free", "semi_angle", "--hint-rotation", "17"]
    more = ["--mask", tmp_path / "mask.npy", "--background", "uniform", "--quiet"]
    ran = run("fit", frame, *options, *HINTS, *changes, *more, "--json", out)
    assert ran == Ran(0, "", "")
    (answer,) = json.loads(out.read_text())
    assert answer["blur_mrad"] == {"value": 0.25, "stderr": None, "interval95": None}
    assert answer["rotation_deg"]["stderr"] is None
    assert answer["semi_angle_mrad"]["stderr"] > 0
    assert len(answer["background"]) == 1


def test_what_the_mask_leaves_out_may_be_nan(run, options, simulated, tmp_path):
    image, mask = simulated[0].astype(float), np.zeros((96, 96), np.uint8)
    image[30:33], mask[30:33] = np.nan, 255
    np.save(tmp_path / "frame.npy", image)
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    ran = run("fit", tmp_path / "frame.npy", *options, *HINTS, "--mask", tmp_path / "mask.tif")
    assert (ran.code, ran.err) == (0, "")


def test_raw_frames_and_datasets(run, options, simulated, tmp_path):
    raw, nc = tmp_path / "frame.raw", tmp_path / "frame.nc"
    raw.write_bytes(b"header" + simulated[0].astype(">u2").tobytes())
    rows = ("row", "col")
    xr.Dataset({"one": (rows, simulated[0]), "other": (rows, simulated[0][::-1])}).to_netcdf(nc)
    shape = ["--shape", "96,96", "--dtype", ">u2", "--offset", "6"]
    assert run("fit", raw, *options, *HINTS, *shape).code == 0
    assert run("fit", nc, *options, *HINTS, "--dataset", "one").code == 0


def test_an_answer_with_a_warning_exits_0_and_a_failed_fit_1(run, frame, options, tmp_path, monkeypatch):
    original = Fitter.fit
    for status, code in ((Status.poor_match, 0), (Status.failed, 1)):
        message = status.value.format(detail="…")

        def fit(self, image, status=status, message=message):
            return replace(original(self, image), status=status, message=message)

        monkeypatch.setattr(Fitter, "fit", fit)
        out = tmp_path / f"{code}.json"
        ran = run("fit", frame, *options, *HINTS, "--json", out)
        assert (ran.code, ran.err) == (code, "")
        assert message in ran.out
        assert json.loads(out.read_text())[0]["status"] == status.name


def test_demo_ends_with_a_line_that_can_be_typed(run, small_recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = run("demo", "--library", small_recipe, "--seed", 3)
    assert (ran.code, ran.err) == (0, "")
    assert Path("demo.png").read_bytes().startswith(b"\x89PNG")
    assert "truth" in ran.out and "42.3000" in ran.out
    pulls = [float(line.split()[-1]) for line in ran.out.splitlines() if line.startswith(("thick", "tilt"))]
    assert len(pulls) == 3 and max(map(abs, pulls)) < 5
    last = ran.out.splitlines()[-1]
    assert last.startswith("Next: hybridfit fit demo_frame.tif --semi-angle 13.6 ")
    ran = run(*shlex.split(last)[2:], "--hint-thickness", "42", "--hint-tilt", "1.3,-0.7")  # is quicker
    assert (ran.code, ran.err) == (0, "")
    assert Path("fit.png").exists()


# ----------------------------------------------------------------------------------------- libraries


def test_library_build_show_list(run, small_recipe, small_library, tmp_path):
    recipe, target = tmp_path / "tiny.toml", tmp_path / "tiny.nc"
    text = small_recipe.read_text().replace("semi_angle_max = 14.0", "semi_angle_max = 4.0")
    text = text.replace("stop = 60.0", "stop = 5.0").replace(
        '"SrTiO3.cif"', f'"{small_recipe.parent}/SrTiO3.cif"'
    )
    recipe.write_text(text)
    before = run("library", "show", recipe)
    assert before.code == 0 and "library build" in before.out
    ran = run("library", "build", recipe, "-o", target, "--device", "cpu")
    assert (ran.code, ran.err) == (0, "") and str(target) in ran.out
    assert Library.open(target).thickness_range == (1.0, 5.0)
    shown = run("library", "show", target)
    assert shown.code == 0 and "0 0 1" in shown.out and "1 … 5" in shown.out
    assert run("library", "build", recipe).code == 0  # into the cache
    listed = run("library", "list").out
    assert "SrTiO3_001_200kV" in listed and "tiny" in listed and "small" in listed


def test_a_build_that_is_interrupted_leaves_nothing(run, small_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(xr.Dataset, "to_netcdf", lambda *a, **k: signal.raise_signal(signal.SIGINT))
    target = tmp_path / "half.nc"
    ran = run("library", "build", small_recipe, "-o", target)
    assert (ran.code, ran.out) == (130, "")
    assert ran.err == "hybridfit: interrupted; nothing was written\n"
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_ends_a_fit_and_the_threads_that_work_for_it(run, frame, options, tmp_path, monkeypatch):
    out = tmp_path / "out.json"
    out.write_bytes(OLD)

    def interrupted(self, image):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            with pytest.raises(KeyboardInterrupt):  # what a thread gets that reports its progress
                self.progress("search", 0.5)
            raise

    monkeypatch.setattr(Fitter, "fit", interrupted)
    ran = run("fit", frame, *options, "--json", out)
    assert ran == Ran(130, "", "hybridfit: interrupted; nothing was written\n")
    assert out.read_bytes() == OLD
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# ------------------------------------------------------------------------------------------ bad input


@pytest.fixture
def refused(run, tmp_path):
    """Run a command that must fail in one line that contains some words, and change no file."""

    def refused(words: str, *arguments: object) -> None:
        for path in (tmp_path / "out.json", tmp_path / "fit.png"):
            if not path.exists():
                path.write_bytes(OLD)
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        ran = run(*arguments)
        assert ran.code == 2, ran
        assert ran.err.startswith("hybridfit: ") and ran.err.endswith("\n") and ran.err.count("\n") == 1
        assert "Traceback" not in ran.err + ran.out
        assert words in ran.err
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

    return refused


def outputs(tmp_path: Path) -> list[object]:
    return ["--json", tmp_path / "out.json", "--plot", tmp_path / "fit.png"]


def bad_files(folder: Path, good: np.ndarray) -> dict[str, tuple[Path, str]]:
    """Files that hold no usable frame, and the words that the message must have."""
    arrays = {
        "nan": (np.where(good == good.max(), np.nan, good), "NaN"),
        "inf": (np.where(good == good.max(), np.inf, good), "infinite"),
        "zeros": (np.zeros((64, 64)), "zero in every usable pixel"),
        "constant": (np.full((64, 64), 7.5), "7.5 in every usable pixel"),
        "saturated": (np.minimum(good, np.median(good[good > good.mean()])), "saturated"),
        "small": (good[:31], "31 by 96 px"),
        "one-dimensional": (good[0], "1 dimensions"),
        "four-dimensional": (good[None, None], "4-D array"),
        "complex": (good * 1j, "complex128"),
    }
    out = {}
    for name, (array, words) in arrays.items():
        np.save(folder / f"{name}.npy", array)
        out[name] = folder / f"{name}.npy", words
    out["missing"] = folder / "missing.tif", "missing.tif does not exist"
    files = {
        "text.png": (b"this is no picture", "cannot be read as PNG"),
        "pickled.npy": (pickle.dumps(good), "pickled"),
        "empty.tif": (b"", "empty"),
        "unknown.xyz": (b"123", ".xyz"),
        "noshape.raw": (good.tobytes(), "shape"),
    }
    tifffile.imwrite(folder / "whole.tif", good)
    files["truncated.tif"] = ((folder / "whole.tif").read_bytes()[:-1000], "truncated")
    for name, (content, words) in files.items():
        (folder / name).write_bytes(content)
        out[name] = folder / name, words
    return out


def test_unusable_frames(refused, options, frame, simulated, tmp_path):
    for name, (path, words) in bad_files(tmp_path, simulated[0]).items():
        refused(words, "fit", path, *options, *outputs(tmp_path))
        # among others: nothing is fitted before all are read
        refused(name.split(".")[0], "fit", frame, path, *options, *outputs(tmp_path))


@pytest.fixture(scope="session")
def cut(small_library: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frame whose left edge cuts the direct disc."""
    path = tmp_path_factory.mktemp("cut") / "cut.npy"
    place = {"shape": (96, 96), "scale": 2.4, "centre": (14.0, 48.0)}
    image, _ = simulate_frame(small_library, thickness=30.0, semi_angle=SEMI_ANGLE, electrons=1e7, **place)
    np.save(path, image)
    return path


def test_a_disc_that_the_frame_cuts_by_its_hints(refused, options, cut, tmp_path):
    hints = ["--hint-centre", "14,48", "--hint-scale", "2.4"]
    refused("cut by the edge", "fit", cut, *options, *hints, *outputs(tmp_path))


def test_a_disc_that_the_frame_cuts(refused, options, cut, tmp_path):
    hints = ["--hint-thickness", "30", "--hint-tilt", "0,0"]
    refused("cut by the edge", "fit", cut, *options, *hints, *outputs(tmp_path))


BAD_OPTIONS = [
    ("'nosuch'", ["--fix", "nosuch=1"]),
    ("'nosuch'", ["--free", "nosuch"]),
    ("'much'", ["--fix", "blur=much"]),
    ("'nan'", ["--fix", "blur=nan"]),
    ("'green'", ["--background", "green"]),
    ("'cnn' is not in this version", ["--method", "cnn"]),
    ("'hybrid' is not in this version", ["--method", "hybrid"]),
    ("'guess' is unknown", ["--method", "guess"]),
    ("unknown library 'GaN'", ["--library", "GaN"]),
    ("nosuch.nc", ["--library", "nosuch.nc"]),
    ("nosuch.toml", ["--library", "nosuch.toml"]),
    ("semi-angle 24 mrad", ["--semi-angle", "24"]),
    ("semi-angle 0 mrad", ["--semi-angle", "0"]),
    ("semi-angle -3 mrad", ["--semi-angle", "-3"]),
    ("'nan'", ["--semi-angle", "nan"]),
    ("'wide'", ["--semi-angle", "wide"]),
    ("scale 0 px/mrad", ["--hint-scale", "0"]),
    ("scale 1e+06 px/mrad", ["--hint-scale", "1e6"]),
    ("centre 1000, 5 px", ["--hint-centre", "1000,5"]),
    ("'5'", ["--hint-centre", "5"]),
    ("'b'", ["--hint-tilt", "1,b"]),
    ("500 nm", ["--hint-thickness", "500"]),
    ("50, 0 mrad", ["--hint-tilt", "50,0"]),
    ("'inf'", ["--hint-rotation", "inf"]),
    ("'96'", ["--shape", "96"]),
    ("dataset", ["--dataset", "one"]),
    ("shape", ["--shape", "96,96", "--dtype", "u2"]),
    ("mask nosuch.png", ["--mask", "nosuch.png"]),
    ("--nosuch", ["--nosuch"]),
]


@pytest.mark.parametrize(("words", "bad"), BAD_OPTIONS, ids=[" ".join(bad) for _, bad in BAD_OPTIONS])
def test_unusable_options(refused, options, frame, tmp_path, words, bad):
    refused(words, "fit", frame, *options, *outputs(tmp_path), *bad)


UNCHECKED = [
    ("1000", ["--fix", "thickness=1000"]),
    ("20", ["--fix", "tilt_x=20"]),
    ("0", ["--fix", "scale=0"]),
    ("-1", ["--fix", "blur=-1"]),
    ("1", ["--fix", "ellipticity_a=1"]),
]


@pytest.mark.parametrize(("words", "bad"), UNCHECKED, ids=[" ".join(bad) for _, bad in UNCHECKED])
def test_values_outside_the_library(refused, options, frame, tmp_path, words, bad):
    refused(words, "fit", frame, *options, *HINTS, *outputs(tmp_path), *bad)


def test_unusable_outputs(refused, options, frame, tmp_path):
    (tmp_path / "folder").mkdir()
    for words, bad in {
        "no.bmp": ["--plot", tmp_path / "no.bmp"],
        "without a suffix": ["--plot", tmp_path / "no"],
        "nosuch": ["--json", tmp_path / "nosuch" / "out.json"],
        "not a file": ["--json", tmp_path / "folder"],
        "overwrite": ["--json", frame],
        "would overwrite": ["--plot", tmp_path / "x.png", "--json", tmp_path / "x.png"],
    }.items():
        refused(words, "fit", frame, *options, *bad)
    refused("demo.bmp", "demo", "--output", tmp_path / "demo.bmp")
    refused("nosuch", "demo", "--output", tmp_path / "nosuch" / "demo.png")


def test_masks_that_do_not_fit(refused, options, frame, tmp_path):
    np.save(tmp_path / "other.npy", np.zeros((95, 96), bool))
    refused("(95, 96)", "fit", frame, *options, *outputs(tmp_path), "--mask", tmp_path / "other.npy")
    np.save(tmp_path / "all.npy", np.ones((96, 96), bool))
    refused("no pixel left", "fit", frame, *options, *outputs(tmp_path), "--mask", tmp_path / "all.npy")
    (tmp_path / "text.png").write_text("no mask")
    refused("cannot be read", "fit", frame, *options, *outputs(tmp_path), "--mask", tmp_path / "text.png")


def test_foreign_damaged_and_older_libraries(refused, frame, small_library, tmp_path):
    xr.Dataset({"image": (("y", "x"), np.ones((4, 4)))}).to_netcdf(tmp_path / "foreign.nc")
    (tmp_path / "damaged.nc").write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    older = small_library.dataset.isel(thickness=slice(0, 4)).copy()
    older.attrs = {**older.attrs, "version": 0}
    Library(older).save(tmp_path / "older.nc")
    for name, words in (
        ("foreign", "no hybridfit library"),
        ("damaged", "cannot be read"),
        ("older", "format 0"),
    ):
        path = tmp_path / f"{name}.nc"
        refused(words, "fit", frame, "--semi-angle", "12", "--library", path, *outputs(tmp_path))
        refused(words, "library", "show", path)


def test_unusable_recipes_and_devices(refused, small_recipe, tmp_path):
    (tmp_path / "bad.toml").write_text("zone = 3")
    refused("bad.toml", "library", "build", tmp_path / "bad.toml")
    refused("'GaN'", "library", "build", "GaN")
    refused("'quantum'", "library", "build", small_recipe, "--device", "quantum")
    refused("tiny.zarr", "library", "build", small_recipe, "-o", tmp_path / "tiny.zarr")
    refused("not a recipe", "library", "build", tmp_path / "tiny.nc")
    refused("seed", "demo", "--seed", "-1", "--output", tmp_path / "fit.png")


def test_a_failure_while_writing_leaves_every_old_file(run, frame, options, tmp_path, monkeypatch):
    from hybridfit.fitting.result import FitResult

    out, picture = tmp_path / "out.json", tmp_path / "fit.png"
    out.write_bytes(OLD)
    picture.write_bytes(OLD)

    def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FitResult, "to_json", full)
    ran = run("fit", frame, *options, *HINTS, "--json", out, "--plot", picture)
    assert ran.code == 2 and "No space left" in ran.err and ran.err.count("\n") == 1
    assert out.read_bytes() == picture.read_bytes() == OLD
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fit.png", "out.json"]


# -------------------------------------------------------------------------------------- real processes


def process(*arguments: object) -> subprocess.CompletedProcess[str]:
    root = Path(cli.__file__).parents[1]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "hybridfit.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
        timeout=120,
    )


def test_help_needs_none_of_the_heavy_packages():
    code = (
        "import sys; from hybridfit.cli import main; main(['--help']); main(['fit', '--help'])\n"
        "heavy = {'numpy', 'torch', 'xarray', 'lmfit', 'numba', 'scipy', 'matplotlib', 'rich'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    root = Path(cli.__file__).parents[1]
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=60)
    assert ran.stdout.splitlines()[-1] == "heavy: []", ran
    assert "--semi-angle" in ran.stdout and "demo" in ran.stdout


def test_version_and_bad_input_in_a_process(tmp_path):
    ran = process("--version")
    assert ran.returncode == 0 and ran.stdout.startswith("hybridfit ") and not ran.stderr
    ran = process("fit", tmp_path / "missing.tif", "--semi-angle", "13.6")
    assert ran.returncode == 2 and ran.stderr.count("\n") == 1 and "missing.tif" in ran.stderr
    assert not ran.stdout


def test_help_of_everything(run):
    for words in ([], ["library"], ["--help"], ["fit", "-h"], ["demo", "--help"], ["library", "build", "-h"]):
        ran = run(*words)
        assert ran.code == 0 and "Usage: hybridfit" in ran.out and not ran.err

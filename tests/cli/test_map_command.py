"""`hybridfit map` and `hybridfit show`, as users type them."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from hybridfit import simulate_frame
from hybridfit.scan.maps import read_map


@pytest.fixture(scope="module")
def scan(small_library, tmp_path_factory):
    """Two positions."""
    path = tmp_path_factory.mktemp("scan") / "scan.npy"
    frames = [
        simulate_frame(
            small_library, thickness=t, tilt=(0.4, -0.3), semi_angle=9.0, shape=(80, 80), scale=2.6, seed=i
        )[0]
        for i, t in enumerate((28.0, 31.0))
    ]
    np.save(path, np.array(frames, np.uint16)[None])
    return path


OPTIONS = ("--semi-angle", "9", "--fix", "scale=2.6", "--fix", "rotation=0", "--workers", "1")


def test_a_map_and_what_is_shown_of_it(run, scan, small_recipe, tmp_path):
    out, table, picture = tmp_path / "map.nc", tmp_path / "map.csv", tmp_path / "map.png"
    words = ["map", scan, *OPTIONS, "--library", small_recipe, "-o", out, "--csv", table, "--plot", picture]
    ran = run(*words)
    assert ran.code == 0 and "1 × 2 positions: 2 converged" in ran.out
    assert read_map(out)["thickness"].values[0] == pytest.approx([28, 31], abs=0.3)
    with table.open() as file:
        assert [float(row["thickness"]) for row in csv.DictReader(file)] == pytest.approx([28, 31], abs=0.3)
    assert picture.stat().st_size > 10_000
    ran = run("show", out)
    assert ran.code == 0 and "2 converged" in ran.out
    ran = run("show", out, "--at", "0,1", "--plot", tmp_path / "fit.png")
    assert ran.code == 0 and "scan.npy[0,1]: The fit converged." in ran.out
    assert (tmp_path / "fit.png").stat().st_size > 10_000
    assert run(*words).code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--roi", "all"), "--roi 'all' is no region; give rows and columns, such as 0:64,10:74"),
        (("--roi", "0:3,0:1"), "roi 0:3,0:1 is not inside the scan of 1 × 2 positions"),
        (("-o", "map.tif"), "cannot hold a map; give a name that ends in .nc"),
        (("--common", "colour"), "unknown parameter 'colour'"),
        (("--scan-shape", "3,3"), "holds 2 frames; scan_shape 3,3 makes 9"),
        (("--method", "magic"), "unknown method 'magic'"),
        (("--scheduler", "tcp://127.0.0.1:9"), "no dask scheduler answers at tcp://127.0.0.1:9"),
        (("--mask", "nowhere.tif"), "mask nowhere.tif does not exist"),
        (("--plot", "map.doc"), "pictures are written as"),
    ],
)
def test_what_cannot_be_done_is_one_line(run, scan, small_recipe, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    if words[0] == "--scheduler":
        pytest.importorskip("distributed")
        monkeypatch.setattr("hybridfit.scan.pool.PATIENCE", "1s")
    ran = run("map", scan, *OPTIONS, "--library", small_recipe, *words)
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere.nc",), "there is no map nowhere.nc"),
        (("other.nc",), "other.nc cannot be read as a map"),
        (("nowhere.nc", "--at", "1"), "there is no map"),
    ],
)
def test_a_file_that_is_no_map_is_refused(run, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.nc").write_text("no netCDF")
    ran = run("show", *words)
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1

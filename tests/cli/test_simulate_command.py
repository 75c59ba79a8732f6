"""`hybridfit simulate`: files that can be fitted at once, and their truth."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
import tifffile
import xarray as xr

SMALL = "--semi-angle 12 --size 2,3 --frame 40,48 --bend 2 --electrons 1e5 --step 0.8".split()


@pytest.mark.parametrize("name", ["scan.nc", "scan.npy"])
def test_a_scan_and_its_truth(run, small_recipe, tmp_path, name):
    path = tmp_path / name
    ran = run("simulate", "scan", path, "--library", small_recipe, *SMALL, "--thickness", "20,26")
    assert (ran.code, ran.err) == (0, "") and ran.out.startswith(f"{path}: 2 × 3 frames of 40 × 48 px")
    truth_at = ran.out.rstrip(".\n").split("the truth is in ")[1]
    truth = xr.load_dataset(truth_at)
    frames = truth.frames.values if name.endswith("nc") else np.load(path)
    assert frames.shape == (2, 3, 40, 48) and frames.dtype == np.uint16
    assert truth.thickness.values[0, 0] == 20 and truth.thickness.values[-1, -1] == 26
    assert truth.attrs["step_nm"] == 0.8
    ran = run("simulate", "scan", path, "--library", small_recipe, *SMALL, "--vacuum", "0.4", "--quiet")
    assert ran == (0, "", "")
    with xr.open_dataset(truth_at) as truth:
        assert int(truth.vacuum.sum()) == 2


def test_a_frame_ends_with_a_line_that_can_be_typed(run, small_recipe, tmp_path):
    path = tmp_path / "frame.tif"
    options = "--semi-angle 12 --size 96,112 --thickness 33 --tilt 1,-0.5 --electrons 1e6".split()
    ran = run("simulate", "frame", path, "--library", small_recipe, *options)
    assert (ran.code, ran.err) == (0, "")
    assert tifffile.imread(path).shape == (96, 112)
    assert any(line.split()[:3] == ["thickness", "33", "nm"] for line in ran.out.splitlines())
    last = ran.out.splitlines()[-1]
    assert last.startswith(f"Next: hybridfit fit {path} --semi-angle 12 ")
    ran = run(*shlex.split(last)[2:], *"--hint-thickness 33 --hint-tilt 1,-0.5 --hint-rotation 23".split())
    assert (ran.code, ran.err) == (0, "")


def test_help_is_printed_without_a_command(run):
    ran = run("simulate")
    assert ran.code == 0 and "scan" in ran.out and "frame" in ran.out


def test_unusable_arguments(refused, small_recipe, tmp_path):
    library = ["--library", small_recipe]
    out = tmp_path / "scan.nc"
    refused(".nc or .npy", "simulate", "scan", tmp_path / "scan.h5")
    refused("nosuch", "simulate", "scan", tmp_path / "nosuch" / "scan.nc")
    refused("--size '64'", "simulate", "scan", out, "--size", "64")
    refused("--size '0,3'", "simulate", "scan", out, "--size", "0,3")
    refused("'thick'", "simulate", "scan", out, "--thickness", "thick")
    refused("'nan'", "simulate", "scan", out, "--bend", "nan")
    refused("24 mrad", "simulate", "scan", out, "--semi-angle", "24", *library)
    refused("vacuum 2", "simulate", "scan", out, *SMALL, "--vacuum", "2", *library)
    refused("dtype 'x'", "simulate", "scan", out, *SMALL, "--dtype", "x", *library)
    refused(".tif", "simulate", "frame", tmp_path / "frame.png")
    refused("500", "simulate", "frame", tmp_path / "f.tif", "--thickness", "500", *library)

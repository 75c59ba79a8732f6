"""`hybridfit export`."""

from __future__ import annotations

import pytest

from hybridfit.scan.made import TITLE


@pytest.fixture
def map_file(make_map, tmp_path, monkeypatch):
    """A map in a file; checks of a whole map are other tests'."""
    path = tmp_path / "map.nc"
    found = make_map(step=0.5).assign_attrs(title=TITLE, settings="{}")
    found.to_netcdf(path)
    monkeypatch.setattr("hybridfit.scan.made.NEEDED", ())
    return path


def test_every_format_says_what_it_wrote(run, map_file, tmp_path):
    ran = run("export", map_file, "--to", "csv", "-o", tmp_path / "a.csv")
    assert ran.code == 0 and ran.out == f"Written: {tmp_path / 'a.csv'}\n", ran
    ran = run("export", map_file, "--to", "tiff", "-o", tmp_path / "pictures")
    assert ran.code == 0 and "(16 files)" in ran.out, ran
    pytest.importorskip("h5py")
    for to, name in (("hyperspy", "a.hspy"), ("py4dstem", "a.h5")):
        ran = run("export", map_file, "--to", to, "-o", tmp_path / name.partition(".")[0])
        assert ran.code == 0 and (tmp_path / name).exists(), ran


def test_refusals_are_one_line(run, map_file, tmp_path):
    for arguments, words in (
        (["--to", "word", "-o", "a"], "give one of hyperspy"),
        (["--to", "csv", "-o", tmp_path / "a.png"], "ends in .csv"),
        (["--to", "csv", "-o", "a.csv", "--slice", "1"], "--slice is of --to ptyrad"),
        (["--to", "ptyrad", "-o", tmp_path / "a.yaml"], "settings of this map are damaged"),
        (["--to", "tiff", "-o", map_file], "ends in .tif"),
    ):
        ran = run("export", map_file, *arguments)
        assert ran.code == 2 and words in ran.err and ran.err.count("\n") == 1, ran

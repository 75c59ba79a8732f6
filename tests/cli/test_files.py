"""Outputs are checked before the work: nothing is replaced that the user did not mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hybridfit.cli.files import check_outputs, open_all
from hybridfit.errors import InputError
from hybridfit.io import BadFrame


@pytest.mark.parametrize(
    ("name", "option", "kind"),
    [
        ("notes.txt", "csv", "CSV"),
        ("map.nc", "csv", "CSV"),
        ("notes.txt", "json", "JSON"),
        ("fit.png", "", "PNG"),
        ("fit.svg", "", "SVG"),
        ("map.nc", "", "netCDF"),
    ],
)
def test_another_kind_of_file_is_not_replaced(tmp_path: Path, name: str, option: str, kind: str) -> None:
    path = tmp_path / name
    path.write_text("These are my notes.\n")
    with pytest.raises(InputError, match=f"is no {kind} file; choose another name"):
        check_outputs([path], **({option: path} if option else {}))
    assert path.read_text() == "These are my notes.\n"


def test_results_of_an_earlier_run_are_replaced(tmp_path: Path) -> None:
    table, answers = tmp_path / "map.csv", tmp_path / "fit.out"
    table.write_text("y,x,thickness\n0,0,20.1\n")
    answers.write_text("[]\n")
    check_outputs([table, answers, tmp_path / "new.nc"], csv=table, json=answers)


def test_files_are_opened_before_any_is_read(tmp_path: Path, pattern) -> None:
    good, broken = tmp_path / "a.npy", tmp_path / "b.png"
    np.save(good, np.stack([pattern(), 0 * pattern()]))
    broken.write_bytes(b"not a picture")
    options = {"mask": None, "dataset": None, "shape": None, "dtype": None, "offset": 0}
    files = open_all([good, broken], **options)
    assert [len(file) for file in files] == [2, 1]
    frames = [frame for file in files for frame in file]
    assert [getattr(frame, "status", "good") for frame in frames] == ["good", "unusable", "unreadable"]
    assert isinstance(frames[1], BadFrame) and frames[1].source == f"{good}[1]"
    with pytest.raises(InputError, match="does not exist"):
        open_all([good, tmp_path / "none.tif"], **options)

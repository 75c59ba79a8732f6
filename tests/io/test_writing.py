"""Files out: whole, or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.io import atomic_path, write_json_atomic

pytestmark = pytest.mark.filterwarnings("error")


def test_write_json(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    content = {
        "a": np.float32(1.5),
        "b": np.arange(3),
        "c": [np.nan, np.inf, 2.0],
        "d": Path("x/y"),
        "é": (True, None),
    }
    write_json_atomic(path, content)
    expected = {"a": 1.5, "b": [0, 1, 2], "c": [None, None, 2.0], "d": str(Path("x/y")), "é": [True, None]}
    assert json.loads(path.read_text(encoding="utf-8")) == expected
    assert os.listdir(tmp_path) == ["out.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "out.nc"
    path.write_text("old")
    with pytest.raises(error), atomic_path(path) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".nc"
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["out.nc"]
    with pytest.raises(TypeError):
        write_json_atomic(path, {"a": object()})
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["out.nc"]


def test_written_through_a_link_with_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    plain, link = tmp_path / "real/a.json", tmp_path / "link.json"
    plain.touch()
    usual = plain.stat().st_mode
    link.symlink_to(plain)
    write_json_atomic(link, 1)
    assert link.is_symlink() and plain.read_text() == "1\n" and plain.stat().st_mode == usual


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "no/a.json", "create it first"), (tmp_path, "is not a file")):
        with pytest.raises(InputError, match=words):
            write_json_atomic(path, 1)

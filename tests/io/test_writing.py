"""Files out: whole, or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.io import atomic_path, check_replaceable, write_json_atomic

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


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a.json"
    path.touch()
    path.chmod(mode)
    write_json_atomic(path, 1)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_file_that_is_replaced_keeps_its_owner(tmp_path: Path) -> None:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root may give files away")
    path = tmp_path / "a.json"
    path.touch()
    os.chown(path, 12345, 23456)
    write_json_atomic(path, 1)
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o002])
def test_a_new_file_obeys_the_umask_whatever_its_writer_does(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with atomic_path(tmp_path / "a.bin") as temporary:
            temporary.touch(0o600)  # as safetensors makes its files
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == 0o666 & ~umask
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_link_to_nothing_makes_its_target(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "real.json")
    write_json_atomic(link, 1)
    assert link.is_symlink() and (tmp_path / "real.json").read_text() == "1\n"


def test_a_write_protected_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    path.chmod(0o444)
    if os.access(path, os.W_OK):  # root may write everything
        monkeypatch.setattr(os, "access", lambda at, mode: not (str(at) == str(path) and mode == os.W_OK))
    with pytest.raises(InputError, match="write-protected"):
        write_json_atomic(path, 1)
    assert path.read_text() == "old"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "x"), OSError(errno.EDQUOT, "x")])
def test_a_full_disk_is_said_in_one_line(tmp_path: Path, error: OSError) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(InputError, match=r"a\.json cannot be written: no space is left in") as caught:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.json"]


def write_netcdf(path: Path) -> None:
    from netCDF4 import Dataset

    with Dataset(path, "w") as root:
        root.createDimension("x", 10**6)
        root.createVariable("x", "f8", ("x",))[:] = np.random.default_rng(1).random(10**6)


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_bytes(b"x" * 8 * 10**6),
    "npy": lambda path: np.ones(10**6).tofile(path),
    "netcdf": write_netcdf,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_writer_on_a_disk_that_is_really_full(tmp_path: Path, kind: str) -> None:
    """A file system of 2 MB, where one may be mounted; netCDF has an error of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        path = disk / "a.nc"
        path.write_text("old")
        with pytest.raises(InputError, match=r"a\.nc cannot be written"), atomic_path(path) as temporary:
            WRITERS[kind](temporary)
        assert path.read_text() == "old" and os.listdir(disk) == ["a.nc"]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_file_of_another_kind_is_not_replaced(tmp_path: Path) -> None:
    import tifffile

    rng = np.random.default_rng(1)
    files = {"CSV": "y,x,thickness\n0,0,1.5\n", "JSON": ' [{"a": 1}]', "SVG": "<?xml version='1.0'?>\n<svg>"}
    for kind, text in files.items():
        (tmp_path / kind).write_text(text)
    (tmp_path / "PDF").write_bytes(b"%PDF-1.7\n\xff\xff")
    (tmp_path / "PNG").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    tifffile.imwrite(tmp_path / "TIFF", rng.integers(0, 99, (40, 40)).astype("u2"))
    write_netcdf(tmp_path / "netCDF")
    (tmp_path / "words").write_text("These are my notes, and I need them.\nNot a table.\n")
    (tmp_path / "zeros").write_bytes(bytes(999))
    kinds = [*files, "PDF", "PNG", "TIFF", "netCDF"]
    for kind in kinds:
        for name in [*kinds, "words", "zeros"]:
            if name == kind:
                check_replaceable(tmp_path / name, kind)
                continue
            with pytest.raises(InputError, match=f"{name} is there already and is no {kind} file"):
                check_replaceable(tmp_path / name, kind)
        (tmp_path / "empty").touch()
        check_replaceable(tmp_path / "empty", kind)
        check_replaceable(tmp_path / "new", kind)


def test_the_start_of_a_long_table_may_end_inside_a_letter(tmp_path: Path) -> None:
    for shift in range(3):
        (tmp_path / "a.csv").write_text("y,x\n" + "1,2\n" * 16383 + "x" * shift + "é" * 99, encoding="utf-8")
        check_replaceable(tmp_path / "a.csv", "CSV")

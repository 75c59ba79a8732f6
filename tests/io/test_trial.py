"""A file that crashes its reader, or never lets it go, is refused in one line."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.io import trial
from hybridfit.io.trial import try_first

pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="processes are not copied here"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "a.h5").write_bytes(b"content")
    return tmp_path / "a.h5"


def loop() -> None:
    while True:
        pass


def crash() -> None:
    os.abort()


def swallow() -> None:
    np.ones(2**28)


@pytest.mark.parametrize("attempt", [loop, crash, swallow])
def test_readers_that_never_come_back(path: Path, monkeypatch: pytest.MonkeyPatch, attempt) -> None:
    monkeypatch.setattr(trial, "READING", replace(trial.READING, open_seconds_at_most=1.0))
    words = "Unable to allocate" if attempt is swallow else "cannot be opened: its reader crashed"
    with pytest.raises(ValueError, match=words) as caught:
        try_first(path, attempt)
    assert "\n" not in str(caught.value)


def test_errors_are_those_of_the_attempt(path: Path) -> None:
    def refuse() -> None:
        raise InputError("this is why")

    def fail() -> None:
        raise KeyError("name")

    with pytest.raises(InputError, match="this is why"):
        try_first(path, refuse)
    with pytest.raises(ValueError, match="'name'"):
        try_first(path, fail)


def test_what_passed_is_not_tried_again_until_the_file_changes(path: Path) -> None:
    try_first(path, lambda: None)
    try_first(path, crash)
    with pytest.raises(InputError):
        try_first(path, crash, "other options")
    path.write_bytes(b"other content")
    with pytest.raises(InputError):
        try_first(path, crash)


def test_what_crashed_is_not_tried_again_either(path: Path) -> None:
    for attempt in (crash, lambda: None):
        with pytest.raises(InputError, match="cannot be opened"):
            try_first(path, attempt)


def test_a_child_says_nothing_and_changes_nothing(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    changed = []

    def talk() -> None:
        changed.append(1)
        print("something")
        sys.stderr.write("something")
        os.write(2, b"something")

    try_first(path, talk)
    assert changed == [] and capfd.readouterr() == ("", "")


def test_a_heap_without_end_in_an_hdf5_file(tmp_path: Path, as_dtype, refused) -> None:
    """An object of no size in the heap of texts: the HDF5 library never gets past it."""
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["frame"] = as_dtype("u2")
        file["frame"].attrs["title"] = "a text of variable length"
    content = bytearray(path.read_bytes())
    at = content.index(b"GCOL") + 16 + 8  # the size of the first object in the heap
    content[at : at + 8] = bytes(8)
    path.write_bytes(content)
    started = time.process_time()
    assert path.name in refused(path)
    assert time.process_time() - started < 5

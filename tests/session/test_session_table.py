"""The session table: several processes write, a killed one loses nothing, and damage is said in one line."""

from __future__ import annotations

import csv
import io
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hybridfit.errors import InputError
from hybridfit.session import Session, to_csv

ANSWER = {
    "file": "a.tif",
    "library": "SrTiO3 [001] 200 kV",
    "status": "converged",
    "message": "It settled.",
    "thickness_nm": {"value": 42.3, "stderr": 0.1, "interval95": [42.1, 42.5]},
    "tilt_x_mrad": {"value": 1.0, "stderr": None, "interval95": None},
    "semi_angle_mrad": {"value": 13.6, "stderr": None, "interval95": None},
    "structure": {"polarity": {"value": 1.0, "stderr": 0.2, "interval95": None}},
    "residual_fraction": 0.01,
}


def test_a_fit_is_there_again_after_the_file_was_closed(tmp_path: Path) -> None:
    with Session(tmp_path) as session:
        key = session.add(ANSWER, origin="api", library="SrTiO3_001_200kV", images=b"images")
        session.set_note(key, "wedge\nleft")
    with Session(tmp_path) as session:
        (row,) = session.rows()
        assert row["thickness_nm"] == 42.3 and row["thickness_stderr"] == 0.1
        assert row["tilt_x_stderr"] is None and row["tilt_y_mrad"] is None
        assert (row["library"], row["semi_angle"], row["note"]) == ("SrTiO3_001_200kV", 13.6, "wedge\nleft")
        assert session.fit(key)["result"] == ANSWER
        assert session.images(key) == b"images"
        session.remove(key)
        assert session.rows() == [] and session.images(key) is None
        with pytest.raises(InputError, match="there is no fit"):
            session.fit(key)


def test_a_fit_of_the_same_key_replaces_and_keeps_its_note(tmp_path: Path) -> None:
    with Session(tmp_path) as session:
        session.add(ANSWER, origin="api", key="one")
        session.set_note("one", "kept")
        session.add({**ANSWER, "status": "poor_match"}, origin="api", key="one")
        (row,) = session.rows()
    assert (row["status"], row["note"]) == ("poor_match", "kept")


WRITER = """
import sys
from hybridfit.session import Session
with Session(sys.argv[1]) as session:
    for i in range(int(sys.argv[2])):
        session.add({"file": f"{sys.argv[3]}-{i}", "status": "failed", "message": ""}, origin="watch")
        print(i, flush=True)
"""


def test_processes_write_together_and_a_killed_one_loses_nothing_it_said(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    killed = subprocess.Popen([*command, "100000", "killed"], stdout=subprocess.PIPE, text=True)
    others = [subprocess.Popen([*command, "20", name], stdout=subprocess.DEVNULL) for name in "ab"]
    assert killed.stdout is not None
    said = [killed.stdout.readline() for _ in range(10)]
    killed.send_signal(signal.SIGKILL)
    said += killed.stdout.read().splitlines()
    killed.wait()
    assert [other.wait() for other in others] == [0, 0]
    with Session(tmp_path) as session:
        files = {row["file"] for row in session.rows()}
    assert {f"{name}-{i}" for name in "ab" for i in range(20)} <= files
    assert {f"killed-{i}" for i in range(len(said))} <= files


def test_files_that_are_no_session_are_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "session.sqlite"
    path.write_bytes(b"no database at all " * 100)
    with pytest.raises(InputError, match=r"is damaged .*move it away"):
        Session(tmp_path)
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE things (a)")
    other.close()
    with pytest.raises(InputError, match="is no session table"):
        Session(tmp_path)
    path.unlink()
    Session(tmp_path).close()
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 9")
    newer.close()
    with pytest.raises(InputError, match="of format 9, this hybridfit reads format 1"):
        Session(tmp_path)


def test_a_file_damaged_while_it_is_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    with Session(tmp_path) as session:
        for i in range(200):
            session.add({**ANSWER, "message": "x" * 2000}, origin="api", key=str(i))
    content = bytearray((tmp_path / "session.sqlite").read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    (tmp_path / "session.sqlite").write_bytes(content)
    with pytest.raises(InputError, match="damaged") as told:
        Session(tmp_path).rows()
    assert "\n" not in str(told.value)


def test_a_spreadsheet_is_given_numbers_and_no_formulas(tmp_path: Path) -> None:
    with Session(tmp_path) as session:
        session.add({**ANSWER, "file": "=cmd|' /C calc'!A0"}, origin="api", key="a")
        session.set_note("a", '+1 of, "these"\n@once')
        session.add({**ANSWER, "thickness_nm": {"value": -3.0, "stderr": None}}, origin="watch", key="b")
        first, second = csv.DictReader(io.StringIO(to_csv(session.fits())))
    assert first["file"].startswith("'=cmd") and first["note"] == '\'+1 of, "these" @once'
    assert (first["thickness_nm"], first["thickness_nm_stderr"]) == ("42.3", "0.1")
    assert (first["polarity"], second["thickness_nm"]) == ("1.0", "-3.0")
    assert first["time"][:4] == time.strftime("%Y")


def test_texts_lose_what_controls_a_terminal_and_notes_have_an_end(tmp_path: Path) -> None:
    with Session(tmp_path) as session:
        session.add({**ANSWER, "file": "a\x1b[31m\u202ed.tif\n"}, origin="page", key="a")
        assert session.rows()[0]["file"] == "a [31m d.tif"
        with pytest.raises(InputError, match="is too long"):
            session.set_note("a", "x" * 10_001)
        with pytest.raises(InputError, match="origin 'me' is none"):
            session.add(ANSWER, origin="me")
        session.add({**ANSWER, "residual_fraction": float("nan")}, origin="page", key="b")
        assert session.fit("b")["result"]["residual_fraction"] is None

"""A real folder, and writers that are slow, overwrite, rename and fail."""

from __future__ import annotations

import csv
import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hybridfit.errors import InputError
from hybridfit.session import Session
from hybridfit.watch import CsvTable, JsonLines, Ledger, Watch, WatchSettings, WatchTimes

TIMES = WatchTimes(interval=0.03, still=0.15, patience=0.6, most_frames=5)


@pytest.fixture
def image(counts) -> np.ndarray:
    return counts(100).astype(np.uint16)


class Watching:
    """A watch whose fits are made by hand; `run` goes on until there are so many answers."""

    def __init__(self, folder: Path, place: Path, result, **settings) -> None:
        self.told, self.said, self.images = [], [], []
        self.session = Session(place)
        self.ledger = Ledger(place / "watched.jsonl", settings.pop("asked", {}))
        self.tables = [CsvTable(place / "t.csv"), JsonLines(place / "t.jsonl")]
        self._result = result
        self.watch = Watch(
            WatchSettings(folder, times=TIMES, **settings), self._fit, self.ledger,
            tables=self.tables, session=self.session, library=lambda: "L",
            tell=self.told.append, say=self.said.append,
        )  # fmt: skip

    def _fit(self, frame):
        self.images.append(frame.image)
        if frame.image.max() < 30:
            raise InputError(f"{frame.source} resembles nothing")
        return replace(self._result, source=frame.source)

    def run(self, count: int, seconds: float = 10.0) -> list[str]:
        """Names and statuses that were told."""
        end = time.monotonic() + seconds
        self.watch.run(lambda: len(self.told) >= count or time.monotonic() > end)
        return [f"{Path(t.answer['file']).name} {t.answer['status']}" for t in self.told]

    def once(self) -> list[str]:
        self.watch.run(lambda: False)
        return [f"{Path(t.answer['file']).name} {t.answer['status']}" for t in self.told]


@pytest.fixture
def watching(tmp_path, made_result):
    """watching(**settings) → a `Watching` of tmp_path/in."""
    (tmp_path / "in").mkdir()
    made = []

    def watching(**settings) -> Watching:
        made.append(Watching(tmp_path / "in", tmp_path / "kept", made_result, **settings))
        return made[-1]

    yield watching
    for each in made:
        each.session.close()
        each.ledger.close()
        for table in each.tables:
            table.close()


def test_a_file_that_is_written_slowly_is_fitted_once_and_whole(watching, tmp_path, image):
    path = tmp_path / "in" / "slow.npy"
    np.save(tmp_path / "whole.npy", image)
    data = (tmp_path / "whole.npy").read_bytes()

    def write():
        with path.open("wb") as file:
            for i in range(0, len(data), len(data) // 8):
                file.write(data[i : i + len(data) // 8])
                file.flush()
                time.sleep(0.08)

    writer = threading.Thread(target=write)
    writer.start()
    made = watching()
    assert made.run(1) == ["slow.npy converged"]
    writer.join()
    np.testing.assert_array_equal(made.images[0], image)


def test_a_writer_that_pauses_longer_than_files_stand_still(watching, tmp_path, image):
    """Its reader does not take the half, so that the file is tried again."""
    path = tmp_path / "in" / "pausing.npy"
    np.save(tmp_path / "whole.npy", image)
    data = (tmp_path / "whole.npy").read_bytes()
    path.write_bytes(data[:3000])

    def write():
        time.sleep(0.4)
        path.write_bytes(data)

    threading.Thread(target=write).start()
    made = watching()
    assert made.run(1) == ["pausing.npy converged"] and len(made.images) == 1


def test_a_restart_fits_only_what_is_new(watching, tmp_path, image):
    folder = tmp_path / "in"
    np.save(folder / "a.npy", image)
    np.save(folder / "stack.npy", np.stack([image, image]))
    first = watching(once=True)
    assert first.once() == ["a.npy converged", "stack.npy[0] converged", "stack.npy[1] converged"]
    np.save(folder / "b.npy", image)
    again = watching(once=True)
    assert again.once() == ["b.npy converged"] and again.watch.summary.known == 2
    assert len(again.session.rows()) == 4
    # other options: all of it again
    other = watching(once=True, asked={"library": "other"})
    assert len(other.once()) == 4


def test_a_stop_in_the_middle_of_a_stack_goes_on_there(watching, tmp_path, image):
    np.save(tmp_path / "in" / "stack.npy", np.stack([image] * 3))
    first = watching(once=True)

    def stop(told):
        raise KeyboardInterrupt

    first.watch._tell = stop
    with pytest.raises(KeyboardInterrupt):
        first.once()
    again = watching(once=True)
    again.once()
    with (tmp_path / "kept" / "t.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1 + len(again.told)
    # the frame whose line was told when it was stopped may come twice, in the table alone
    assert len(again.session.rows()) == 3


def test_overwritten_files_are_fitted_again_and_renamed_ones_are_not(watching, tmp_path, image):
    folder = tmp_path / "in"
    np.save(folder / "a.npy", image)
    made = watching()
    assert made.run(1) == ["a.npy converged"]
    np.save(folder / "a.npy", image + 1)
    assert made.run(2) == ["a.npy converged"] * 2
    (folder / "a.npy").rename(folder / "b.npy")
    np.save(folder / "c.npy.tmp", image)
    np.save(folder / "c.tmp", image)  # the name of a file that is not finished
    for name in ("c.npy.tmp.npy", "c.tmp.npy"):
        (folder / name).rename(folder / name.removesuffix(".npy"))
    made.run(3, seconds=0.8)
    assert len(made.told) == 2
    (folder / "c.tmp").rename(folder / "c.npy")
    assert made.run(3)[-1] == "c.npy converged"


def test_unreadable_and_unusable_files_are_said_and_stop_nothing(watching, tmp_path, image):
    folder = tmp_path / "in"
    (folder / "broken.tif").write_bytes(b"II*\0 and no more")
    (folder / "empty.npy").touch()
    (folder / "notes.txt").write_text("no frame")
    np.save(folder / "blank.npy", np.zeros((32, 32)))
    np.save(folder / "dark.npy", image // 10)
    np.save(folder / "scan.npy", np.stack([image] * 6))
    np.save(folder / "good.npy", image)
    made = watching(once=True)
    assert sorted(made.once()) == [
        "blank.npy unusable", "broken.tif unreadable", "dark.npy unusable", "empty.npy unreadable",
        "good.npy converged", "scan.npy unreadable",
    ]  # fmt: skip
    (scan,) = (t.answer["message"] for t in made.told if "scan.npy" in t.answer["file"])
    assert "hybridfit map" in scan
    assert watching(once=True).once() == []


def test_a_fit_that_breaks_and_a_session_that_is_locked_end_nothing(watching, tmp_path, image, monkeypatch):
    np.save(tmp_path / "in" / "a.npy", image)
    made = watching(once=True)

    def broken(frame):
        raise ZeroDivisionError("by nothing")

    def locked(*_, **__):
        raise InputError("session.sqlite is locked by another program")

    made.watch._fit = broken
    monkeypatch.setattr(made.session, "add", locked)
    assert (
        made.once() == ["a.npy failed"] and "ZeroDivisionError by nothing" in made.told[0].answer["message"]
    )
    assert "is not in the session" in made.said[0]
    assert "ZeroDivisionError" in (tmp_path / "kept" / "t.csv").read_text()


def test_folders_in_the_folder_only_where_they_are_asked_for(watching, tmp_path, image):
    folder = tmp_path / "in"
    (folder / "deep" / "deeper").mkdir(parents=True)
    np.save(folder / "deep" / "deeper" / "a.npy", image)
    os.symlink(folder, folder / "deep" / "loop")
    assert watching(once=True).once() == []
    assert watching(once=True, recursive=True).once() == ["a.npy converged"]


def test_patterns_and_new_files_only(watching, tmp_path, image):
    folder = tmp_path / "in"
    np.save(folder / "old.npy", image)
    np.save(folder / "other.npy", image)
    assert watching(once=True, pattern="OLD*").once() == ["old.npy converged"]
    made = watching(new_only=True, asked={"again": 1})
    threading.Timer(0.4, lambda: np.save(folder / "new.npy", image)).start()
    assert made.run(1) == ["new.npy converged"]


def test_a_folder_that_goes_away_comes_back(watching, tmp_path, image):
    folder = tmp_path / "in"
    np.save(folder / "a.npy", image)
    made = watching()

    def away():
        time.sleep(0.6)
        folder.rename(tmp_path / "away")
        time.sleep(0.3)
        (tmp_path / "away").rename(folder)
        np.save(folder / "b.npy", image)

    threading.Thread(target=away).start()
    assert made.run(2) == ["a.npy converged", "b.npy converged"]
    assert "cannot be listed" in made.said[0] and "is back" in made.said[1]
    with pytest.raises(InputError, match="there is no folder"):
        Watch(WatchSettings(tmp_path / "no"), made._fit, made.ledger).run()


def test_a_huge_backlog_is_listed_quickly(watching, tmp_path):
    folder = tmp_path / "in"
    for i in range(3000):
        (folder / f"{i}.tif").write_bytes(b"II*\0")
    made = watching(new_only=True)
    begun = time.monotonic()
    made.run(1, seconds=0.5)
    assert time.monotonic() - begun < 5 and made.told == []


def test_rows_of_the_tables(watching, tmp_path, image):
    np.save(tmp_path / "in" / "=1+1.npy", image)
    np.save(tmp_path / "in" / "blank.npy", np.zeros((32, 32)))
    made = watching(once=True, pattern="*.npy")
    made.once()
    with (tmp_path / "kept" / "t.csv").open() as file:
        rows = {Path(row["file"]).name: row for row in csv.DictReader(file)}
    row = rows["=1+1.npy"]
    assert float(row["thickness_nm"]) == 32.61 and float(row["tilt_y_mrad_stderr"]) == 0.012
    assert row["blur_mrad"] == "0.25" and rows["blank.npy"]["thickness_nm"] == ""
    lines = [json.loads(line) for line in (tmp_path / "kept" / "t.jsonl").read_text().splitlines()]
    assert len(lines) == 2 and all("time" in line and "status" in line for line in lines)
    (images,) = (made.session.images(r["id"]) for r in made.session.rows() if r["status"] == "converged")
    assert images and {row["origin"] for row in made.session.rows()} == {"watch"}


def test_tables_go_on_after_a_power_cut_and_replace_nothing(tmp_path, made_result):
    path = tmp_path / "t.csv"
    table = CsvTable(path)
    table.add(made_result.to_json())
    table.close()
    path.write_text(path.read_text() + "half a li")
    table = CsvTable(path)
    table.add(made_result.to_json() | {"file": "=cmd"})
    table.close()
    lines = path.read_text().splitlines()
    assert len(lines) == 4 and lines[2] == "half a li" and ",'=cmd," in lines[3]
    path.write_text("a,b\n")
    with pytest.raises(InputError, match="another table"):
        CsvTable(path)
    with pytest.raises(InputError, match="cannot be written"):
        JsonLines(tmp_path / "no" / "t.jsonl")


def test_a_damaged_ledger_loses_its_damaged_lines_only(tmp_path, image):
    path = tmp_path / "watched.jsonl"
    np.save(tmp_path / "a.npy", image)
    from hybridfit.watch.folder import mark_of

    mark = mark_of(tmp_path / "a.npy")
    ledger = Ledger(path, {})
    ledger.add(tmp_path / "a.npy", mark)
    ledger.close()
    path.write_text("{}\nnull\n[1]\n" + path.read_text() + '{"asked": "')
    ledger = Ledger(path, {})
    assert ledger.has(tmp_path / "a.npy", mark) and not ledger.has(tmp_path / "b.npy", mark)
    ledger.close()

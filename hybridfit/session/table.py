"""The table of fits on disk: SQLite with a write-ahead log, so that several processes may write.

    fits     a row for each fit: id, time, file, what was asked, the JSON of the answer, a note
    images   what its pictures are drawn from, as bytes (`hybridfit.session.kept`)

Nothing but the standard library is needed.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hybridfit.errors import InputError
from hybridfit.session.settings import SESSION, SessionSettings
from hybridfit.session.words import plain_json, plain_text

FILE = "session.sqlite"
APPLICATION, VERSION = 0x68796266, 1  # "hybf"
ORIGINS = ("page", "api", "watch", "map")
# of the columns of the list, the numbers of the answer that are in it
NUMBERS = ("thickness_nm", "tilt_x_mrad", "tilt_y_mrad")
SCHEMA = """
CREATE TABLE fits (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    time REAL NOT NULL,
    file TEXT NOT NULL,
    library TEXT NOT NULL,
    semi_angle REAL,
    origin TEXT NOT NULL,
    place TEXT,
    note TEXT NOT NULL DEFAULT '',
    answer TEXT NOT NULL
);
CREATE TABLE images (
    id TEXT PRIMARY KEY, number INTEGER NOT NULL, bytes INTEGER NOT NULL, data BLOB NOT NULL
);
"""


def default_folder() -> Path:
    """Where the session is kept unless a user says otherwise; `HYBRIDFIT_SESSION` overrides it."""
    import platformdirs

    return Path(
        os.environ.get("HYBRIDFIT_SESSION") or Path(platformdirs.user_data_dir("hybridfit")) / "session"
    )


class Session:
    """A session table; threads may share one, and processes the file.

    Parameters
    ----------
    folder : path
        Made if need be; the table is the file session.sqlite in it.
    settings : SessionSettings, optional

    Raises
    ------
    InputError
        The file is damaged, no session table, or one of another version; or the folder cannot be made.
    """

    def __init__(self, folder: str | Path, settings: SessionSettings = SESSION) -> None:
        self.folder, self.settings = Path(folder), settings
        self.path = self.folder / FILE
        self._lock = threading.RLock()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"the folder {folder} cannot be made ({error.strerror}); choose another"
            ) from None
        with self._told():
            self._connection = sqlite3.connect(
                self.path, timeout=settings.patience, check_same_thread=False, isolation_level=None
            )
            self._connection.row_factory = sqlite3.Row
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ---------------------------------------------------------------- writing

    def add(
        self,
        answer: Mapping[str, Any],
        *,
        origin: str,
        library: str = "",
        semi_angle: float | None = None,
        images: bytes | None = None,
        place: tuple[str, int, int] | None = None,
        key: str | None = None,
    ) -> str:
        """Add a fit, and return its id.

        Parameters
        ----------
        answer : mapping
            The object of `hybridfit fit --json`: `FitResult.to_json()`, or file, status and message of a
            frame without an answer.
        origin : "page", "api", "watch" or "map"
        library : str
            Name of the library that the fit was made with.
        semi_angle : float, mrad, optional
            By default that of the answer.
        images : bytes, optional
            What pictures are drawn from: `kept_of(result).packed()`.
        place : (map, y, x), optional
            Of a position of a map: the id of the map, its row and column.
        key : str, optional
            An id; a fit that has it already is replaced, and keeps its note. By default a new one.
        """
        if origin not in ORIGINS:
            raise InputError(f"origin {origin!r} is none; give one of {', '.join(ORIGINS)}")
        text = json.dumps(plain_json(answer), ensure_ascii=False, allow_nan=False)
        if semi_angle is None:
            semi_angle = (answer.get("semi_angle_mrad") or {}).get("value")
        key = key or secrets.token_hex(6)
        row = (
            *(time.time(), plain_text(str(answer.get("file", ""))), plain_text(library)),
            *(semi_angle, origin, None if place is None else json.dumps(place), text, key),
        )
        with self._writing() as sql:
            changed = sql.execute(
                "UPDATE fits SET time = ?, file = ?, library = ?, semi_angle = ?, origin = ?, place = ?, "
                "answer = ? WHERE id = ?",
                row,
            ).rowcount
            if not changed:
                sql.execute(
                    "INSERT INTO fits (time, file, library, semi_angle, origin, place, answer, id) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    row,
                )
            if images is not None:
                self._put_images(sql, key, images)
        return key

    def put_images(self, key: str, images: bytes) -> None:
        """Replace the images of a fit that is still there."""
        with self._writing() as sql:
            if sql.execute("SELECT 1 FROM fits WHERE id = ?", (key,)).fetchone():
                self._put_images(sql, key, images)

    def set_note(self, key: str, note: str) -> None:
        """Write the note of a fit.

        Raises
        ------
        InputError
            There is no such fit, or the note is too long.
        """
        if len(note) > self.settings.note_at_most:
            raise InputError(
                f"a note of {len(note)} characters is too long; give {self.settings.note_at_most} at most"
            )
        with self._writing() as sql:
            if not sql.execute(
                "UPDATE fits SET note = ? WHERE id = ?", (plain_text(note, lines=True), key)
            ).rowcount:
                raise self._none(key)

    def remove(self, key: str) -> None:
        """Remove a fit; an InputError where there is none of that id."""
        with self._writing() as sql:
            sql.execute("DELETE FROM images WHERE id = ?", (key,))
            if not sql.execute("DELETE FROM fits WHERE id = ?", (key,)).rowcount:
                raise self._none(key)

    def settle(self) -> None:
        """Write through to the disk: what was added before survives a power cut, too."""
        with self._lock, self._told():
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    # ---------------------------------------------------------------- reading

    def rows(self, limit: int | None = None) -> list[dict[str, Any]]:
        """The fits as rows of a table, newest first."""
        return [
            row_of(fit, fit["result"])
            for fit in self._read(
                "SELECT * FROM fits ORDER BY number DESC LIMIT ?", (-1 if limit is None else limit,)
            )
        ]

    def fits(self) -> list[dict[str, Any]]:
        """All fits with their answers (`result`), oldest first."""
        return list(self._read("SELECT * FROM fits ORDER BY number"))

    def fit(self, key: str) -> dict[str, Any]:
        """One fit with its answer (`result`); an InputError where there is none of that id."""
        for fit in self._read("SELECT * FROM fits WHERE id = ?", (key,)):
            return {**row_of(fit, fit["result"]), "result": fit["result"]}
        raise self._none(key)

    def images(self, key: str) -> bytes | None:
        """What the pictures of a fit are drawn from; None where there is nothing to draw."""
        with self._lock, self._told():
            row = self._connection.execute("SELECT data FROM images WHERE id = ?", (key,)).fetchone()
            return None if row is None else bytes(row["data"])

    def state(self) -> int:
        """A number that changes whenever another process has written."""
        with self._lock, self._told():
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    # ---------------------------------------------------------------- the file

    def _prepare(self) -> None:
        """Check whose the file is, and make the tables of a new one."""
        sql = self._connection
        sql.execute(f"PRAGMA busy_timeout = {int(1000 * self.settings.patience)}")
        sql.execute("PRAGMA journal_mode = WAL")
        sql.execute("PRAGMA synchronous = NORMAL")  # `settle` writes through, when nobody waits for it
        sql.execute("BEGIN IMMEDIATE")
        try:
            application = int(sql.execute("PRAGMA application_id").fetchone()[0])
            version = int(sql.execute("PRAGMA user_version").fetchone()[0])
            tables = {row[0] for row in sql.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables and not application and not version:
                for statement in SCHEMA.split(";"):
                    sql.execute(statement)
                sql.execute(f"PRAGMA application_id = {APPLICATION}")
                sql.execute(f"PRAGMA user_version = {VERSION}")
            elif application != APPLICATION:
                raise InputError(f"{self.path} is no session table of hybridfit; choose another folder")
            elif version != VERSION:
                raise InputError(
                    f"{self.path} is a session table of format {version}, this hybridfit reads format "
                    f"{VERSION}; choose another folder, or move the file away to begin a new one"
                )
            elif not {"fits", "images"} <= tables:
                raise InputError(f"{self.path} is damaged: tables are missing; {REMEDY}")
            sql.execute("COMMIT")
        except BaseException:
            sql.execute("ROLLBACK")
            raise

    def _put_images(self, sql: sqlite3.Connection, key: str, images: bytes) -> None:
        sql.execute(
            "INSERT OR REPLACE INTO images SELECT id, number, ?, ? FROM fits WHERE id = ?",
            (len(images), images, key),
        )
        total = sql.execute("SELECT TOTAL(bytes) FROM images").fetchone()[0]
        while total > self.settings.images_at_most:
            oldest = sql.execute("SELECT id, bytes FROM images ORDER BY number LIMIT 1").fetchone()
            sql.execute("DELETE FROM images WHERE id = ?", (oldest["id"],))
            total -= oldest["bytes"]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One change, made whole or not at all."""
        with self._lock, self._told():
            sql = self._connection
            sql.execute("BEGIN IMMEDIATE")
            try:
                yield sql
                sql.execute("COMMIT")
            except BaseException:
                if sql.in_transaction:
                    sql.execute("ROLLBACK")
                raise

    def _read(self, statement: str, values: tuple[Any, ...] = ()) -> Iterator[dict[str, Any]]:
        with self._lock, self._told():
            found = self._connection.execute(statement, values).fetchall()
        for row in found:
            try:
                answer = json.loads(row["answer"])
            except (ValueError, RecursionError):
                answer = None
            if not isinstance(answer, dict):
                raise InputError(f"{self.path} is damaged: fit {row['id']} has no answer; {REMEDY}")
            yield {key: row[key] for key in row.keys() if key not in ("number", "answer")} | {
                "result": answer
            }

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What SQLite says of the file, in one line."""
        try:
            yield
        except sqlite3.OperationalError as error:
            words = str(error)
            if "locked" in words or "busy" in words:
                raise InputError(
                    f"{self.path} is locked by another program; close that, and try again"
                ) from None
            if "full" in words or "disk I/O" in words or "readonly" in words or "open" in words:
                raise InputError(f"{self.path} cannot be written ({words}); make room there") from None
            raise InputError(f"{self.path} is damaged ({words}); {REMEDY}") from None
        except sqlite3.DatabaseError as error:
            raise InputError(f"{self.path} is damaged ({error}); {REMEDY}") from None

    def _none(self, key: str) -> InputError:
        return InputError(
            f"there is no fit {plain_text(key)[:40]!r} in this session; it may have been removed"
        )


REMEDY = "move it away to begin a new one, or put back a copy"


def row_of(fit: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """What the list shows of a fit."""
    out = {key: fit[key] for key in ("id", "time", "file", "library", "semi_angle", "origin", "note")}
    try:
        out["map"], out["y"], out["x"] = json.loads(fit["place"])
    except (TypeError, ValueError):  # none, as most
        out["map"] = out["y"] = out["x"] = None
    out |= {"status": answer.get("status", "failed"), "message": answer.get("message", "")}
    for name in NUMBERS:
        found = answer.get(name)
        known = found if isinstance(found, Mapping) else {}
        out[name] = known.get("value")
        out[f"{name.rpartition('_')[0]}_stderr"] = known.get("stderr")
    out["residual_fraction"] = answer.get("residual_fraction")
    return out

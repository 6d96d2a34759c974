"""The SQLite file of a manifest: its tables, opening it, and what can go wrong."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from relatent.core.errors import NoSpaceError, OutputError
from relatent.core.results import MANIFEST_FILE

APPLICATION, VERSION = 0x52656C61, 1  # "Rela"; of the tables below
PENDING, DONE, FAILED, WRITING = "pending", "done", "failed", "writing"
MEASURES = ("loss", "lpips", "psnr", "ms_ssim", "identity_distance", "seconds")
WAIT = 30.0  # seconds to wait for a reader's lock

TABLES = f"""
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, started REAL NOT NULL, ended REAL, process INTEGER NOT NULL, host TEXT NOT NULL
);
CREATE TABLE settings (id INTEGER PRIMARY KEY, content TEXT NOT NULL UNIQUE);
CREATE TABLE photos (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, run INTEGER, place INTEGER,
    size INTEGER, modified INTEGER, sha256 TEXT, faces INTEGER,
    state TEXT NOT NULL DEFAULT '{PENDING}', reason TEXT NOT NULL DEFAULT '', settings INTEGER, at REAL
);
CREATE INDEX photos_by_run ON photos (run, place);
CREATE INDEX photos_by_content ON photos (sha256);
CREATE INDEX photos_by_size ON photos (size);
CREATE INDEX photos_by_state ON photos (state);
CREATE TABLE faces (
    id INTEGER PRIMARY KEY, sha256 TEXT NOT NULL, face INTEGER NOT NULL, folder TEXT NOT NULL UNIQUE,
    stem TEXT NOT NULL, state TEXT NOT NULL, settings INTEGER NOT NULL, note TEXT NOT NULL DEFAULT '', thumbnail BLOB,
    {", ".join(f"{name} REAL" for name in MEASURES)}, UNIQUE (sha256, face)
);
CREATE INDEX faces_by_loss ON faces (loss);
CREATE INDEX faces_by_stem ON faces (stem);
CREATE INDEX faces_by_state ON faces (state);
CREATE TABLE edits (
    id INTEGER PRIMARY KEY, source TEXT NOT NULL, mark TEXT NOT NULL, wanted TEXT NOT NULL, run INTEGER, place INTEGER,
    folder TEXT UNIQUE, state TEXT NOT NULL DEFAULT '{PENDING}', reason TEXT NOT NULL DEFAULT '', at REAL,
    UNIQUE (source, mark)
);
CREATE INDEX edits_by_run ON edits (run, place);
CREATE INDEX edits_by_state ON edits (state);
"""
SUMMARIES = "CREATE TABLE IF NOT EXISTS summaries (name TEXT PRIMARY KEY, sha256 TEXT NOT NULL)"


class Database:
    """The file OUT/manifest.sqlite.

    Args:
        outdir: OUT.
        read_only: only look; a missing manifest is then an error.

    Raises:
        OutputError: it cannot be read or written, or is another file of that name.
    """

    def __init__(self, outdir: Path, *, read_only: bool = False) -> None:
        self.outdir, self.path = outdir, outdir / MANIFEST_FILE
        self.new = not self.path.exists() or not self.path.stat().st_size
        if read_only and self.new:
            raise OutputError(f"{outdir} has no {MANIFEST_FILE}; expected the OUTDIR of a batch. Check the path.")
        with self.errors():
            if not self.new:
                self._check()
            self.database = _connected(self.path, read_only)
            try:
                if not read_only:
                    self._create()
            except BaseException:
                self.database.close()
                raise

    def close(self) -> None:
        """Close the file; side files of SQLite are removed with it."""
        with self.errors():
            self.database.close()

    def _check(self) -> None:
        """Refuse another file of that name, without changing it.

        Raises:
            OutputError: it is not a manifest, or one of a later version.
        """
        with closing(_reading(self.path)) as database:
            (application,), (version,), (tables,) = (
                database.execute(query).fetchone()
                for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT COUNT(*) FROM sqlite_master")
            )
        if not tables and not application:  # a run was killed before it created the tables
            self.new = True
        elif application != APPLICATION:
            raise OutputError(f"{self.path} is not a manifest of Relatent. Move it, or choose another --outdir.")
        elif version > VERSION:
            raise OutputError(
                f"{self.path} was written by a later version of Relatent (format {version}; this one reads {VERSION}). "
                "Use that version, or choose another --outdir."
            )

    def _create(self) -> None:
        """Create the tables, in one transaction: a kill leaves all of them or none."""
        (tables,) = self.database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if not tables:
            self.database.executescript(
                f"BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION}; "
                f"PRAGMA user_version = {VERSION}; COMMIT;"
            )
        self.database.execute(SUMMARIES)

    @contextmanager
    def errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            text = str(error)
            if "full" in text:
                raise NoSpaceError(
                    f"cannot write {self.path}: the disk is full. Free some space, then run the same command again."
                ) from error
            advice = "Wait for the other program that has it open" if "locked" in text else "Check the disk"
            if isinstance(error, sqlite3.DatabaseError) and "not a database" in text:
                advice = "Move it, or choose another --outdir"
            raise OutputError(f"cannot use {self.path}: {text}. {advice}.") from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with self.errors():
            self.database.execute("BEGIN IMMEDIATE")
            try:
                yield self.database
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite has rolled back already, if the disk is full
                    self.database.execute("ROLLBACK")
                raise
            self.database.execute("COMMIT")

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        with self.errors():
            return self.database.execute(query, values).fetchall()


def _connected(path: Path, read_only: bool) -> sqlite3.Connection:
    """A connection in WAL mode, or with a rollback journal where the file system cannot do that (network drives)."""
    if read_only:
        return _reading(path, ("rw", "ro"))  # "ro" would leave the side files of WAL mode behind
    for mode in ("WAL", "DELETE"):
        database = sqlite3.connect(path, timeout=WAIT, isolation_level=None)
        try:
            database.execute(f"PRAGMA journal_mode = {mode}").fetchone()
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()  # the first use of shared memory
        except sqlite3.OperationalError:
            database.close()
            if mode == "DELETE":
                raise
        else:
            return database
    raise AssertionError("unreachable")


def _reading(path: Path, modes: tuple[str, str] = ("ro", "rw")) -> sqlite3.Connection:
    """A connection for reading.

    "rw" works where SQLite first has to undo what a killed process left half, and "ro" in a folder that cannot be
    written; the first mode that works is used.
    """
    for mode in modes:
        database = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=WAIT, isolation_level=None
        )
        try:
            database.execute("PRAGMA query_only = ON")
            database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            database.close()
            if mode == modes[-1] or not ("readonly" in str(error) or "unable to open" in str(error)):
                raise
        except sqlite3.DatabaseError:
            database.close()
            raise
        else:
            return database
    raise AssertionError("unreachable")

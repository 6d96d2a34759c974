"""The inversions in a folder, of which there may be more than memory holds."""

from __future__ import annotations

import difflib
import os
import sqlite3
from collections.abc import Iterator
from itertools import groupby, islice
from pathlib import Path

from editing.results import EDITED_FILE, INVERSION_FILE, SavedFile, made_from
from relatent.core.errors import CheckpointError, OutputError, UnknownNameError, UsageError
from relatent.core.results import read_report
from relatent.core.wording import listed, restored, stored

MOST_NAMED = 20  # photos that a message lists
MOST_COMPARED = 10_000  # names among which a similar one is looked for
TABLES = """
CREATE TABLE faces (folder TEXT PRIMARY KEY, file TEXT NOT NULL, network TEXT NOT NULL, photo TEXT NOT NULL);
CREATE INDEX faces_by_photo ON faces (photo, folder);
CREATE TABLE names (name TEXT NOT NULL, folder TEXT NOT NULL, UNIQUE (name, folder));
"""
# The faces of a photo follow the first of them.
TOGETHER = """
SELECT folder, file, photo FROM faces
ORDER BY (SELECT MIN(folder) FROM faces AS others WHERE others.photo = faces.photo), folder
"""


class InvertedFaces:
    """The inversions in the folders of OUT, by the names that a plan may use.

    What is known of them is kept in a temporary file.

    Args:
        outdir: OUT.
        edited: also take folders that hold an edited face and no inversion.

    Raises:
        CheckpointError: the folder has none, or cannot be read.
        OutputError: there is no room for the temporary file.
    """

    def __init__(self, outdir: Path, *, edited: bool = False) -> None:
        self.outdir = outdir
        self.database = sqlite3.connect("", isolation_level=None)  # a file that SQLite deletes when it is closed
        try:
            self.database.executescript(f"{TABLES} BEGIN")
            self._look(edited)
            self.database.execute("COMMIT")
        except sqlite3.Error as error:
            raise OutputError(
                f"the names of the inversions in {outdir} cannot be kept in a temporary file ({error}). "
                "Free some space, or set TMPDIR to another folder."
            ) from error
        if not self._one("SELECT COUNT(*) FROM faces"):
            raise CheckpointError(
                f"{outdir} holds no {INVERSION_FILE}. Invert photos first: python -m inversion.project"
            )

    def _look(self, edited: bool) -> None:
        names = (INVERSION_FILE, EDITED_FILE) if edited else (INVERSION_FILE,)
        try:
            with os.scandir(self.outdir) as entries:
                for folder in (self.outdir / entry.name for entry in entries):
                    file = next((name for name in names if (folder / name).is_file()), None)
                    if file:
                        self._add(folder, file)
        except OSError as error:
            raise CheckpointError(f"{self.outdir} cannot be read ({error.strerror}). Check the path.") from error

    def _add(self, folder: Path, file: str) -> None:
        report, photo = read_report(folder) or {}, made_from(SavedFile(folder / file))
        whose = str(photo.get("sha256") or f"in {folder}")
        self.database.execute(
            "INSERT INTO faces VALUES (?, ?, ?, ?)",
            (stored(folder.name), file, str(report.get("network", "")), stored(whose)),
        )
        for name in {folder.name, str(photo.get("name", "")), str(photo.get("file", ""))} - {""}:
            self.database.execute("INSERT INTO names VALUES (?, ?)", (stored(name), stored(folder.name)))

    def _one(self, query: str, *values: object) -> object:
        row = self.database.execute(query, values).fetchone()
        return None if row is None else row[0]

    def network(self, folder: Path) -> str:
        """Name of the network of an inversion, by its folder; empty if its report does not say it."""
        return str(self._one("SELECT network FROM faces WHERE folder = ?", stored(folder.name)) or "")

    def together(self) -> Iterator[list[Path]]:
        """The files of all inversions, those of one photo in a list; read as they are needed."""
        rows = self.database.execute(TOGETHER)
        for _, group in groupby(rows, key=lambda row: row[2]):
            yield [self.outdir / restored(folder) / file for folder, file, _ in group]

    def find(self, name: str) -> Path:
        """The folder of an inversion, by its own name or that of its photo.

        Raises:
            UsageError: there is none, or several.
        """
        own = self.outdir / name
        if own.parent == self.outdir and self._one("SELECT 1 FROM faces WHERE folder = ?", stored(own.name)):
            return own
        found = self._called(name) or self._called(str(Path(name).absolute()))
        if len(found) > 1:
            raise UsageError(f"{name} was inverted to several folders: {listed(found, 5)}. Name one of them.")
        if not found:
            known = (restored(row[0]) for row in self.database.execute("SELECT DISTINCT name FROM names ORDER BY name"))
            few = list(islice(known, MOST_NAMED + 1))
            if len(few) > MOST_NAMED:
                few = difflib.get_close_matches(name, [*few, *islice(known, MOST_COMPARED)], n=5, cutoff=0.5)
            raise UnknownNameError("photo", name, few)
        return self.outdir / found[0]

    def _called(self, name: str) -> list[str]:
        rows = self.database.execute("SELECT folder FROM names WHERE name = ? ORDER BY folder", (stored(name),))
        return [restored(row[0]) for row in rows]

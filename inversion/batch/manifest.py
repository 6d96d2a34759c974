"""`OUT/manifest.sqlite`: what is done, what failed and why, and what is still to do.

It is the only record of a batch; report.csv and report.html are made from it. One process writes it, the one that
holds the claim on OUT, and any number may read it meanwhile. Each result passes through two states: "writing" is
committed before the first file is moved into its folder, "done" after the last. After a kill, the rows that are still
"writing" are therefore the only folders to look at.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from inversion.batch.database import DONE, MEASURES, PENDING, WRITING, Database
from relatent.core.wording import restored, stored

CHUNK = 1000  # rows of one transaction or one read


@dataclass(frozen=True)
class PhotoRow:
    """A photo, as the manifest knows it.

    Attributes:
        id: of the row.
        path: absolute.
        size, modified: bytes, and time in nanoseconds, when ``sha256`` was computed; None before.
        sha256: of its content; None while unknown.
        state: "pending", "done" or "failed".
        reason: of a failure, or why it is pending again; empty otherwise.
        settings: number of the settings with which it failed; None otherwise.
    """

    id: int
    path: Path
    size: int | None
    modified: int | None
    sha256: str | None
    state: str
    reason: str
    settings: int | None


@dataclass(frozen=True)
class FaceRow:
    """A face whose result lies in a folder, or is just being written there.

    Attributes:
        sha256, face: of the photo, and the number of the face in it.
        folder: relative to OUT.
        settings: number of its settings.
        state: "writing" or "done".
        measures: loss, lpips, psnr, ms_ssim, identity_distance, seconds; what is unknown is missing.
        note: a remark for the user.
        thumbnail: a JPEG of the aligned face beside the result; empty if there is none.
    """

    sha256: str
    face: int
    folder: str
    settings: int
    state: str = DONE
    measures: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    thumbnail: bytes = b""


class Manifest(Database):
    """The manifest of a folder of results.

    Args:
        outdir: OUT.
        read_only: only look; a missing manifest is then an error.

    Raises:
        OutputError: it cannot be read or written, or is another file of that name.
    """

    # Runs and settings

    def start_run(self) -> int:
        """Record that a run begins; returns its number."""
        with self.transaction() as database:
            row = database.execute(
                "INSERT INTO runs (started, process, host) VALUES (?, ?, ?)",
                (time.time(), os.getpid(), platform.node()),
            )
            return int(row.lastrowid or 0)

    def end_run(self, run: int) -> None:
        """Record that a run has ended by itself."""
        with self.transaction() as database:
            database.execute("UPDATE runs SET ended = ? WHERE id = ?", (time.time(), run))

    def settings_number(self, settings: Mapping[str, object]) -> int:
        """The number under which settings are stored; they are added if new."""
        content = json.dumps(settings, sort_keys=True)
        with self.transaction() as database:
            database.execute("INSERT OR IGNORE INTO settings (content) VALUES (?)", (content,))
            return int(database.execute("SELECT id FROM settings WHERE content = ?", (content,)).fetchone()[0])

    def settings(self, number: int) -> dict[str, object]:
        """Settings by their number."""
        rows = self.rows("SELECT content FROM settings WHERE id = ?", number)
        return json.loads(str(rows[0][0])) if rows else {}

    # Photos

    def add_photos(self, run: int, paths: Iterable[Path]) -> int:
        """Record which photos a run is asked for, in their order; returns their number.

        A photo that is known already keeps its state.
        """
        place, rest = 0, iter(paths)
        while chunk := list(islice(rest, CHUNK)):
            with self.transaction() as database:
                database.executemany(
                    "INSERT INTO photos (path, run, place) VALUES (?, ?, ?) ON CONFLICT (path) "
                    "DO UPDATE SET place = iif(run = excluded.run, place, excluded.place), run = excluded.run",
                    [(stored(str(path)), run, place + number) for number, path in enumerate(chunk)],
                )
            place += len(chunk)
        return int(str(self.rows("SELECT COUNT(*) FROM photos WHERE run = ?", run)[0][0]))

    def known_photo(self, path: Path) -> int:
        """The number of a photo, which is added if new, without being part of a run."""
        with self.transaction() as database:
            database.execute("INSERT OR IGNORE INTO photos (path) VALUES (?)", (stored(str(path)),))
            row = database.execute("SELECT id FROM photos WHERE path = ?", (stored(str(path)),)).fetchone()
            return int(row[0])

    def photos(self, run: int) -> Iterator[PhotoRow]:
        """The photos of a run in their order, read in chunks."""
        after = -1
        while rows := self.rows(
            "SELECT place, id, path, size, modified, sha256, state, reason, settings FROM photos "
            "WHERE run = ? AND place > ? ORDER BY place LIMIT ?", run, after, CHUNK,
        ):  # fmt: skip
            after = int(str(rows[-1][0]))
            for _, number, path, *others in rows:
                yield PhotoRow(int(str(number)), Path(restored(str(path))), *others)  # type: ignore[arg-type]

    def has_size(self, size: int, besides: int) -> bool:
        """Whether another photo of that many bytes is known, which could have the same content."""
        return bool(self.rows("SELECT 1 FROM photos WHERE size = ? AND id != ? LIMIT 1", size, besides))

    def first_photo(self, sha256: str) -> Path | None:
        """Of photos with the same content, the one that was recorded first; None if none is known."""
        rows = self.rows("SELECT path FROM photos WHERE sha256 = ? ORDER BY id LIMIT 1", sha256)
        return Path(restored(str(rows[0][0]))) if rows else None

    def faces_in(self, sha256: str) -> int | None:
        """Number of faces that were found in a photo; None if they were not looked for."""
        rows = self.rows("SELECT faces FROM photos WHERE sha256 = ? AND faces IS NOT NULL LIMIT 1", sha256)
        return int(str(rows[0][0])) if rows else None

    def set_content(self, photo: int, size: int, modified: int, sha256: str | None) -> None:
        """Record what a photo's file is; another content than before makes it pending."""
        with self.transaction() as database:
            database.execute(
                "UPDATE photos SET state = iif(sha256 IS ?3 OR (size IS ?1 AND modified IS ?2), state, ?5), "
                "size = ?1, modified = ?2, sha256 = ?3 WHERE id = ?4", (size, modified, sha256, photo, PENDING),
            )  # fmt: skip

    def set_photo(
        self,
        photo: int,
        state: str,
        reason: str = "",
        *,
        settings: int | None = None,
        sha256: str | None = None,
        faces: int | None = None,
    ) -> None:
        """Record what became of a photo, and of further files with the same content."""
        with self.transaction() as database:
            database.execute(
                "UPDATE photos SET state = ?1, reason = ?2, settings = ?3, sha256 = ifnull(?4, sha256), "
                "faces = ifnull(?5, faces), at = ?6 WHERE id = ?7 OR sha256 = ?4",
                (state, stored(reason), settings, sha256, faces, time.time(), photo),
            )

    # Results

    def face(self, sha256: str, face: int) -> FaceRow | None:
        """The result of a face; None if there is none."""
        return next(self._faces("WHERE sha256 = ? AND face = ?", sha256, face), None)

    def done_faces(self, sha256: str) -> frozenset[int]:
        """Numbers of a photo's faces that have a result."""
        rows = self.rows("SELECT face FROM faces WHERE sha256 = ? AND state = ?", sha256, DONE)
        return frozenset(int(str(row[0])) for row in rows)

    def folders_of(self, sha256: str) -> list[tuple[int, str]]:
        """Faces of a photo, by their numbers, and their folders, also those that are being written."""
        rows = self.rows("SELECT face, folder FROM faces WHERE sha256 = ?", sha256)
        return [(int(str(face)), restored(str(folder))) for face, folder in rows]

    def same_stems(self, stem: str) -> int:
        """Number of results of photos with one stem."""
        return int(str(self.rows("SELECT COUNT(*) FROM faces WHERE stem = ?", stem)[0][0]))

    def begin_face(self, row: FaceRow, stem: str) -> None:
        """Record that a result is about to be moved into its folder; results that lay there before are forgotten."""
        numbers = [row.measures.get(name) for name in MEASURES]
        with self.transaction() as database:
            database.execute("DELETE FROM faces WHERE folder = ?", (stored(row.folder),))
            database.execute(
                f"INSERT OR REPLACE INTO faces (sha256, face, folder, stem, state, settings, note, thumbnail, "
                f"{', '.join(MEASURES)}) VALUES ({', '.join('?' * (8 + len(MEASURES)))})",
                (row.sha256, row.face, stored(row.folder), stored(stem), WRITING, row.settings, stored(row.note),
                 row.thumbnail, *numbers),
            )  # fmt: skip

    def end_face(self, sha256: str, face: int) -> None:
        """Record that a result is complete."""
        with self.transaction() as database:
            database.execute("UPDATE faces SET state = ? WHERE sha256 = ? AND face = ?", (DONE, sha256, face))

    def forget_face(self, sha256: str, face: int) -> None:
        """Record that there is no result of a face."""
        with self.transaction() as database:
            database.execute("DELETE FROM faces WHERE sha256 = ? AND face = ?", (sha256, face))

    def unfinished_faces(self) -> list[FaceRow]:
        """The results that were being written when a run was killed."""
        return list(self._faces("WHERE state = ?", WRITING))

    # Edits

    def unfinished_edits(self) -> list[tuple[int, str, str]]:
        """Numbers, folders and marks of the edits that were being written when a run was killed."""
        rows = self.rows("SELECT id, folder, mark FROM edits WHERE state = ?", WRITING)
        return [(int(str(number)), restored(str(folder)), str(mark)) for number, folder, mark in rows]

    def set_edit(self, number: int, state: str, reason: str = "", folder: str | None = None) -> None:
        """Record what became of an edit, and where it was written if that is elsewhere than was meant."""
        with self.transaction() as database:
            database.execute(
                "UPDATE OR REPLACE edits SET state = ?, reason = ?, at = ?, folder = ifnull(?, folder) WHERE id = ?",
                (state, stored(reason), time.time(), folder, number),
            )

    def _faces(self, where: str, *values: object) -> Iterator[FaceRow]:
        columns = f"sha256, face, folder, settings, state, note, thumbnail, {', '.join(MEASURES)}"
        for sha256, face, folder, settings, state, note, thumbnail, *numbers in self.rows(
            f"SELECT {columns} FROM faces {where}", *values
        ):
            measures = {
                name: float(str(value)) for name, value in zip(MEASURES, numbers, strict=True) if value is not None
            }
            yield FaceRow(
                str(sha256), int(str(face)), restored(str(folder)), int(str(settings)), str(state), measures,
                restored(str(note)), bytes(thumbnail or b""),  # type: ignore[call-overload]
            )  # fmt: skip

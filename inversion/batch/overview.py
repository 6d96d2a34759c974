"""What a manifest says of a whole batch: counts, the latest run, and the lines of its reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from inversion.batch.database import DONE, FAILED, MEASURES, PENDING, WRITING, Database
from relatent.core.wording import restored

CHUNK = 1000  # rows read at once

# Of files with the same content, the one that was recorded first is inverted, and the others are its copies.
FIRST = "(SELECT path FROM photos AS first WHERE first.sha256 = faces.sha256 ORDER BY id LIMIT 1)"
LINES = f"""
SELECT ifnull(photos.path, '') AS path, '{DONE}' AS state,
    CASE WHEN photos.path != {FIRST} THEN 'the same photo as ' || {FIRST} ELSE '' END AS reason,
    faces.folder, faces.face, faces.thumbnail, {", ".join(f"faces.{name} AS {name}" for name in MEASURES)}
FROM faces LEFT JOIN photos ON photos.sha256 = faces.sha256
WHERE faces.state = '{DONE}'
UNION ALL
SELECT path, state, reason, NULL, NULL, NULL, {", ".join(["NULL"] * len(MEASURES))} FROM photos WHERE state != '{DONE}'
"""


@dataclass(frozen=True)
class Line:
    """A line of the reports: a face with a result, or a photo without one.

    Attributes:
        photo: path.
        state: "done", "failed" or "pending".
        folder: of the result, relative to OUT; empty if there is none.
        face: number of the face; None without a result.
        measures: as in :class:`FaceRow`.
        reason: of a failure.
        thumbnail: a JPEG; empty if there is none.
    """

    photo: str
    state: str
    folder: str = ""
    face: int | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    thumbnail: bytes = b""


@dataclass(frozen=True)
class LastRun:
    """The latest run.

    Attributes:
        started: time.
        ended: time; None if it is running, or was killed.
        process, host: that it runs in.
        done: photos that were settled since it started.
    """

    started: float
    ended: float | None
    process: int
    host: str
    done: int


def counts(database: Database, table: str = "photos") -> dict[str, int]:
    """Number of photos, or of "edits", in each state."""
    state = f"iif(state = '{WRITING}', '{PENDING}', state)"
    rows = database.rows(f"SELECT {state}, COUNT(*) FROM {table} GROUP BY 1")
    return {str(state): int(str(number)) for state, number in rows}


def reasons(database: Database, most: int, table: str = "photos") -> list[tuple[str, str]]:
    """Names and reasons of failures, the latest first, at most ``most``."""
    name = "path" if table == "photos" else "source"
    rows = database.rows(f"SELECT {name}, reason FROM {table} WHERE state = ? ORDER BY at DESC LIMIT ?", FAILED, most)
    return [(restored(str(one)), restored(str(reason))) for one, reason in rows]


def last_run(database: Database) -> LastRun | None:
    """The latest run; None before the first."""
    rows = database.rows("SELECT started, ended, process, host FROM runs ORDER BY id DESC LIMIT 1")
    if not rows:
        return None
    ((started, ended, process, host),) = rows
    (done,) = database.rows(
        "SELECT (SELECT COUNT(*) FROM photos WHERE at >= ?1 AND state != ?2) "
        "+ (SELECT COUNT(*) FROM edits WHERE at >= ?1 AND state != ?2)", started, PENDING,
    )[0]  # fmt: skip
    return LastRun(
        float(str(started)), None if ended is None else float(str(ended)), int(str(process)), str(host),
        int(str(done)),
    )  # fmt: skip


def line_count(database: Database) -> int:
    """Number of :func:`lines`."""
    return int(str(database.rows(f"SELECT COUNT(*) FROM ({LINES})")[0][0]))


def lines(database: Database, most: int = -1) -> Iterator[Line]:
    """The lines of the reports, largest loss first, then photos without a result; read as they are needed."""
    with database.errors():
        rows = database.database.execute(
            f"SELECT * FROM ({LINES}) ORDER BY loss IS NULL, loss DESC, path LIMIT ?", (most,)
        )
        while chunk := rows.fetchmany(CHUNK):
            for path, state, reason, folder, face, thumbnail, *numbers in chunk:
                measures = {name: value for name, value in zip(MEASURES, numbers, strict=True) if value is not None}
                yield Line(
                    restored(path), state, restored(folder or ""), face, measures, restored(reason),
                    thumbnail or b"",
                )  # fmt: skip

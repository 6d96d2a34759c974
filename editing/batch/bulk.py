"""Carries out a plan of edits: what is done, failed and pending is in `OUT/manifest.sqlite`, as for inversions.

    rows = [{"photo": "me", "smile": 2}, {"photo": "you.jpg", "direction": "age", "strength": -1}]
    for edited in edit_plan("out", rows):
        print(edited.folder or edited.error)

Each row is one edited picture in OUT/edits/NAME. Every row is checked before the first is carried out.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from editing.batch.edit import Edited, EditOptions, edit_all
from editing.batch.plan import Faces, PlanChecker, Planned, Row, read_plan
from editing.results import INVERSION_FILE, SavedFile
from inversion.batch.database import DONE, FAILED, PENDING, WRITING
from inversion.batch.manifest import Manifest
from inversion.batch.opening import opened_manifest
from inversion.batch.workers import Workers
from relatent.core import cpu
from relatent.core.errors import NoSpaceError, OutputError, RelatentError, UsageError
from relatent.core.results import read_report
from relatent.core.wording import restored, stored
from stylegan import Generator

EDITS_FOLDER = "edits"
ENOUGH = 8  # edits; fewer are done before worker processes have started
CHUNK = 1000  # rows read at once
# What identifies an edit, besides the inversion and the directions themselves.
IDENTITY = ("strengths", "only", "keep", "layers", "truncation", "blend", "at", "photos", "metadata")


@dataclass(frozen=True)
class Asked:
    """An edit that a worker is to write; ``sha256`` and ``path`` name it as a request of a batch."""

    key: int
    path: Path
    name: str
    options: EditOptions
    sha256: str = ""


@dataclass(frozen=True)
class Answered:
    """What became of an edit: its folder, or an error."""

    key: int
    edited: Edited
    error: str = ""


@dataclass
class EditWork:
    """Writes edits below a folder; can be pickled unless a generator was given."""

    outdir: Path
    networks: dict[str, Generator] = field(default_factory=dict)

    def open(self) -> EditWork:
        """Itself: networks are loaded as they are needed."""
        return self

    def answer(self, requests: Iterable[Asked]) -> list[Answered]:
        """Write edits."""
        return [self._one(request) for request in requests]

    def _one(self, request: Asked) -> Answered:
        found = [SavedFile(request.path, request.name)]
        try:
            (edited,) = edit_all(found, self.outdir, request.options, networks=self.networks)
        except RelatentError as error:
            edited = Edited(error=error)
        return Answered(request.key, edited)


def edit_plan(
    outdir: str | Path,
    plan: str | Path | Iterable[Row],
    options: EditOptions | None = None,
    *,
    editsdir: Path | None = None,
    workers: int | None = 0,
    retry_failed: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Edited]:
    """Carry out a plan, yielding what became of each row; a rerun does what is missing.

    Args:
        outdir: the folder that `inversion.project` wrote to.
        plan: a table (.csv), lines of JSON (.jsonl), or rows; see :mod:`editing.batch.plan` for their columns.
        options: of all edits, which the rows add to.
        editsdir: where the results go; None for OUT/edits.
        workers: processes that edit, in one thread each; 0 for none; None chooses.
        retry_failed: try again what has failed before.
        stop: asked before each edit; when it returns True, edits in hand are finished and no more begun.

    Raises:
        UsageError: a row that cannot be carried out, before anything runs; it names row and column.
        OutputError: OUT cannot be written, or another run is writing to it.
        NoSpaceError: the disk is full; what was done before is kept.
    """
    outdir, options = Path(outdir), options or EditOptions()
    editsdir = editsdir or outdir / EDITS_FOLDER
    source = str(plan) if isinstance(plan, str | Path) else "the plan"
    rows = read_plan(Path(plan)) if isinstance(plan, str | Path) else enumerate(plan, start=1)
    faces = Faces(outdir)
    with opened_manifest(outdir) as manifest:
        bulk = _Bulk(manifest, editsdir, options, retry_failed, stop)
        run = bulk.add(PlanChecker(faces, options, source), rows)
        yield from bulk.run(run, workers)


class _Bulk:
    """One run of a plan."""

    def __init__(
        self, manifest: Manifest, editsdir: Path, options: EditOptions, retry_failed: bool, stop: Callable[[], bool]
    ) -> None:
        self.manifest, self.editsdir, self.options = manifest, editsdir, options
        self.retry_failed, self.stop = retry_failed, stop
        self.told: list[Edited] = []

    def add(self, checker: PlanChecker, rows: Iterable[tuple[int, Row]]) -> int:
        """Record all rows of a plan, or none if one is wrong; returns the number of the run."""
        run = self.manifest.start_run()
        with self.manifest.transaction() as database:
            for place, (number, row) in enumerate(rows):
                planned = checker.planned(number, row)
                wanted, mark = _identity(planned, checker, self._elsewhere)
                source = stored(planned.folder.name)
                known = database.execute(
                    "SELECT id, folder FROM edits WHERE source = ? AND mark = ?", (source, mark)
                ).fetchone()
                if known is None:
                    folder = self._folder(database, planned, run, f"{checker.source}, row {number}, column name")
                    known = (
                        database.execute(
                            "INSERT INTO edits (source, mark, wanted, folder) VALUES (?, ?, ?, ?)",
                            (source, mark, wanted, folder),
                        ).lastrowid,
                        folder,
                    )
                database.execute("UPDATE edits SET run = ?, place = ? WHERE id = ?", (run, place, known[0]))
        return run

    @property
    def _elsewhere(self) -> str:
        """Where the results go if that is not OUT/edits: the same edit in another folder is another edit."""
        usual = self.manifest.outdir / EDITS_FOLDER
        return "" if self.editsdir.absolute() == usual.absolute() else stored(str(self.editsdir.absolute()))

    def _folder(self, database: Any, planned: Planned, run: int, where: str) -> str:
        """The folder of a new edit, relative to OUT where it lies in it: its name, or the first free number."""
        base = planned.name or planned.folder.name
        for number in count(1):
            name = base if number == 1 else f"{base}-{number}"
            path = self.editsdir / name
            inside = path.is_relative_to(self.manifest.outdir)
            folder = stored(str(path.relative_to(self.manifest.outdir) if inside else path.absolute()))
            row = database.execute("SELECT id, run FROM edits WHERE folder = ?", (folder,)).fetchone()
            if row is None:
                return folder
            if planned.name and row[1] == run:
                raise UsageError(f"{where}: the name {base} comes twice. Give each row a name of its own.")
            if planned.name:  # another edit had this name, and is replaced
                database.execute("DELETE FROM edits WHERE id = ?", (row[0],))
                return folder
        raise AssertionError("there are endless numbers")

    def run(self, run: int, workers: int | None) -> Iterator[Edited]:
        """Carry out the edits of a run."""
        executor = self._executor(run, workers)
        answers = executor.answers(self._requests(run))
        try:
            for answer in answers:
                if answer is not None:
                    self._take(answer)
                yield from self._news()
            yield from self._news()
        finally:
            answers.close()
        if not self.stop():
            self.manifest.end_run(run)

    def _news(self) -> Iterator[Edited]:
        news, self.told = self.told, []
        yield from news

    def _executor(self, run: int, workers: int | None) -> Any:
        if workers is None:
            query = "SELECT COUNT(*) FROM edits WHERE run = ? AND state != ?"
            pending = int(str(self.manifest.rows(query, run, DONE)[0][0]))
            on_cpu = self.options.device == "cpu" or not _has_gpu()
            many = pending >= ENOUGH and on_cpu and not isinstance(self.options.network, Generator)
            workers = cpu.processors() if many else 0
        work = EditWork(self.editsdir)
        return Workers(workers, work) if workers > 1 else _InTurn(work)

    def _requests(self, run: int) -> Iterator[Asked | None]:
        after = -1
        while rows := self.manifest.rows(
            "SELECT place, id, source, mark, wanted, folder, state, reason FROM edits WHERE run = ? AND place > ? "
            "ORDER BY place LIMIT ?", run, after, CHUNK,
        ):  # fmt: skip
            after = int(str(rows[-1][0]))
            for _, number, source, mark, wanted, place, state, reason in rows:
                if self.stop():
                    return
                yield self._request(int(str(number)), *map(str, (source, mark, wanted, place, state, reason)))

    def _request(
        self, number: int, source: str, mark: str, wanted: str, place: str, state: str, reason: str
    ) -> Asked | None:
        folder = self.manifest.outdir / restored(place)
        if state == DONE and _key_in(folder) == mark:
            self.told.append(Edited(folder=folder, note="done before"))
            return None
        if state == FAILED and not self.retry_failed:
            text = f"{restored(reason)} (Failed before; --retry-failed tries again.)"
            self.told.append(Edited(error=RelatentError(text)))
            return None
        self.manifest.set_edit(number, WRITING)
        content = json.loads(wanted)
        own: dict[str, Any] = {name: tuple(content[name]) for name in ("only", "keep")}
        own |= {name: content[name] for name in ("strengths", "layers", "truncation", "blend")}
        options = dataclasses.replace(self.options, **own, key=mark)
        path = self.manifest.outdir / restored(source) / INVERSION_FILE
        return Asked(number, path, folder.name, options)

    def _take(self, answer: Any) -> None:
        edited = answer.edited if isinstance(answer, Answered) else Edited(error=RelatentError(answer.error))
        error = edited.error
        if error is None:
            self.manifest.set_edit(answer.key, DONE)
        else:
            state = PENDING if isinstance(error, OutputError) else FAILED
            self.manifest.set_edit(answer.key, state, str(error))
            if isinstance(error, NoSpaceError):
                raise error
        self.told.append(edited)


class _InTurn:
    """Edits in this process."""

    def __init__(self, work: EditWork) -> None:
        self.work = work

    def answers(self, requests: Iterator[Asked | None]) -> Iterator[Answered | None]:
        for request in requests:
            if request is None:
                yield None
            else:
                yield from self.work.answer([request])


def _identity(planned: Planned, checker: PlanChecker, elsewhere: str) -> tuple[str, str]:
    """What an edit is, as JSON, and its hash: another inversion or direction of the same name makes another edit."""
    found = (planned.folder / INVERSION_FILE).stat()
    options: Mapping[str, Any] = {name: getattr(planned.options, name) for name in IDENTITY}
    directions = {name: checker.fingerprint(name, planned.folder) for name in planned.options.strengths}
    wanted = json.dumps(
        {**options, "name": planned.name, "directions": directions, "inversion": [found.st_size, found.st_mtime_ns]},
        sort_keys=True,
        default=str,
    )
    return wanted, hashlib.sha256((wanted + elsewhere).encode()).hexdigest()[:32]


def _key_in(folder: Path) -> object:
    edit = (read_report(folder) or {}).get("edit")
    return edit.get("key") if isinstance(edit, dict) else None


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()

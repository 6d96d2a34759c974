"""Edits in bulk: what is done, failed and pending is in `OUT/manifest.sqlite`, as for inversions.

    rows = [{"photo": "me", "smile": 2}, {"photo": "you.jpg", "direction": "age", "strength": -1}]
    for edited in edit_plan("out", rows):
        print(edited.folder or edited.error)

Each row of a plan is one edited picture in OUT/edits/NAME, and every row is checked before the first is carried out.
:func:`edit_folder` makes one edit of all faces in OUT, and pastes those of one photo together.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, groupby
from pathlib import Path
from typing import Any

from editing.batch.edit import SWEEP_FILE, Edited, EditOptions, edit_all
from editing.batch.inverted import InvertedFaces
from editing.batch.plan import PlanChecker, Row, read_plan
from editing.results import EDITED_FILE, INVERSION_FILE, SavedFile, open_saved
from inversion.batch.auto import single_workers
from inversion.batch.database import DONE, FAILED, PENDING, WRITING
from inversion.batch.loop import told_outcomes
from inversion.batch.manifest import Manifest
from inversion.batch.opening import opened_manifest
from inversion.batch.workers import Workers
from relatent.core.device import pick_device
from relatent.core.errors import NoSpaceError, OutputError, RelatentError, UsageError
from relatent.core.results import is_free, read_claim, read_report
from relatent.core.wording import restored, stored
from stylegan import Generator

EDITS_FOLDER = "edits"
CHUNK = 1000  # rows read at once
# What identifies an edit, besides the inversion and the directions themselves.
IDENTITY = ("strengths", "only", "keep", "layers", "truncation", "blend", "at", "photos", "metadata")


@dataclass(frozen=True)
class Asked:
    """Faces of one photo that are to be edited together; ``sha256`` and ``path`` name them as a request of a batch.

    Attributes:
        key: number of the first face's edit in the manifest.
        path: file of the first face.
        faces: numbers of the edits, and the inversions.
        options: of the edit.
        alone: see :func:`editing.batch.edit.edit_all`.
    """

    key: int
    path: Path
    faces: tuple[tuple[int, SavedFile], ...]
    options: EditOptions
    alone: bool = False
    sha256: str = ""


@dataclass(frozen=True)
class Answered:
    """What became of the edits of a request, by their numbers."""

    key: int
    edited: tuple[tuple[int, Edited], ...]


@dataclass
class EditWork:
    """Writes edits below a folder, or into the inversions' own; can be pickled unless a generator was given."""

    outdir: Path | None
    networks: dict[str, Generator] = field(default_factory=dict)

    def open(self) -> EditWork:
        """Itself: networks are loaded as they are needed."""
        return self

    def answer(self, requests: Iterable[Asked]) -> list[Answered]:
        """Write edits."""
        return [Answered(request.key, tuple(self._edited(request))) for request in requests]

    def _edited(self, request: Asked) -> Iterator[tuple[int, Edited]]:
        left = {face.path: number for number, face in request.faces}
        faces = [face for _, face in request.faces]
        try:
            for edited in edit_all(faces, self.outdir, request.options, networks=self.networks, alone=request.alone):
                assert edited.path is not None  # faces are given as files
                yield left.pop(edited.path), edited
        except RelatentError as error:
            yield from ((number, Edited(error=error, path=path)) for path, number in left.items())


@dataclass(frozen=True)
class _Entry:
    """An edit that is wanted.

    Attributes:
        file: of the inversion.
        wanted: what the edit is.
        mark: its hash.
        folder: of the result; None to choose one below the folder of the edits.
        name: of that; empty for the inversion's, with a number if another edit has it.
        replaces: whether it takes the place of an earlier edit of the same inversion.
        where: the place in the plan, in messages.
    """

    file: Path
    wanted: dict[str, Any]
    mark: str
    folder: Path | None = None
    name: str = ""
    replaces: bool = False
    where: str = ""

    @property
    def source(self) -> Path:
        """The folder of the inversion."""
        return self.file.parent


@dataclass(frozen=True)
class _EditRow:
    """An edit, as the manifest knows it."""

    place: int
    id: int
    source: str
    mark: str
    wanted: dict[str, Any]
    folder: str
    state: str
    reason: str

    @property
    def group(self) -> object:
        """What the faces of a photo that are edited together have in common."""
        return self.mark if "together" in self.wanted else self.id


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
    checker = PlanChecker(InvertedFaces(outdir), options, source)
    with opened_manifest(outdir) as manifest:
        yield from _Bulk(manifest, editsdir, options, retry_failed, stop).run(_of_plan(checker, rows), workers)


def edit_folder(
    outdir: str | Path,
    options: EditOptions,
    *,
    editsdir: Path | None = None,
    workers: int | None = 0,
    retry_failed: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Edited]:
    """Edit all faces in OUT alike, yielding what became of each; a rerun does what is missing.

    Faces of one photo are pasted together. Another edit replaces the earlier one.

    Args:
        outdir: the folder that `inversion.project` wrote to.
        options: of the edit.
        editsdir: results go to EDITSDIR/STEM; None for each inversion's own folder.
        workers, retry_failed, stop: as of :func:`edit_plan`.

    Raises:
        CheckpointError: OUT has no inversions.
        OutputError, NoSpaceError: as of :func:`edit_plan`.
    """
    outdir = Path(outdir)
    if editsdir is not None and editsdir.resolve() == outdir.resolve():
        editsdir = None
    faces = InvertedFaces(outdir, edited=True)
    entries = _of_folder(faces, PlanChecker(faces, options), own=editsdir is None)
    with opened_manifest(outdir) as manifest:
        yield from _Bulk(manifest, editsdir, options, retry_failed, stop).run(entries, workers)


class _Bulk:
    """One run of edits."""

    def __init__(
        self,
        manifest: Manifest,
        editsdir: Path | None,
        options: EditOptions,
        retry_failed: bool,
        stop: Callable[[], bool],
    ) -> None:
        self.manifest, self.editsdir, self.options = manifest, editsdir, options
        self.retry_failed, self.stop = retry_failed, stop
        self.at_work: dict[int, Asked] = {}
        self.told: deque[Edited] = deque()

    def run(self, entries: Iterable[_Entry], workers: int | None) -> Iterator[Edited]:
        """Record all edits, or none if one is wrong, and carry them out."""
        run = self.manifest.start_run()
        with self.manifest.transaction() as database:
            for place, entry in enumerate(entries):
                self._add(database, run, place, entry)
        yield from told_outcomes(self._executor(run, workers).answers(self._requests(run)), self._take, self.told)
        if not self.stop():
            self.manifest.end_run(run)

    # What is wanted

    def _add(self, database: Any, run: int, place: int, entry: _Entry) -> None:
        source, wanted = stored(entry.source.name), json.dumps(entry.wanted, sort_keys=True, default=str)
        mark = hashlib.sha256((entry.mark + self._elsewhere).encode()).hexdigest()[:32]
        known = database.execute("SELECT id FROM edits WHERE source = ? AND mark = ?", (source, mark)).fetchone()
        if known is None:
            folder = self._folder(database, entry, run)
            known = (
                database.execute(
                    "INSERT INTO edits (source, mark, wanted, folder) VALUES (?, ?, ?, ?)",
                    (source, mark, wanted, folder),
                ).lastrowid,
            )
        database.execute("UPDATE edits SET run = ?, place = ? WHERE id = ?", (run, place, known[0]))

    @property
    def _elsewhere(self) -> str:
        """Where the results go if that is not OUT/edits: the same edit in another folder is another edit."""
        if self.editsdir is None:
            return "own"
        usual = self.manifest.outdir / EDITS_FOLDER
        return "" if self.editsdir.absolute() == usual.absolute() else stored(str(self.editsdir.absolute()))

    def _folder(self, database: Any, entry: _Entry, run: int) -> str:
        """The folder of a new edit: its name, or the first free number."""
        base = entry.name or entry.source.name
        for number in count(1):
            path = entry.folder or self._below / (base if number == 1 else f"{base}-{number}")
            folder = self._stored(path)
            row = database.execute("SELECT id, run, source FROM edits WHERE folder = ?", (folder,)).fetchone()
            if row is None:
                if entry.folder or _has_room(path, entry.file):
                    return folder
                continue
            if entry.name and row[1] == run:
                raise UsageError(f"{entry.where}: the name {base} comes twice. Give each row a name of its own.")
            if entry.name or (entry.replaces and row[2] == stored(entry.source.name)):
                database.execute("DELETE FROM edits WHERE id = ?", (row[0],))
                return folder
        raise AssertionError("there are endless numbers")

    @property
    def _below(self) -> Path:
        return self.editsdir or self.manifest.outdir

    def _stored(self, path: Path) -> str:
        """A folder as the manifest has it: relative to OUT where it lies in it."""
        outdir = self.manifest.outdir
        return stored(str(path.relative_to(outdir) if path.is_relative_to(outdir) else path.absolute()))

    # What is to be done

    def _executor(self, run: int, workers: int | None) -> Any:
        work = EditWork(self.editsdir)
        if workers is None:
            workers = 0 if isinstance(self.options.network, Generator) else self._workers(run)
        return Workers(workers, work) if workers else _InTurn(work)

    def _workers(self, run: int) -> int:
        pending = "FROM edits WHERE run = ? AND state != ?"
        many = int(str(self.manifest.rows(f"SELECT COUNT(*) {pending}", run, DONE)[0][0]))
        for source, wanted in self.manifest.rows(f"SELECT source, wanted {pending} LIMIT 1", run, DONE):
            try:
                first = open_saved(self._file(str(source), json.loads(str(wanted))))
            except RelatentError:
                continue
            layers = first.inversion.ws.shape[1]
            return single_workers(many, pick_device(self.options.device), 2 ** (layers // 2 + 1))
        return 0

    def _rows(self, run: int) -> Iterator[_EditRow]:
        after = -1
        while rows := self.manifest.rows(
            "SELECT place, id, source, mark, wanted, folder, state, reason FROM edits WHERE run = ? AND place > ? "
            "ORDER BY place LIMIT ?", run, after, CHUNK,
        ):  # fmt: skip
            after = int(str(rows[-1][0]))
            for place, number, source, mark, wanted, *others in rows:
                yield _EditRow(
                    int(str(place)), int(str(number)), str(source), str(mark), json.loads(str(wanted)),
                    *map(str, others),
                )  # fmt: skip

    def _requests(self, run: int) -> Iterator[Asked | None]:
        sources = "SELECT COUNT(DISTINCT source) FROM edits WHERE run = ?"
        alone = self.manifest.rows(sources, run)[0][0] == 1
        for _, group in groupby(self._rows(run), key=lambda row: row.group):
            if self.stop():
                return
            yield self._request(list(group), alone)

    def _request(self, rows: Sequence[_EditRow], alone: bool) -> Asked | None:
        """The request for the faces of a photo; None if all of them are settled, which is then told."""
        settled = [self._settled(row) for row in rows]
        if all(settled):
            self.told += [one for one in settled if one is not None]
            return None
        for row in rows:
            self.manifest.set_edit(row.id, WRITING)
        wanted = rows[0].wanted
        own: dict[str, Any] = {name: tuple(wanted[name]) for name in ("only", "keep")}
        own |= {name: wanted[name] for name in ("strengths", "layers", "truncation", "blend")}
        options = dataclasses.replace(self.options, **own, key=rows[0].mark)
        faces = tuple((row.id, SavedFile(self._file(row.source, row.wanted), self._stem(row))) for row in rows)
        asked = Asked(rows[0].id, faces[0][1].path, faces, options, alone)
        self.at_work[asked.key] = asked
        return asked

    def _stem(self, row: _EditRow) -> str:
        """The name of an edit's folder; empty for the inversion's own."""
        return "" if self.editsdir is None else Path(restored(row.folder)).name

    def _file(self, source: str, wanted: dict[str, Any]) -> Path:
        return self.manifest.outdir / restored(source) / str(wanted.get("file", INVERSION_FILE))

    def _settled(self, row: _EditRow) -> Edited | None:
        """What became of an edit in an earlier run; None if it is to be carried out."""
        folder = self._below / Path(restored(row.folder)).name
        if row.state == DONE and _key_in(folder) == row.mark and _is_complete(folder, row.wanted):
            return Edited(folder=folder, note="done before")
        if row.state == FAILED and not self.retry_failed:
            return Edited(error=RelatentError(f"{restored(row.reason)} (Failed before; --retry-failed tries again.)"))
        return None

    # What has been done

    def _take(self, answer: Any) -> None:
        asked = self.at_work.pop(answer.key)
        if isinstance(answer, Answered):
            edits = answer.edited
        else:  # its worker has crashed
            edits = tuple((number, Edited(error=RelatentError(answer.error))) for number, _ in asked.faces)
        full = None
        for number, edited in edits:
            if edited.folder is not None:
                self.manifest.set_edit(number, DONE, folder=self._stored(edited.folder))
            else:
                error = edited.error
                self.manifest.set_edit(number, PENDING if isinstance(error, OutputError) else FAILED, str(error))
                full = error if isinstance(error, NoSpaceError) else full
            self.told.append(edited)
        if full is not None:
            raise full


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


def _of_plan(checker: PlanChecker, rows: Iterable[tuple[int, Row]]) -> Iterator[_Entry]:
    """The edits of a plan; raises UsageError for a row that is wrong."""
    for number, row in rows:
        planned = checker.planned(number, row)
        file = planned.folder / INVERSION_FILE
        content = _content(planned.options, checker, planned.folder)
        wanted = {**content, "name": planned.name, "inversion": _state(file)}
        where = f"{checker.source}, row {number}, column name"
        yield _Entry(file, wanted, _as_json(wanted), name=planned.name, where=where)


def _of_folder(faces: InvertedFaces, checker: PlanChecker, *, own: bool) -> Iterator[_Entry]:
    """The same edit of all faces of a folder; what belongs to it is what the faces of the photo are."""
    for files in faces.together():
        together = {file.parent.name: _state(file) for file in files}
        for file in files:
            content = _content(checker.options, checker, file.parent)
            if checker.options.sweeps:
                content["sweeps"] = [dataclasses.astuple(one) for one in checker.options.sweeps]
            wanted = {**content, "together": together}
            mark = _as_json(wanted)
            if file.name != INVERSION_FILE:
                wanted["file"] = file.name
            yield _Entry(file, wanted, mark, folder=file.parent if own else None, replaces=True)


def _content(options: EditOptions, checker: PlanChecker, folder: Path) -> dict[str, Any]:
    """What an edit is: another direction of the same name makes another edit."""
    names = [*options.strengths, *(one.name for one in options.sweeps)]
    directions = {}
    for name in names:
        try:
            directions[name] = checker.fingerprint(name, folder)
        except RelatentError:
            directions[name] = ""  # which the edit then says
    content = {name: getattr(options, name) for name in IDENTITY}
    strengths = {name: float(value) for name, value in options.strengths.items()}  # 2 and 2.0 are one edit
    return {**content, "strengths": strengths, "directions": directions}


def _as_json(content: object) -> str:
    return json.dumps(content, sort_keys=True, default=str)


def _state(file: Path) -> list[int]:
    """What tells a file from one that was there before."""
    found = file.stat()
    return [found.st_size, found.st_mtime_ns]


def _has_room(folder: Path, file: Path) -> bool:
    """Whether a folder is free, or holds an edit of the same inversion."""
    source = (read_claim(folder) or read_report(folder) or {}).get("source")
    return is_free(folder) or (isinstance(source, dict) and source.get("file") == str(file.resolve()))


def _is_complete(folder: Path, wanted: dict[str, Any]) -> bool:
    """Whether an edit's file is still there."""
    changes = wanted["strengths"] or wanted["truncation"] != 1
    return (folder / (EDITED_FILE if changes else SWEEP_FILE)).is_file()


def _key_in(folder: Path) -> object:
    edit = (read_report(folder) or {}).get("edit")
    return edit.get("key") if isinstance(edit, dict) else None

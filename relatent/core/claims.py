"""Claims a folder for results before the work begins, and fills it when the work is done.

A claim is a locked file in the folder. The operating system releases the lock when the process ends, however it ends.
A claim that can be locked was therefore left behind, and is taken over. So two processes never write to one folder.

New files are written to a hidden folder inside the claimed one, then moved into place one by one. Before the first is
moved, the claim lists all files that Relatent wrote or is about to write there. After a crash in between, the claim
still says which files may be replaced.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from relatent.core.errors import OutputError
from relatent.core.files import output_errors, sha256_of
from relatent.core.results import (
    CLAIM_FILE,
    REPORT_FILE,
    SCRATCH_FOLDER,
    OwnFiles,
    is_free,
    is_own,
    own_files,
    read_claim,
    read_report,
)

TRIES, PAUSE = 40, 0.05  # seconds; for a claim that another process has created but not yet written
NO_LOCKS = frozenset((errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP))  # errors of file systems without locks

Owner = dict[str, object]  # the fields of a claim and a report that identify a result


@dataclass
class Claim:
    """A folder that only this process writes to, until :meth:`release`.

    Attributes:
        folder: the claimed folder.
        owner: the fields of its report that identify the result.
        made: whether the folder was created for this claim.
    """

    folder: Path
    owner: Owner
    made: bool
    _lock: int
    _own: OwnFiles = field(default_factory=dict)

    def require_room(self, names: Iterable[str]) -> None:
        """Check, before any work is done, that no file of somebody else would be overwritten.

        Raises:
            OutputError: one of ``names``, or report.json, exists and is not as Relatent wrote it.
        """
        require_room(self.folder, names, self._own)

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """Yields an empty hidden folder inside the claimed one, for :meth:`finish`.

        Raises:
            OutputError: the folder cannot be written. Nothing has changed then.
        """
        scratch = self.folder / SCRATCH_FOLDER
        try:
            with output_errors(self.folder, scratch):
                shutil.rmtree(scratch, ignore_errors=True)
                scratch.mkdir()
                yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def finish(self, report: dict[str, object], obsolete: Iterable[str] = ()) -> None:
        """Move the files of the hidden folder into place, and write report.json last.

        Args:
            report: content of report.json; the owner and the list of files are added.
            obsolete: names of files to delete, if Relatent wrote them and they are not replaced.

        Raises:
            OutputError: a file of somebody else has the name of a result, or the folder cannot be written.
        """
        scratch = self.folder / SCRATCH_FOLDER
        new = {path.name: sha256_of(path) for path in sorted(scratch.iterdir())}
        self.require_room(new)
        gone = {name for name in obsolete if name not in new and is_own(self.folder / name, self._own)}
        kept = {
            name: sha256_of(self.folder / name)
            for name in self._own
            if name not in new and name not in gone and name != REPORT_FILE and is_own(self.folder / name, self._own)
        }
        text = json.dumps({**self.owner, **report, "files": {**kept, **new}}, indent=2) + "\n"
        (scratch / REPORT_FILE).write_text(text)
        allowed = {name: sorted(self._own.get(name, frozenset()) | {digest}) for name, digest in new.items()}
        before = {name: sorted(sums) for name, sums in self._own.items() if name not in new}
        listed = {"files": {**before, **allowed, REPORT_FILE: []}, "writing": sorted(new), "gone": sorted(gone)}
        self._say({**self.owner, **listed})
        _move(self.folder, new, gone)
        self._say({})
        self._own = own_files(self.folder)

    def release(self) -> None:
        """Release the folder; delete it if it was created for this claim and is still empty."""
        if self._lock < 0:
            return
        shutil.rmtree(self.folder / SCRATCH_FOLDER, ignore_errors=True)
        with suppress(OSError):
            (self.folder / CLAIM_FILE).unlink()
        _unlock(self._lock)
        self._lock = -1
        if self.made:
            with suppress(OSError):  # it is not empty
                self.folder.rmdir()

    def _say(self, content: dict[str, object]) -> None:
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, json.dumps(content).encode() if content else b"", 0)


def require_room(folder: Path, names: Iterable[str], own: OwnFiles | None = None) -> None:
    """:meth:`Claim.require_room` of a folder that need not be claimed; ``own`` are the files that Relatent wrote."""
    own = own_files(folder) if own is None else own
    for name in (*names, REPORT_FILE):
        path = folder / name
        if (path.exists() or path.is_symlink()) and not is_own(path, own):
            raise OutputError(
                f"{path} is not a file that Relatent wrote, or was changed since. "
                "Move or rename it, or choose another --outdir."
            )


def take(folder: Path, owner: Owner, is_same: Callable[[Owner], bool] | None = None) -> Claim | None:
    """Claim a folder that is free, or that holds the same owner's result.

    Args:
        folder: created if missing.
        owner: the fields that identify the result.
        is_same: whether the content of a report or claim is of the same owner; None accepts any owner.

    Returns:
        The claim; None if the folder belongs to another result by now.

    Raises:
        OutputError: the folder cannot be written, or another process is writing the same result.
    """
    for _ in range(TRIES):
        made, lock = _locked(folder)
        if lock is not None:
            break
        other = read_claim(folder)
        if other:
            if is_same is not None and not is_same(other):
                return None
            raise OutputError(f"{folder} is being written by another process. Wait for it, then try again.")
        time.sleep(PAUSE)
    else:
        return None
    left, report = read_claim(folder) or {}, read_report(folder) or {}
    if is_same is not None and not (is_free(folder) or is_same(left or report)):
        _unlock(lock)
        return None
    whose: Owner = {str(key): known[key] for known in (report, left) for key in ("photo", "source") if key in known}
    claim = Claim(folder, {**whose, **owner}, made, lock, own_files(folder))
    claim._say(claim.owner | {key: left[key] for key in ("files", "writing", "gone") if key in left})
    return claim


def finish_left(folder: Path) -> None:
    """Complete or remove what a killed process left in a folder: the result if all of it was written, else nothing.

    The files of a result that was being moved into place are moved. What was still being written is deleted, and so is
    the folder if nothing else is in it.

    Raises:
        OutputError: the folder cannot be written, or another process is writing to it.
    """
    if not (folder / CLAIM_FILE).exists() and not (folder / SCRATCH_FOLDER).exists():
        with suppress(OSError):  # missing, or not empty
            folder.rmdir()  # made, and killed before it was claimed
        return
    left = read_claim(folder) or {}
    writing, gone = left.get("writing"), left.get("gone")
    if isinstance(writing, list) and not isinstance(gone, list):
        return  # of an earlier version: the next result in this folder replaces those files
    claim = take(folder, {})
    if claim is None:
        return
    try:
        if isinstance(writing, list) and isinstance(gone, list):
            with output_errors(folder):
                _move(folder, map(str, writing), map(str, gone))
            claim._say({})
    finally:
        claim.release()
        with suppress(OSError):  # it is not empty
            folder.rmdir()


def _move(folder: Path, new: Iterable[str], gone: Iterable[str]) -> None:
    """Move the files of the hidden folder into place, report.json last; those that are there already stay."""
    for name in gone:
        (folder / name).unlink(missing_ok=True)
    for name in (*new, REPORT_FILE):
        with suppress(FileNotFoundError):
            (folder / SCRATCH_FOLDER / name).replace(folder / name)


def take_first(folders: Iterable[Path], owner: Owner, is_same: Callable[[Owner], bool]) -> Claim:
    """Claim the first of ``folders``, which may be endless, that is free or holds the same owner's result.

    Raises:
        OutputError: as :func:`take`, or none of them is available.
    """
    for folder in folders:
        if is_free(folder) or is_same(read_claim(folder) or read_report(folder) or {}):
            claim = take(folder, owner, is_same)
            if claim is not None:
                return claim
    raise OutputError("there is no free folder for the results. Choose another --outdir.")


def _locked(folder: Path) -> tuple[bool, int | None]:
    """Whether the folder was created, and the claim file's descriptor; None if another process holds the lock."""
    path = folder / CLAIM_FILE
    with output_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir()
            made = True
        except FileExistsError:
            if not folder.is_dir():
                raise
            made = False
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        except FileNotFoundError:  # another process has just released the folder
            return made, None
    if _lock(lock):
        with suppress(OSError):
            if os.path.samestat(os.fstat(lock), path.stat()):  # else its previous holder has deleted it since
                return made, lock
        _unlock(lock)
        return made, None
    os.close(lock)
    return made, None


if sys.platform == "win32":
    import msvcrt

    FAR = 2**30  # position of the locked byte; the content stays readable while it is locked

    def _lock(descriptor: int) -> bool:
        os.lseek(descriptor, FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        os.close(descriptor)
else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in NO_LOCKS
        return True

    def _unlock(descriptor: int) -> None:
        with suppress(OSError):  # a forked child may hold the descriptor, too
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)

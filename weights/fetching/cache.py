"""The cache of fetched weights: paths, provenance records, and a lock between processes.

CACHE/NAME/FILENAME            the complete file
CACHE/NAME/provenance.json     its address, hash and licence
CACHE/NAME/.lock               held while the file is being fetched
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from relatent.core.errors import WeightsError
from relatent.core.files import output_errors, write_bytes
from weights.manifest import Entry

VARIABLE = "RELATENT_CACHE"
PROVENANCE = "provenance.json"
LOCK = ".lock"
LOCK_WAIT = 6 * 3600.0  # seconds; enough for the slowest download of another process


@dataclass(frozen=True)
class Provenance:
    """The record of a fetched file.

    Attributes:
        name: of its entry.
        url: its address; "by hand" for a file that the user put there.
        sha256: of its content.
        bytes: of its content.
        date: when it was fetched or first seen, UTC, ISO 8601.
        checked: what the hash was compared with: "published", "published beginning" (only the first digits are
            published) or "nothing published".
        licence: in words.
        licence_url: its text.
        non_commercial: whether it excludes commercial use.
    """

    name: str
    url: str
    sha256: str
    bytes: int
    date: str
    checked: str
    licence: str
    licence_url: str
    non_commercial: bool


def cache_folder() -> Path:
    """The folder of all fetched weights: RELATENT_CACHE, or "relatent" in the user's cache folder. Does not create it.

    Raises:
        WeightsError: the user has no home folder and RELATENT_CACHE is not set.
    """
    try:
        if os.environ.get(VARIABLE):
            return Path(os.environ[VARIABLE]).expanduser().absolute()
        return _user_cache() / "relatent"
    except RuntimeError as error:
        raise WeightsError(f"this user has no home folder to keep weights in; set {VARIABLE} to a folder.") from error


def place_of(entry: Entry) -> Path:
    """The path of the file of ``entry`` in the cache, fetched or not."""
    return cache_folder() / entry.name / entry.filename


def read_provenance(path: Path) -> Provenance | None:
    """The record of the weights at ``path``, which need not exist; None if there is no record.

    Raises:
        WeightsError: the record is damaged. It is not ignored, because its hash may be the only one known.
    """
    record = path.with_name(PROVENANCE)
    try:
        values = json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(record) from error
    types = {"bytes": int, "non_commercial": bool}
    fields = [field.name for field in dataclasses.fields(Provenance)]
    if not isinstance(values, dict) or any(type(values.get(name)) is not types.get(name, str) for name in fields):
        raise _damaged(record)
    return Provenance(**{name: values[name] for name in fields})


def write_provenance(path: Path, provenance: Provenance) -> None:
    """Write ``provenance`` beside the weights at ``path``; raises OutputError."""
    text = json.dumps(dataclasses.asdict(provenance), indent=2) + "\n"
    write_bytes(path.with_name(PROVENANCE), text.encode())


@contextmanager
def locked(path: Path, tell: Callable[[str], None], wait: float = LOCK_WAIT) -> Iterator[None]:
    """Hold the lock that prevents other processes from fetching ``path``; creates the folder.

    The operating system holds the lock, so it is released when the process is killed.

    Args:
        path: the weights.
        tell: called once with a message if another process holds the lock.
        wait: seconds to wait for that process.

    Raises:
        WeightsError: the lock is still held after ``wait``.
        OutputError: the folder cannot be created or written.
    """
    from filelock import FileLock, Timeout  # not at the top: reading manifests and caches must not need it

    folder = path.parent
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            tell(f"another process is fetching {path.name}; waiting for it.")
            try:
                lock.acquire(timeout=wait)
            except Timeout:
                raise WeightsError(
                    f"another process still holds {folder / LOCK} after {wait:g} seconds. End it and try again."
                ) from None
    try:
        yield
    finally:
        lock.release()


def _user_cache() -> Path:
    """The platform's cache folder. XDG_CACHE_HOME is used on every platform if, as its specification requires, it is
    an absolute path."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():
        return given
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"])
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path.home() / ".cache"


def _damaged(record: Path) -> WeightsError:
    return WeightsError(
        f"{record} is damaged. Delete it to trust the weights beside it, or what is fetched next, anew."
    )

"""Writing results: beside the target first, then renamed, so that a killed run leaves no half file."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import OutputError


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` to write to; renames it to ``path`` on success.

    The temporary file lives in the same folder, because a rename is atomic only within one file system.

    Raises:
        OutputError: the folder cannot be written or the disk is full; nothing is left behind.
    """
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder beside ``path``; on success it takes the place of ``path``.

    Raises:
        OutputError: the parent cannot be written or the disk is full; nothing is left behind.
    """
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            if path.exists():
                old = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", dir=path.parent))
                os.replace(path, old / path.name)
                os.replace(temporary, path)
                shutil.rmtree(old, ignore_errors=True)
            else:
                os.replace(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write ``path`` into an OutputError."""
    try:
        yield
    except OSError as error:
        reasons = {
            errno.ENOSPC: "the disk is full. Free some space or choose another folder",
            errno.EDQUOT: "the disk quota is used up. Free some space or choose another folder",
            errno.EACCES: "this user may not write there. Choose another folder",
            errno.EPERM: "this user may not write there. Choose another folder",
            errno.EROFS: "the file system is read-only. Choose another folder",
            errno.ENOTDIR: "part of that path is a file, not a folder. Choose another folder",
            errno.EEXIST: "part of that path is a file, not a folder. Choose another folder",
        }
        reason = reasons.get(error.errno or 0, f"{error.strerror or error}. Choose another folder")
        raise OutputError(f"cannot write {path}: {reason}.") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

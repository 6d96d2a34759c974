"""Writes files and folders atomically: beside the target first, then renamed."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from relatent.core.errors import NoSpaceError, OutputError

ELSEWHERE = "Choose another folder"
REASONS = {
    errno.ENOSPC: "the disk is full. Free some space or choose another folder",
    errno.EDQUOT: "the disk quota is used up. Free some space or choose another folder",
    errno.EFBIG: f"the file is too large for that file system. {ELSEWHERE}",
    errno.EACCES: f"this user may not write there. {ELSEWHERE}",
    errno.EPERM: f"this user may not write there. {ELSEWHERE}",
    errno.EROFS: f"the file system is read-only. {ELSEWHERE}",
    errno.ENOTDIR: f"part of that path is a file, not a folder. {ELSEWHERE}",
    errno.EEXIST: f"part of that path is a file, not a folder. {ELSEWHERE}",
    errno.EISDIR: "that is a folder; expected the name of a file. Choose another name",
    errno.ENAMETOOLONG: "the name is too long for that file system. Choose a shorter one",
}
NAMELESS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO))  # what a plain write can meet
NO_SPACE = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
CHUNK = 2**20  # bytes read at once
FULL = 2**20  # bytes; less room than this is called a full disk
LONGEST_PART = 40  # characters of the target's name repeated in the temporary one; systems allow 255 bytes in all


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` to write to; renames it to ``path`` on success.

    The temporary file is in the same folder, because renaming is atomic only within one file system. It has the suffix
    of ``path``, from which some writers choose the format, and the permissions of a new file.

    Raises:
        OutputError: the folder cannot be written or the disk is full. After this or any other exception, only the
            folders above ``path`` are left behind, and an existing file is unchanged.
    """
    temporary = _beside(path, path.suffix)
    try:
        with output_errors(path, temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            temporary.touch(exist_ok=False)
            permissions = temporary.stat().st_mode & 0o777
            yield temporary
            if temporary.stat().st_mode & 0o777 != permissions:  # safetensors replaces the file by a private one
                temporary.chmod(permissions)
            temporary.replace(path)
    finally:
        with suppress(OSError):  # if the folder is the problem, its error is being raised already
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal; raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def output_errors(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Turn errors of writing ``path``, or ``temporary`` in its place, into an OutputError.

    Other code inside the block may fail for other reasons, for which "cannot write" would be misleading. An error is
    translated only if it names ``path``, a folder above it or something below it, or if it names no file and can occur
    when writing to an open file (disk full, quota, read-only, ...). All others are passed on.
    """
    try:
        yield
    except OutputError as error:  # names the temporary folder, which is renamed to ``path`` later
        if temporary is None or str(temporary) not in str(error):
            raise
        raise type(error)(str(error).replace(str(temporary), str(path))) from error
    except Exception as error:
        number = _number_if_ours(error, path, temporary)
        if number is None:
            raise
        reason = REASONS.get(number, f"{os.strerror(number)}. {ELSEWHERE}")
        kind = NoSpaceError if number in NO_SPACE else OutputError
        raise kind(f"cannot write {path}: {reason}.") from error


def _number_if_ours(error: Exception, path: Path, temporary: Path | None) -> int | None:
    """The errno of a failure to write ``path``; None if ``error`` concerns something else."""
    if isinstance(error, OSError) and isinstance(error.filename, str | bytes | os.PathLike) and error.errno:
        return error.errno if _concerns(Path(os.fsdecode(error.filename)), path, temporary) else None
    if type(error) is OSError and error.errno:  # subclasses (SSL, sockets) have their own numbers
        return error.errno if error.errno in NAMELESS else None
    if isinstance(error, OSError) and type(error) is not OSError:
        return None
    # safetensors, written in Rust, has the number in its message. NumPy and ffmpeg have none: check the free space.
    worded = re.search(r"\bOs \{ code: (\d+)|\(os error (\d+)\)", str(error))
    if worded:
        number = int(worded[1] or worded[2])
        return number if number in NAMELESS else None
    return errno.ENOSPC if isinstance(error, OSError) and _is_full(path.parent) else None


def _concerns(named: Path, path: Path, temporary: Path | None) -> bool:
    """Whether ``named`` is ``path`` or ``temporary``, or is above or below one of them."""
    named = named.absolute()
    targets = [target.absolute() for target in (path, temporary) if target is not None]
    return any(named == target or named in target.parents or target in named.parents for target in targets)


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < FULL
    except OSError:
        return False


def _beside(path: Path, suffix: str = "") -> Path:
    """A new hidden name in the folder of ``path``.

    ``tempfile`` is not used because it sets the permissions 0600. Widening them needs the user's umask, which can only
    be read by changing it for all threads of the process.
    """
    return path.parent / f".{path.stem[:LONGEST_PART]}-{secrets.token_hex(4)}{suffix}"

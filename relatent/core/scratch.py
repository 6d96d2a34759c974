"""Temporary folders that are deleted after their process, even if it was killed."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

LOCK_FILE = "owner.lock"  # locked while the process runs; the operating system releases the lock


class ScratchFolder:
    """A new private folder for temporary files.

    Args:
        prefix: of the folder's name; :func:`remove_abandoned` recognises it by this.

    Attributes:
        path: the folder, which only this user can enter.
    """

    def __init__(self, prefix: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        self._lock = _lock_of(self.path)
        self._lock.acquire(timeout=0)

    def remove(self) -> None:
        """Delete the folder and its content."""
        self._lock.release()
        shutil.rmtree(self.path, ignore_errors=True)


def remove_abandoned(prefix: str) -> int:
    """Delete this user's scratch folders of a prefix whose process has ended; returns their number."""
    from filelock import Timeout

    count = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        if not _is_ours(folder):
            continue
        lock = _lock_of(folder)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):  # its process is running, or another process is deleting it
            continue
        lock.release()  # before deleting the file, because Windows does not delete locked files
        shutil.rmtree(folder, ignore_errors=True)
        count += 1
    return count


def _is_ours(folder: Path) -> bool:
    """Whether a path is a scratch folder of this user; other users can write to the system's temporary folder, too."""
    try:
        own = not hasattr(os, "getuid") or folder.lstat().st_uid == os.getuid()
        return own and folder.is_dir() and not folder.is_symlink() and (folder / LOCK_FILE).is_file()
    except OSError:
        return False


def _lock_of(folder: Path) -> Any:
    from filelock import FileLock  # imported here, because importing this package must not require it

    return FileLock(folder / LOCK_FILE, thread_local=False)

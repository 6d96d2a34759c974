"""Folders of temporary files that do not outlive their process, even one that was killed."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

LOCK_FILE = "owner.lock"  # held as long as the process lives; the operating system lets go of it


class ScratchFolder:
    """A new private folder for temporary files.

    Args:
        prefix: what its name begins with; by it :func:`remove_abandoned` knows it again.

    Attributes:
        path: the folder, which only this user can enter.
    """

    def __init__(self, prefix: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        self._lock = _lock_of(self.path)
        self._lock.acquire(timeout=0)

    def remove(self) -> None:
        """Delete it and all that is in it."""
        self._lock.release()
        shutil.rmtree(self.path, ignore_errors=True)


def remove_abandoned(prefix: str) -> int:
    """Delete this user's scratch folders of a prefix whose process no longer lives; how many there were."""
    from filelock import Timeout

    count = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        if not _is_ours(folder):
            continue
        lock = _lock_of(folder)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):  # its owner lives, or another process is removing it
            continue
        lock.release()  # before the file goes: Windows deletes no file that is locked
        shutil.rmtree(folder, ignore_errors=True)
        count += 1
    return count


def _is_ours(folder: Path) -> bool:
    """Whether it is a scratch folder of this user: others may put anything into a temporary folder."""
    try:
        own = not hasattr(os, "getuid") or folder.lstat().st_uid == os.getuid()
        return own and folder.is_dir() and not folder.is_symlink() and (folder / LOCK_FILE).is_file()
    except OSError:
        return False


def _lock_of(folder: Path) -> Any:
    from filelock import FileLock  # not above: importing this package must not need it

    return FileLock(folder / LOCK_FILE, thread_local=False)

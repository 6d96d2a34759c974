"""Lists the pictures and other files in a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from relatent.core.images import SUFFIXES
from relatent.core.wording import listed


@dataclass(frozen=True)
class FolderContents:
    """The content of a folder and the folders below it, sorted by path.

    Attributes:
        photos: files with a suffix of pictures.
        others: everything else: other files, hidden files and folders, links to folders, unreadable folders.
    """

    photos: list[Path]
    others: list[Path]


def look_through(folder: Path) -> FolderContents:
    """List the pictures and the other files below ``folder``.

    Hidden folders are not entered, and links to folders are not followed because they may form cycles.
    """
    photos: list[Path] = []
    others: list[Path] = []

    def refused(error: OSError) -> None:
        others.append(Path(error.filename or folder))

    for here, folders, files in os.walk(folder, onerror=refused):
        entered = [name for name in folders if not name.startswith(".") and not Path(here, name).is_symlink()]
        others += [Path(here, name) for name in folders if name not in entered]
        folders[:] = entered
        for path in (Path(here, name) for name in files):
            is_photo = path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
            (photos if is_photo else others).append(path)
    return FolderContents(sorted(photos), sorted(others))


def passed_over(names: Sequence[str]) -> str:
    """A sentence that names the files which were found beside pictures and are none."""
    what = "1 file is no picture and was" if len(names) == 1 else f"{len(names)} files are no pictures and were"
    return f"{what} passed over: {listed(names)}."

"""What lies in a folder: pictures, and everything else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from relatent.core.images import SUFFIXES


@dataclass(frozen=True)
class FolderContents:
    """What lies in a folder and in the folders below it, sorted by path.

    Attributes:
        photos: files with a picture's suffix.
        others: everything else: other files, what is hidden, links to folders, folders that may not be read.
    """

    photos: list[Path]
    others: list[Path]


def look_through(folder: Path) -> FolderContents:
    """Every file below ``folder``, the pictures apart from the rest.

    What is hidden is not looked into, and links to folders are not followed: they may lead in circles.
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


def find_photos(folder: Path) -> list[Path]:
    """Every picture file below ``folder``, sorted by path; see :func:`look_through` for what it passes over."""
    return look_through(folder).photos

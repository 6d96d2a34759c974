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


def look_into(folder: Path) -> tuple[FolderContents, list[Path]]:
    """List what is in one folder, and the folders in it that are to be entered, sorted by path.

    Hidden folders are not entered, and links to folders are not followed because they may form cycles.
    """
    photos: list[Path] = []
    others: list[Path] = []
    entered: list[Path] = []
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        return FolderContents([], [Path(error.filename or folder)]), []
    for entry in entries:
        path, hidden = folder / entry.name, entry.name.startswith(".")
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:
            is_folder = is_file = False
        if is_folder:
            (others if hidden or entry.is_symlink() else entered).append(path)
        else:
            (photos if path.suffix.lower() in SUFFIXES and not hidden and is_file else others).append(path)
    return FolderContents(sorted(photos), sorted(others)), sorted(entered)


def look_through(folder: Path, without: Sequence[Path] = ()) -> FolderContents:
    """List the pictures and the other files below ``folder``, as :func:`look_into` does for one folder.

    Args:
        folder: to look through.
        without: files and folders that are left out as if they were not there, such as results yet to be written.
    """
    left_out = {os.path.realpath(path) for path in without}
    names = {path.name for path in without}

    def is_wanted(path: Path) -> bool:
        return path.name not in names or os.path.realpath(path) not in left_out  # the name first, which costs nothing

    photos: list[Path] = []
    others: list[Path] = []
    waiting = [folder]
    while waiting:
        contents, folders = look_into(waiting.pop())
        photos += filter(is_wanted, contents.photos)
        others += filter(is_wanted, contents.others)
        waiting += filter(is_wanted, folders)
    return FolderContents(sorted(photos), sorted(others))


def passed_over(names: Sequence[str], count: int | None = None) -> str:
    """A sentence that names the files which were found beside pictures and are none.

    Args:
        names: of them, or of the first of ``count``.
        count: how many there are; None for as many as there are names.
    """
    count = len(names) if count is None else count
    what = "1 file is no picture and was" if count == 1 else f"{count} files are no pictures and were"
    return f"{what} passed over: {listed(names, count=count)}."

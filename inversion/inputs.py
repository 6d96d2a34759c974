"""The photos that files and folders stand for."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from relatent.core.errors import PhotoError
from relatent.core.folders import look_into, passed_over
from relatent.core.results import BATCH_FILES, MANIFEST_FILE, without_results
from relatent.core.wording import listed

MOST_NAMED = 20  # files that a message names


@dataclass
class Names:
    """Some names of many: their number, and the first of them."""

    most: int
    count: int = 0
    first: list[Path] = field(default_factory=list)

    def add(self, paths: Iterable[Path]) -> None:
        """Count paths, and keep the first ``most`` of them."""
        for path in paths:
            self.count += 1
            if len(self.first) < self.most:
                self.first.append(path)

    def __str__(self) -> str:
        return listed([*map(str, self.first)], count=self.count)


class InputStream:
    """The photos of a command's arguments, found while they are iterated over, so that memory does not grow with them.

    Pictures that Relatent made are left out of folders. A folder without photos is represented by its error. A file
    that is named twice by one path may come twice.

    Attributes:
        passed_over: files in the folders that are not pictures.
        results: pictures in the folders that Relatent made, which are left out.
    """

    def __init__(self, inputs: Iterable[Path], most: int = MOST_NAMED) -> None:
        self.inputs = list(inputs)
        self.passed_over, self.results = Names(most), Names(most)

    def __iter__(self) -> Iterator[Path | PhotoError]:
        for path in self.inputs:
            if path.is_dir():
                yield from self._in_folder(path)
            else:
                yield path

    def _in_folder(self, path: Path) -> Iterator[Path | PhotoError]:
        empty, before = True, self.results.count
        for photo in self._photos_below(path):
            empty = False
            yield photo
        if empty:
            what = "no pictures but what Relatent made before" if self.results.count > before else "no pictures"
            yield PhotoError(f"{path} holds {what}; expected files such as .jpg or .png. Check the folder.")

    def _photos_below(self, path: Path) -> Iterator[Path]:
        contents, folders = look_into(path)
        photos, made = without_results(contents.photos)
        ours = BATCH_FILES if any(one.name == MANIFEST_FILE for one in contents.others) else frozenset()
        others, more = without_results(one for one in contents.others if one.name not in ours)
        self.passed_over.add(others)
        self.results.add([*made, *more])
        inside = set(folders)
        for one in sorted([*photos, *folders]):
            if one in inside:
                yield from self._photos_below(one)
            else:
                yield one

    def note(self) -> str:
        """A message about files that were passed over or left out; empty if there are none."""
        parts = []
        if self.passed_over.count:
            parts.append(passed_over([*map(str, self.passed_over.first)], self.passed_over.count))
        if self.results.count:
            parts.append(f"left out what Relatent made before: {self.results}. To invert such a picture, name it.")
        return " ".join(parts)


@dataclass(frozen=True)
class Inputs:
    """The photos of a command's arguments, all at once; see :class:`InputStream`.

    Attributes:
        photos: files, each once; folders without photos are represented by an error.
        passed_over: files in the folders that are not pictures.
        results: pictures in the folders that Relatent made, which are left out.
    """

    photos: list[Path | PhotoError]
    passed_over: list[Path]
    results: list[Path]

    def note(self) -> str:
        """A message about files that were passed over or left out; empty if there are none."""
        stream = InputStream([])
        stream.passed_over.add(self.passed_over)
        stream.results.add(self.results)
        return stream.note()


def expand(inputs: Iterable[Path]) -> Inputs:
    """Expand folders to the photos in them; a folder without photos is represented by its error.

    A file that is named twice, even by different paths, is returned once.
    """
    stream = InputStream(inputs, most=sys.maxsize)
    distinct: dict[Path, Path | PhotoError] = {}
    for number, one in enumerate(stream):
        distinct.setdefault(Path(str(number)) if isinstance(one, PhotoError) else _whole(one), one)
    return Inputs(
        list(distinct.values()), list(dict.fromkeys(stream.passed_over.first)), sorted(set(stream.results.first))
    )


def _whole(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # circular links
        return path.absolute()

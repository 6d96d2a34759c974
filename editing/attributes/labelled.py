"""Reads labelled pictures to train classifiers on: a table of labels, or two folders with and without something."""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from editing.attributes.classifiers import SIDE, Classifier, backbone_features, train_classifier
from relatent.core.alignment import Alignment
from relatent.core.errors import DatasetError, RelatentError, UsageError
from relatent.core.folders import FolderContents, look_through
from relatent.core.images import read_photo, square
from relatent.face import align_face, find_faces
from stylegan.bounds import shown
from stylegan.training.data.dataset import ImageDataset

MAX_TABLE_BYTES = 64 * 2**20  # a table of a million names
FILE_COLUMN = "file"
UNANSWERED = ("", "?")
RANGE = re.compile(r"(\d+(?:\.\d+)?)\s*-\s*(\d+(?:\.\d+)?)")
BEYOND = re.compile(r"(?:more than|over|>)\s*(\d+(?:\.\d+)?)|(\d+(?:\.\d+)?)\s*\+")
BEYOND_BY = 5.0  # "more than 70" is read as 75

Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Labelled:
    """Labelled training pictures.

    Attributes:
        crops: uint8 [64, 64, 3] each.
        values: float64 [N].
        up: meaning of a higher value.
        skipped: a message for each picture that could not be used, and each file in a folder that is no picture.
    """

    crops: list[np.ndarray]
    values: np.ndarray
    up: str
    skipped: list[str]

    def train(
        self,
        name: str,
        alignment: Alignment,
        *,
        up: str | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Classifier:
        """Train a classifier on these pictures; see :func:`train_classifier`.

        Raises:
            DatasetError: too few pictures.
        """
        if not self.crops:
            raise DatasetError(f"none of the {len(self.skipped)} pictures could be used: {self.skipped[0]:.200}")
        features = backbone_features(self.crops, progress)
        return train_classifier(name, up or self.up, features, self.values, alignment, seed)


def from_folders(
    with_: Path,
    without: Path,
    alignment: Alignment,
    *,
    align: bool = True,
    progress: Progress | None = None,
) -> Labelled:
    """Read two folders of pictures, with and without an attribute.

    Args:
        with_: folder of the pictures with the value 1.
        without: folder of the pictures with the value 0.
        alignment: the crop to take.
        align: detect and align each face; else the pictures are aligned already.
        progress: called with the number of pictures read and their total.

    Raises:
        DatasetError: a folder contains no pictures.
    """
    contents = {1.0: _pictures_in(with_), 0.0: _pictures_in(without)}
    files = [(path, value) for value, folder in contents.items() for path in folder.photos]
    readers = [_file_reader(path, alignment, align) for path, _ in files]
    labelled = _collect(readers, [value for _, value in files], f"more like the pictures in {with_.name}", progress)
    others = [f"{path} is no picture." for folder in contents.values() for path in folder.others]
    return dataclasses.replace(labelled, skipped=[*labelled.skipped, *others])


def from_table(
    pictures: Path,
    labels: Path,
    column: str,
    alignment: Alignment,
    *,
    align: bool = True,
    folder: str | None = None,
    progress: Progress | None = None,
) -> Labelled:
    """Read a CSV table with the columns ``file`` and ``column``, and the pictures it names.

    Labels are numbers, ranges such as "20-29" (their middle) and "more than 70" (75), or two words, of which the
    later one in the alphabet counts as 1. Pictures whose cell is empty or "?" are left out.

    Args:
        pictures: the folder or zip file to which the names in ``file`` are relative.
        labels: the table.
        column: the column of labels.
        alignment: the crop to take.
        align: detect and align each face, in folders only; else the pictures are aligned already.
        folder: use only files below this folder of the data, for example "train".
        progress: called with the number of pictures read and their total.

    Raises:
        DatasetError: the table or the pictures cannot be used.
        UsageError: ``align`` with a zip file.
    """
    if align and not pictures.is_dir():
        raise UsageError(f"{pictures} is not a folder; faces are found in folders only. Unpack it, or use --no-align.")
    texts = {name: text for name, text in _read_table(labels, column).items() if _below(name, folder)}
    values, up = _numbers(texts, column, labels)
    if align:
        return _collect(
            [_file_reader(pictures / n, alignment, True) for n in values], list(values.values()), up, progress
        )
    data = ImageDataset(pictures, SIDE, folder)
    chosen = [(index, values[name]) for index, name in enumerate(data.names) if name in values]
    if not chosen:
        raise DatasetError(f"{labels} names none of the pictures in {pictures}, for example {data.names[0]}.")
    readers = [lambda index=index: data.picture(index) for index, _ in chosen]
    return _collect(readers, [value for _, value in chosen], up, progress)


def _collect(
    readers: Sequence[Callable[[], np.ndarray]], values: Sequence[float], up: str, progress: Progress | None
) -> Labelled:
    crops, kept, skipped = [], [], []
    for done, (read, value) in enumerate(zip(readers, values, strict=True), start=1):
        try:
            crops.append(read())
            kept.append(value)
        except RelatentError as error:  # a bad picture does not stop the others
            skipped.append(str(error))
        if progress:
            progress(done, len(readers))
    return Labelled(crops, np.array(kept), up, skipped)


def _file_reader(path: Path, alignment: Alignment, align: bool) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        photo = read_photo(path)
        if not align:
            return square(photo.pixels, SIDE)
        faces = find_faces(photo.pixels)
        if not faces:
            raise DatasetError(f"no face found in {path}")
        return align_face(photo.pixels, faces[0].landmarks, alignment, SIDE).image

    return read


def _pictures_in(folder: Path) -> FolderContents:
    contents = look_through(folder) if folder.is_dir() else None
    if contents is None or not contents.photos:
        raise DatasetError(f"{folder} is not a folder with pictures; expected files such as .jpg or .png in it.")
    return contents


def _read_table(path: Path, column: str) -> dict[str, str]:
    """File names and what the table says of them in ``column``; cells without an answer are passed over."""
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise DatasetError(f"{path} has {path.stat().st_size} bytes; at most {MAX_TABLE_BYTES} are read.")
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            missing = [name for name in (FILE_COLUMN, column) if name not in (table.fieldnames or ())]
            if missing:
                columns = ", ".join(table.fieldnames or ()) or "none"
                raise DatasetError(f"{path} has no column {missing[0]!r}; its columns are: {columns:.200}.")
            labels = {row[FILE_COLUMN]: (row[column] or "").strip() for row in table if row[FILE_COLUMN]}
            return {name: label for name, label in labels.items() if label not in UNANSWERED}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read as a table ({error!s:.100}); expected CSV in UTF-8.") from error


def _numbers(texts: dict[str, str], column: str, path: Path) -> tuple[dict[str, float], str]:
    """Labels as numbers, and the meaning of a higher one in words."""
    numbers = {name: _as_number(text) for name, text in texts.items()}
    known = {name: value for name, value in numbers.items() if value is not None}
    if texts and len(known) == len(texts):
        return known, f"more {column}"
    kinds = sorted(set(texts.values()))
    if known or len(kinds) != 2:
        odd = next((text for name, text in texts.items() if numbers[name] is None), "nothing")
        raise DatasetError(
            f"the column {column!r} of {path} holds {shown(odd)} among {len(kinds)} different labels; "
            "expected numbers, ranges such as 20-29, or exactly two words."
        )
    return {name: float(text == kinds[1]) for name, text in texts.items()}, f"more {kinds[1]}, less {kinds[0]}"


def _as_number(text: str) -> float | None:
    """A number, the middle of a range, or N + 5 for "more than N"; None for anything else."""
    if match := RANGE.fullmatch(text):
        return (float(match[1]) + float(match[2])) / 2
    if match := BEYOND.fullmatch(text.lower()):
        return float(match[1] or match[2]) + BEYOND_BY
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _below(name: str, folder: str | None) -> bool:
    return folder is None or name.startswith(folder.rstrip("/") + "/")

"""Reads training pictures from a zip file, a folder, MNIST's own files or scikit-learn, as square uint8 tensors."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path, PurePosixPath

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from relatent.core.archive import Archive, ArchiveError, MemberTooLargeError, TableTooLongError
from relatent.core.errors import DatasetError, UnreadablePhotoError
from relatent.core.folders import look_through, passed_over
from relatent.core.images import SUFFIXES, read_photo, square
from relatent.core.progress import ProgressBar
from stylegan.bounds import MAX_DIM, shown
from stylegan.training.data.arrays import DIGITS, Arrays, is_idx, picture_files, read_idx_pictures, sklearn_digits

MAX_MEMBER_BYTES = 256 * 2**20  # of one picture, which may be a large TIFF
MAX_TABLE_BYTES = 2**28  # of a zip's table of contents: some three million pictures
MAX_BYTES_IN_MEMORY = 8 * 2**30  # all of FFHQ at 192 px
MAX_CLASSES = MAX_DIM
LABELS_FILE = "dataset.json"


class ImageDataset:
    """Pictures of one size, with classes if the data have labels.

    Classes are read from a ``dataset.json`` at the top level, ``{"labels": [["a/b.png", 3], ...]}``. Nothing is
    extracted to disk, and nothing in the data is executed.

    Args:
        path: the zip file or folder, whose pictures are sorted by name, without hidden files; an idx file as MNIST's
            or a folder of them; or "digits" for scikit-learn's, unless there is a file or folder of that name.
        resolution: the centre square of each picture is resized to this.
        folder: use only the pictures below this folder of the data; None for all.

    Raises:
        DatasetError: the file does not exist, is neither a zip nor an idx file, or contains no pictures.

    Attributes:
        names: of the pictures, in order.
        passed_over: names of the files that are no pictures.
        classes: int64 [count], of the labels that the data name; None without. See also :meth:`labels`.
        is_grey: whether the data have no colours by their format.
    """

    def __init__(self, path: Path, resolution: int, folder: str | None = None) -> None:
        self.path, self.resolution, self._folder = path, resolution, folder or ""
        self._zip: Archive | None = None
        self._arrays = _arrays(path)
        self.is_grey = self._arrays is not None
        if self._arrays is not None:
            self._indices = {name: index for index, name in enumerate(self._arrays.names)}
            names, others = set(self._indices), set()
        elif path.is_dir():
            contents = look_through(path)
            names = {file.relative_to(path).as_posix() for file in contents.photos}
            others = {file.relative_to(path).as_posix() for file in contents.others}
        else:
            self._zip = _open_zip(path)
            self._members = {member.filename: member for member in self._zip.members}
            names = {name for name, member in self._members.items() if _is_picture(member)}
            others = {name for name, member in self._members.items() if not member.is_dir()} - names
        if folder:
            names, others = ({n for n in kind if PurePosixPath(n).is_relative_to(folder)} for kind in (names, others))
        if not names:
            where = f"{path}, folder {folder!r}," if folder else str(path)
            raise DatasetError(f"{where} holds no pictures; expected files such as .png, .jpg or .webp.")
        self.names = sorted(names)
        self.passed_over = sorted(others - {LABELS_FILE})
        self.classes = self._read_classes()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 without labels."""
        return 0 if self.classes is None else int(self.classes.max()) + 1

    def picture(self, index: int) -> np.ndarray:
        """One picture, uint8 [R, R, 3]."""
        name = self.names[index]
        if self._arrays is not None:
            grey = self._arrays.pixels[self._indices[name]]
            return square(np.repeat(grey[:, :, None], 3, axis=2), self.resolution)
        try:
            photo = read_photo(self._read(name), name) if self._zip else read_photo(self.path / name)
        except UnreadablePhotoError as error:
            raise DatasetError(f"{self.path}: {error}") from error
        return square(photo.pixels, self.resolution)

    def load(self, progress: bool = False, channels: int = 3) -> Tensor:
        """All pictures, uint8 [count, channels, R, R]; with one channel, their luma (ITU-R BT.601).

        Args:
            progress: show a bar, and name the files that were passed over.

        Raises:
            DatasetError: they exceed MAX_BYTES_IN_MEMORY, or one is damaged.
        """
        if progress and self.passed_over:
            click.echo(f"note: {self.path}: {passed_over(self.passed_over)}", err=True)
        needed = len(self) * channels * self.resolution**2
        if needed > MAX_BYTES_IN_MEMORY:
            raise DatasetError(
                f"{self.path} needs {needed / 2**30:.1f} GB at {self.resolution} px; at most "
                f"{MAX_BYTES_IN_MEMORY / 2**30:.0f} GB are kept in memory. Use fewer pictures or a smaller resolution."
            )
        images = torch.empty(len(self), channels, self.resolution, self.resolution, dtype=torch.uint8)
        with ProgressBar(desc="reading pictures", leave=False, disable=not progress) as bar:
            for index in range(len(self)):
                pixels = np.array(self.picture(index))
                if channels == 1:
                    pixels = np.array(Image.fromarray(pixels).convert("L"))[:, :, None]
                images[index] = torch.from_numpy(pixels).permute(2, 0, 1)
                bar.show(index + 1, len(self))
        return images

    def labels(self) -> Tensor | None:
        """Classes, int64 [count]: those that the data name, or else the folders that the pictures lie in.

        Folders count by their names, in order, if every picture lies in one and there are at least two of them;
        with ``folder``, the folders below that one.
        """
        if self.classes is not None:
            return self.classes
        depth = len(PurePosixPath(self._folder).parts)
        parts = [PurePosixPath(name).parts[depth:] for name in self.names]
        folders = sorted({part[0] for part in parts if len(part) > 1})
        if len(folders) < 2 or any(len(part) < 2 for part in parts):
            return None
        numbers = {name: number for number, name in enumerate(folders)}
        return torch.tensor([numbers[part[0]] for part in parts])

    def _read(self, name: str) -> bytes:
        assert self._zip is not None
        try:
            return self._zip.read(self._members[name], MAX_MEMBER_BYTES)
        except MemberTooLargeError as error:
            raise DatasetError(
                f"{self.path}: {name} claims {error.size} bytes; at most {MAX_MEMBER_BYTES} are read."
            ) from error
        except ArchiveError as error:
            raise DatasetError(f"{self.path}: {name} cannot be read from the archive ({error}).") from error

    def _read_classes(self) -> Tensor | None:
        """Classes, int64 [count]; None without labels."""
        if self._arrays is not None:
            known = self._arrays.classes
            return None if known is None else known[torch.tensor([self._indices[name] for name in self.names])]
        text = self._labels_text()
        if text is None:
            return None
        try:
            pairs = json.loads(text)["labels"]
            by_name = {str(name): _class_number(label) for name, label in pairs or []}
            return torch.tensor([by_name[name] for name in self.names]) if by_name else None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            reason = " ".join(str(error).split())[:100]
            raise DatasetError(
                f"{self.path}: {LABELS_FILE} cannot be used ({type(error).__name__}: {reason}); "
                'expected {"labels": [["name.png", 0], ...]} with the class, 0, 1, 2, ..., of every picture.'
            ) from error

    def _labels_text(self) -> bytes | None:
        if self._zip is not None:
            return self._read(LABELS_FILE) if LABELS_FILE in self._members else None
        file = self.path / LABELS_FILE
        try:
            return file.read_bytes() if file.is_file() else None
        except OSError as error:
            raise DatasetError(f"{file} cannot be read ({error.strerror}). Change its permissions.") from error


def _arrays(path: Path) -> Arrays | None:
    """The pictures of data in no picture format; None for all else."""
    if str(path) == DIGITS and not path.exists():
        return sklearn_digits()
    idx = bool(picture_files(path)) if path.is_dir() else is_idx(path)
    return read_idx_pictures(path) if idx else None


def _is_picture(member: zipfile.ZipInfo) -> bool:
    """Whether a member has the suffix of a picture and is not hidden, as ``__MACOSX/._a.jpg`` of macOS."""
    name = PurePosixPath(member.filename)
    hidden = any(part.startswith(".") for part in name.parts)
    return not member.is_dir() and not hidden and name.suffix.lower() in SUFFIXES


def _class_number(label: object) -> int:
    if type(label) is not int or not 0 <= label < MAX_CLASSES:
        raise ValueError(f"a class is {shown(label)}, not a whole number from 0 to {MAX_CLASSES - 1}")
    return label


def _open_zip(path: Path) -> Archive:
    if not path.exists():
        raise DatasetError(f"{path} does not exist; expected a zip file or a folder of pictures.")
    try:
        return Archive(path, MAX_TABLE_BYTES)
    except TableTooLongError as error:
        raise DatasetError(f"{path} is too long a list ({error}); split it into several, or use a folder.") from error
    except ArchiveError as error:
        raise DatasetError(
            f"{path} is not a zip file that can be read ({error}); expected a zip file or a folder of pictures."
        ) from error

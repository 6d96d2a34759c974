"""Pictures from arrays: MNIST's own files (idx, plain or gzip) and the digits that scikit-learn ships.

Files are untrusted: a header's sizes are compared with what the file really holds, piece by piece, before an array of
that size is made.
"""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from relatent.core.errors import DatasetError, MissingPackageError

DIGITS = "digits"  # what --data calls scikit-learn's
GZIP = b"\x1f\x8b"
UNSIGNED_BYTES = 8  # the type in an idx file's magic number; MNIST and its relatives have no other
MAX_BYTES = 2**30  # of one idx file: 1.3 million pictures of 28 x 28
MAX_SIDE = 4096
PIECE = 2**20
GROUPS = {"train": "train", "t10k": "test", "test": "test"}  # how files of a set begin, and the folder they become


@dataclass(frozen=True)
class Arrays:
    """Grey pictures in memory.

    Attributes:
        names: of the pictures, such as "train/000000", in order.
        pixels: uint8 [count, H, W], white on black as MNIST.
        classes: int64 [count]; None without labels.
    """

    names: list[str]
    pixels: np.ndarray
    classes: Tensor | None


def sklearn_digits() -> Arrays:
    """The 1,797 digits of 8 x 8 pixels that scikit-learn ships (UCI, Alpaydin and Kaynak 1998).

    Raises:
        MissingPackageError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingPackageError("scikit-learn", "", f"--data {DIGITS}") from None
    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return Arrays(_numbered("", len(pixels)), pixels, torch.from_numpy(digits.target.astype(np.int64)))


def is_idx(path: Path) -> bool:
    """Whether a file begins as an idx file of bytes does, itself or what gzip packed."""
    try:
        with _opened(path) as file:
            start = file.read(4)
    except (OSError, EOFError, zlib.error):
        return False
    return len(start) == 4 and start[:3] == bytes((0, 0, UNSIGNED_BYTES)) and 1 <= start[3] <= 3


def read_idx_pictures(path: Path) -> Arrays:
    """The pictures of an idx file, with the labels of the file beside it; or of all such files in a folder.

    In a folder, those of files called ``train-images-idx3-ubyte`` and ``t10k-images-idx3-ubyte``, with or without
    ``.gz``, are named "train/..." and "test/...".

    Raises:
        DatasetError: a file is damaged, or files of a folder do not fit together.
    """
    files = picture_files(path) if path.is_dir() else [path]
    names: list[str] = []
    pixels: list[np.ndarray] = []
    classes: list[np.ndarray] = []
    for file in files:
        array = read_idx(file)
        if array.ndim != 3:
            raise DatasetError(f"{file} holds labels, not pictures; expected the file called ...-images-idx3-ubyte.")
        if not len(array) or 0 in array.shape or max(array.shape[1:]) > MAX_SIDE:
            raise DatasetError(f"{file} says {list(array.shape)}; expected pictures of 1 to {MAX_SIDE} pixels a side.")
        labels = _labels_of(file)
        if labels is not None and labels.shape != array.shape[:1]:
            raise DatasetError(f"{file} has {len(array)} pictures, and its labels are {list(labels.shape)}.")
        group = next((folder for start, folder in GROUPS.items() if file.name.startswith(start)), "")
        names += _numbered(f"{group}/" if path.is_dir() and group else "", len(array))
        pixels.append(array)
        classes += [] if labels is None else [labels]
    if len({array.shape[1:] for array in pixels}) > 1 or len(set(names)) < len(names):
        raise DatasetError(f"{path} holds idx files that do not belong together; name one of them.")
    known = torch.from_numpy(np.concatenate(classes).astype(np.int64)) if len(classes) == len(files) else None
    return Arrays(names, np.concatenate(pixels), known)


def picture_files(folder: Path) -> list[Path]:
    """The idx files of pictures in a folder, by MNIST's names; of a file and its .gz, the first."""
    files = {file.name.removesuffix(".gz"): file for file in sorted(folder.glob("*images?idx3?ubyte*"), reverse=True)}
    return sorted(file for file in files.values() if file.is_file() and is_idx(file))


def read_idx(path: Path) -> np.ndarray:
    """An idx file of bytes, as it is or packed by gzip: uint8, of one to three dimensions.

    The format: two zero bytes, the type, the number of dimensions, each dimension as a big-endian 32-bit number, and
    the values (LeCun, Cortes and Burges, "The MNIST database").

    Raises:
        DatasetError: not such a file, of another length than its header says, or larger than MAX_BYTES.
    """
    try:
        with _opened(path) as file:
            start = file.read(4)
            if len(start) < 4 or start[:3] != bytes((0, 0, UNSIGNED_BYTES)) or not 1 <= start[3] <= 3:
                raise DatasetError(f"{path} is not an idx file of bytes; expected MNIST's format, plain or .gz.")
            header = file.read(4 * start[3])
            shape = [int.from_bytes(header[i : i + 4], "big") for i in range(0, len(header), 4)]
            size = math.prod(shape)
            if len(header) < 4 * start[3] or size > MAX_BYTES:
                raise DatasetError(f"{path} says it holds {size} bytes; at most {MAX_BYTES} are read.")
            data = _read_pieces(file, size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path} cannot be read ({error!s:.100}). Copy or download it again.") from error
    if len(data) != size:
        found = "more" if len(data) > size else f"{len(data)}"
        raise DatasetError(f"{path} says it holds {size} bytes and holds {found}. Copy or download it again.")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _read_pieces(file: BinaryIO, most: int) -> bytearray:
    """At most ``most`` bytes, taking memory only as they come."""
    data = bytearray()
    while len(data) < most:
        piece = file.read(min(PIECE, most - len(data)))
        if not piece:
            break
        data += piece
    return data


def _opened(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    return gzip.open(path, "rb") if packed else path.open("rb")  # type: ignore[return-value]


def _labels_of(file: Path) -> np.ndarray | None:
    stem = file.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    candidates = [file.with_name(stem), file.with_name(f"{stem}.gz")]
    found = next((one for one in candidates if one != file and one.is_file()), None)
    return None if found is None else read_idx(found)


def _numbered(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{index:06d}" for index in range(count)]

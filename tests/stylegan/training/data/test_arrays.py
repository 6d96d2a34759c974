"""MNIST's files and scikit-learn's digits."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from relatent.core.errors import DatasetError
from stylegan.training.data.arrays import read_idx
from stylegan.training.data.dataset import ImageDataset

PIXELS = np.arange(5 * 6 * 7, dtype=np.uint8).reshape(5, 6, 7)
LABELS = np.array([3, 1, 4, 1, 5], np.uint8)


def idx(array, shape=None):
    shape = array.shape if shape is None else shape
    return bytes((0, 0, 8, len(shape))) + b"".join(n.to_bytes(4, "big") for n in shape) + array.tobytes()


def write_set(folder, start, pack):
    (folder / f"{start}-images-idx3-ubyte{'.gz' * pack}").write_bytes((gzip.compress if pack else bytes)(idx(PIXELS)))
    (folder / f"{start}-labels-idx1-ubyte").write_bytes(idx(LABELS))


@pytest.mark.parametrize("pack", [False, True])
def test_a_file(tmp_path, pack):
    write_set(tmp_path, "train", pack)
    file = next(tmp_path.glob("*images*"))
    data = ImageDataset(file, 6)
    assert (len(data), data.is_grey, data.classes.tolist()) == (5, True, LABELS.tolist())
    assert np.array_equal(data.load(channels=1)[2, 0].numpy(), PIXELS[2, :, :6])


def test_a_folder(tmp_path):
    write_set(tmp_path, "train", True)
    write_set(tmp_path, "t10k", False)
    data = ImageDataset(tmp_path, 6, "test")
    assert data.names == [f"test/{index:06d}" for index in range(5)]
    assert len(ImageDataset(tmp_path, 6)) == 10


@pytest.mark.parametrize(
    "data",
    [
        idx(PIXELS)[:-1],
        idx(PIXELS) + b"0",
        idx(PIXELS, (2**31, 2**31, 2**31)),
        idx(PIXELS, (2**20, 28, 28)),
        idx(PIXELS)[:9],
        gzip.compress(idx(PIXELS))[:-9],
        b"",
    ],
)
def test_sizes_are_not_believed(tmp_path, data):
    file = tmp_path / "train-images-idx3-ubyte"
    file.write_bytes(data)
    with pytest.raises(DatasetError):
        read_idx(file)


def test_digits():
    data = ImageDataset(Path("digits"), 8)
    assert (len(data), data.num_classes) == (1797, 10)
    assert data.picture(0).max() == 239  # 15 of 16

"""Network files of every kind, cut short or with flipped bytes: a network or one line, never anything else."""

from __future__ import annotations

import random
import time

import pytest
import torch

from benchmarks.foreign import nvidia_network, rosinality_tensors, write_nvidia
from relatent.core.errors import CheckpointError
from stylegan import Generator, GeneratorConfig, load, save_generator

KILOBYTE = 1024
FLIPS = 100
SECONDS = 5


@pytest.fixture(scope="module")
def generator():
    sizes = {"resolution": 8, "z_dim": 6, "w_dim": 6, "mapping_layers": 2, "channel_base": 64, "channel_max": 6}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Generator(GeneratorConfig(**sizes, conv_clamp=None), name="tiny").eval().requires_grad_(False)


@pytest.fixture(scope="module", params=["ours", "nvidia-2", "nvidia-4", "zip", "legacy"])
def whole(request, generator, tmp_path_factory):
    """The bytes of a good file."""
    path = tmp_path_factory.mktemp("whole") / "network"
    if request.param == "ours":
        save_generator(generator, path)
    elif request.param.startswith("nvidia"):
        write_nvidia(path, int(request.param[-1]), G_ema=nvidia_network(generator))
    else:
        data = {"g_ema": rosinality_tensors(generator), "latent_avg": torch.zeros(6)}
        torch.save(data, path, _use_new_zipfile_serialization=request.param == "zip")
    load(path)
    return path.read_bytes()


def timed_load(path):
    started = time.process_time()
    try:
        return load(path)
    finally:
        assert time.process_time() - started < SECONDS


def test_cut_at_every_kilobyte(tmp_path, whole):
    path = tmp_path / "network"
    lengths = [*range(0, len(whole), KILOBYTE), len(whole) - 1]
    for length in lengths:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError) as error:
            timed_load(path)
        assert str(path) in str(error.value)
        assert len(str(error.value)) < 600


def test_flipped_bytes(tmp_path, whole):
    """Numbers may come out changed; what is no number must be noticed or make no difference."""
    rng = random.Random(0)
    path = tmp_path / "network"
    messages = []
    for _ in range(FLIPS):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 8))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        try:
            timed_load(path)
        except CheckpointError as error:
            messages.append(str(error))
    assert messages
    assert all(len(message) < 700 for message in messages)


def test_torn_and_mended(tmp_path, whole):
    """Pieces of a good file in another order."""
    rng = random.Random(1)
    path = tmp_path / "network"
    for _ in range(FLIPS // 4):
        cut, length = rng.randrange(len(whole)), rng.randrange(1, 200)
        path.write_bytes(whole[:cut] + whole[cut + length :])
        with pytest.raises(CheckpointError):
            timed_load(path)

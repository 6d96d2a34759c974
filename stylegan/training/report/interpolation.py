"""The video at the end of a training: samples that move along a closed path through random latents."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from relatent.core.errors import MissingPackageError
from relatent.core.images import grid
from relatent.core.video import enlarged, write_video
from stylegan.networks.generator import Generator

COLUMNS, ROWS = 3, 2
STOPS = 4  # latents that each sample passes
FRAMES = 20  # from one stop to the next
SEED = 77
HEIGHT = 384  # of the video, about


def write_interpolation(generator: Generator, path: Path) -> None:
    """Write an .mp4 of six samples that pass four random latents each and return to the first.

    Raises:
        MissingPackageError: imageio is not installed.
        UsageError: no ffmpeg on this machine.
        OutputError: the file cannot be written.
    """
    try:
        write_video(interpolation_frames(generator), path)
    except ImportError:
        raise MissingPackageError("imageio-ffmpeg", "", "the interpolation video") from None


@torch.no_grad()
def interpolation_frames(generator: Generator, frames: int = FRAMES) -> Iterator[np.ndarray]:
    """The frames, uint8 [H, W, 3]; w moves from stop to stop and slows down at each."""
    tiles = COLUMNS * ROWS
    stops = generator.sample_w(STOPS * tiles, SEED).view(STOPS, tiles, -1)
    for (a, b), step in itertools.product(zip(stops, stops.roll(-1, 0), strict=True), range(frames)):
        share = (1 - math.cos(math.pi * step / frames)) / 2
        ws = generator.mapping.truncate(a + (b - a) * share, 1.0)
        yield enlarged(grid(generator.synthesis(ws).clamp(-1, 1).cpu(), COLUMNS), HEIGHT)

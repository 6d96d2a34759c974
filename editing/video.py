"""Writes morphs as videos, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np

from editing.drawing import draw_many
from editing.interpolation import MOST_FRAMES, Morph
from editing.pasting import DEFAULT_BLEND, Blend
from editing.photo_faces import PhotoFace
from relatent.core.errors import Cancelled
from relatent.core.images import to_levels, to_pixels
from relatent.core.numbers import as_whole
from relatent.core.provenance import software_tag
from relatent.core.video import DEFAULT_FPS, enlarged, require_video_name, write_video
from stylegan import Generator, network_id

SIDE = 256  # px; smaller videos are too small to watch
OnFrame = Callable[[int, int], object]


def write_morph(
    morph: Morph[Any],
    path: str | Path,
    network: Generator,
    *,
    frames: int = 60,
    fps: float = DEFAULT_FPS,
    batch_size: int | None = None,
    metadata: bool = True,
    photo: PhotoFace | None = None,
    blend: Blend = DEFAULT_BLEND,
    progress: OnFrame | None = None,
) -> None:
    """Write a morph as .mp4 or .gif; see :func:`relatent.core.video.write_video`.

    Pictures of less than SIDE px are enlarged by a whole number until near it.

    Args:
        morph: from :func:`editing.interpolation.morph` or :func:`editing.interpolation.morph_seeds`.
        path: the file to write.
        network: the faces' network.
        frames: how many, from 2; a loop's last one is followed by its first.
        fps: frames a second.
        batch_size: drawn together; None for what suits the network's size.
        photo: the photo's face that all of them show, to show them at its resolution; None for the network's.
        blend: how a drawn face goes into it.
        metadata: let the file say, in its comment, that a network drew it, and which.
        progress: sees how many frames are done, and how many there will be; returning False cancels.

    Raises:
        UsageError: an unknown file type, or a rate or number of frames out of range.
        OutputError: the file cannot be written.
        Cancelled: ``progress`` returned False.
    """
    path = Path(path)
    require_video_name(path, fps)
    if batch_size is not None:
        batch_size = as_whole("batch_size", batch_size, 1, MOST_FRAMES)
    faces, again = tee(morph.frames(frames))
    pictures = draw_many(faces, network, batch_size)

    def drawn() -> Iterator[np.ndarray]:
        for index, (face, picture) in enumerate(zip(again, pictures, strict=True), start=1):
            if photo is None:
                yield enlarged(to_pixels(picture)[0], SIDE)
            else:
                yield photo.edited(face, to_levels(picture)[0].numpy(), blend)
            if progress is not None and progress(index, frames) is False:
                raise Cancelled("the morph was cancelled; nothing was written.")

    comment = f"{software_tag(network_id(network))}; drawn by a neural network" if metadata else ""
    write_video(drawn(), path, fps, comment=comment)

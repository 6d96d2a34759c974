"""Writes morphs as videos, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from editing.drawing import draw_many
from editing.interpolation import Morph
from relatent.core.errors import Cancelled
from relatent.core.images import to_pixels
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
    side: int = SIDE,
    batch_size: int | None = None,
    metadata: bool = True,
    progress: OnFrame | None = None,
) -> None:
    """Write a morph as .mp4 or .gif; see :func:`relatent.core.video.write_video`.

    Args:
        morph: from :func:`editing.interpolation.morph` or :func:`editing.interpolation.morph_seeds`.
        path: the file to write.
        network: of the faces.
        frames: number of frames, at least 2.
        fps: frames per second.
        side: smaller pictures are enlarged by an integer factor to about this many pixels.
        batch_size: pictures drawn together; None for a size that suits the resolution.
        metadata: write the provenance into the comment of the file.
        progress: called with the number of frames done and their total; returning False cancels.

    Raises:
        UsageError: an unknown file type, or a rate or number of frames out of range.
        OutputError: the file cannot be written.
        Cancelled: ``progress`` returned False.
    """
    path = Path(path)
    require_video_name(path, fps)
    pictures = draw_many(morph.frames(frames), network, batch_size)

    def drawn() -> Iterator[np.ndarray]:
        for index, picture in enumerate(pictures, start=1):
            yield enlarged(to_pixels(picture)[0], side)
            if progress is not None and progress(index, frames) is False:
                raise Cancelled("the morph was cancelled; nothing was written.")

    comment = f"{software_tag(network_id(network))}; drawn by a neural network" if metadata else ""
    write_video(drawn(), path, fps, comment=comment)

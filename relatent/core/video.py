"""Moving pictures, written as the frames come: .mp4 (H.264 through ffmpeg) and .gif (Pillow)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from relatent.core.errors import ShapeError, UsageError
from relatent.core.files import atomic_file
from relatent.core.numbers import as_number

SUFFIXES = (".mp4", ".gif")
MAX_FPS = {".mp4": 240, ".gif": 50}  # players take a GIF frame of less than 20 ms for a mistake and show it for 100
DEFAULT_FPS = 24  # frames a second, as in cinemas
LEAST_FPS = 0.1  # ten seconds a frame; a .gif holds 655


def write_video(frames: Iterable[np.ndarray], path: Path, fps: float = DEFAULT_FPS, *, comment: str = "") -> None:
    """Write frames to ``path``, whose suffix says as what; only a .gif keeps them in memory, at a byte a pixel.

    An .mp4 has even sides: an odd one repeats its last row or column. A .gif has 256 colours a frame, repeats for
    ever, and shows a frame that equals the one before it as one, for longer.

    Args:
        frames: uint8 [H, W, 3], all of one size; drawn from only after the request was found good.
        path: ends in .mp4 or .gif.
        fps: frames a second, at least 0.1; at most 240, and 50 in a .gif.
        comment: what the file says of itself; empty for nothing.

    Raises:
        UsageError: another suffix, a rate out of range, no frame at all, or no ffmpeg on this machine.
        ShapeError: frames of another kind, or of different sizes.
        OutputError: it cannot be written; then nothing is left behind.
    """
    require_video_name(path, fps)
    with atomic_file(path) as temporary:
        write = _write_gif if path.suffix.lower() == ".gif" else _write_mp4
        write(_checked(frames), temporary, fps, " ".join(comment.replace("\0", " ").split()))


def require_video_name(path: Path, fps: float = DEFAULT_FPS) -> None:
    """Refuse a file or rate that :func:`write_video` would refuse, before any frame was drawn.

    Raises:
        UsageError: it would, for these reasons or because there is no ffmpeg.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"the video is to be {path.name!r}; expected a name that ends in {' or '.join(SUFFIXES)}.")
    as_number("fps", fps, LEAST_FPS, MAX_FPS[suffix], example="24")
    if suffix == ".mp4":
        _require_ffmpeg()


def enlarged(frame: np.ndarray, side: int) -> np.ndarray:
    """uint8 [H, W, 3], each pixel repeated until the height is near ``side``: players blur what is small."""
    factor = max(1, side // len(frame))
    return frame.repeat(factor, axis=0).repeat(factor, axis=1)


def _checked(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The same frames; there is at least one, and all are alike."""
    shape: tuple[int, ...] | None = None
    for frame in frames:
        expected = shape or (*frame.shape[:2], 3)
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape != expected or not frame.size:
            raise ShapeError(
                f"a frame is {frame.dtype} {list(frame.shape)}; "
                f"expected uint8 {list(shape) if shape else '[H, W, 3]'}, all frames of one size."
            )
        shape = frame.shape
        yield frame
    if shape is None:
        raise UsageError("a video came without frames; expected at least one.")


def _write_mp4(frames: Iterator[np.ndarray], path: Path, fps: float, comment: str) -> None:
    import imageio.v2 as imageio

    first = next(frames)  # before ffmpeg is started: what is wrong with the frames shows here
    # yuv420p, which every player reads, halves the colours' sides.
    padding = ((0, first.shape[0] % 2), (0, first.shape[1] % 2), (0, 0))
    writer = imageio.get_writer(
        path,
        format="FFMPEG",
        fps=fps,
        codec="libx264",
        quality=8,
        macro_block_size=2,
        output_params=["-metadata", f"comment={comment}"] if comment else [],
    )
    with closing(writer):  # as its own context it would leave ffmpeg running after an error, and the file behind
        for frame in chain([first], frames):
            writer.append_data(np.pad(frame, padding, mode="edge"))  # type: ignore[attr-defined]


def _write_gif(frames: Iterator[np.ndarray], path: Path, fps: float, comment: str) -> None:
    pictures = _gif_pictures(frames, fps)
    first = next(pictures)
    first.save(path, format="GIF", save_all=True, append_images=pictures, loop=0, comment=comment.encode())


def _gif_pictures(frames: Iterator[np.ndarray], fps: float) -> Iterator[Image.Image]:
    """Frames in 256 colours, each with the whole hundredths of a second that keep the sum true."""
    for index, frame in enumerate(frames):
        # Dithering would boil: the same colour gets another pattern in each frame.
        picture = Image.fromarray(frame).quantize(256, dither=Image.Dither.NONE)
        picture.info["duration"] = 10 * (round((index + 1) * 100 / fps) - round(index * 100 / fps))
        yield picture


def _require_ffmpeg() -> None:
    import imageio_ffmpeg

    try:
        imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        raise UsageError(
            "no ffmpeg was found on this machine, which .mp4 needs. "
            "Install it again with: pip install imageio-ffmpeg, or write a .gif."
        ) from None

"""Writes videos frame by frame: .mp4 (H.264 with ffmpeg) and .gif (Pillow)."""

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
MAX_FPS = {".mp4": 240, ".gif": 50}  # players show GIF frames of less than 20 ms for 100 ms
DEFAULT_FPS = 24  # frames a second, as in cinemas
LEAST_FPS = 0.1  # ten seconds a frame; a .gif holds 655


def write_video(frames: Iterable[np.ndarray], path: Path, fps: float = DEFAULT_FPS, *, comment: str = "") -> None:
    """Write frames to ``path``, in the format of its suffix. A .gif is kept in memory until it is complete.

    Sides of an .mp4 are even: odd ones are padded by the last row or column. A .gif has 256 colours per frame and loops
    forever; equal consecutive frames are merged into one that is shown longer.

    Args:
        frames: uint8 [H, W, 3], all of one size; consumed only after the other arguments are checked.
        path: ends in .mp4 or .gif.
        fps: frames a second, at least 0.1; at most 240, and 50 in a .gif.
        comment: what the file says of itself; empty for nothing.

    Raises:
        UsageError: another suffix, a rate out of range, no frames, or no ffmpeg on this machine.
        ShapeError: frames of another type or shape, or of different sizes.
        OutputError: the file cannot be written; nothing is left behind.
    """
    require_video_name(path, fps)
    with atomic_file(path) as temporary:
        write = _write_gif if path.suffix.lower() == ".gif" else _write_mp4
        write(_checked(frames), temporary, fps, " ".join(comment.replace("\0", " ").split()))


def require_video_name(path: Path, fps: float = DEFAULT_FPS) -> None:
    """Check file name and frame rate for :func:`write_video`, before any frame is drawn.

    Raises:
        UsageError: another suffix, a rate out of range, or no ffmpeg on this machine.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"the video is to be {path.name!r}; expected a name that ends in {' or '.join(SUFFIXES)}.")
    as_number("fps", fps, LEAST_FPS, MAX_FPS[suffix], example="24")
    if suffix == ".mp4":
        _require_ffmpeg()


def enlarged(frame: np.ndarray, side: int) -> np.ndarray:
    """Enlarge uint8 [H, W, 3] bicubically by an integer factor to a height near ``side``, for small videos."""
    height, width = frame.shape[:2]
    factor = max(1, side // height)
    if factor == 1:
        return frame
    return np.array(Image.fromarray(frame).resize((width * factor, height * factor), Image.Resampling.BICUBIC))


def _checked(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The same frames, checked: at least one, and all of one size."""
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

    first = next(frames)  # before ffmpeg is started, because it raises errors of the frames
    # yuv420p, which all players support, needs even sides.
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
    with closing(writer):  # the writer's own context manager would leave ffmpeg running after an error
        for frame in chain([first], frames):
            writer.append_data(np.pad(frame, padding, mode="edge"))  # type: ignore[attr-defined]


def _write_gif(frames: Iterator[np.ndarray], path: Path, fps: float, comment: str) -> None:
    pictures = _gif_pictures(frames, fps)
    first = next(pictures)
    first.save(path, format="GIF", save_all=True, append_images=pictures, loop=0, comment=comment.encode())


def _gif_pictures(frames: Iterator[np.ndarray], fps: float) -> Iterator[Image.Image]:
    """Frames in 256 colours, with durations in whole hundredths of a second whose errors do not accumulate."""
    for index, frame in enumerate(frames):
        # Dithering would flicker, because its pattern changes from frame to frame.
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

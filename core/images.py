"""The only home of pixel conventions: ranges, channel order, axis order, EXIF orientation.

Conventions, everywhere in Relatent:
    photo   uint8 [H, W, 3], RGB, 0..255, upright (EXIF orientation applied)
    image   float32 [N, 3, H, W], RGB, -1..1: what a generator draws; 0 maps to -1 and 255 to 1
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from core.errors import ShapeError, UnreadablePhotoError

# Formats Pillow decodes by itself; others (EPS among them) start external programs.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "TGA")
SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".webp",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".avif",
        ".tga",
    )
)
MAX_PIXELS = 170_000_000  # a 100-megapixel photo fits with room; a 40,000 x 40,000 bomb does not
MIN_SIDE = 8  # pixels; the smallest generator


@dataclass(frozen=True)
class Photo:
    """A picture as it came from a file.

    Attributes:
        pixels: uint8 [H, W, 3], RGB, upright.
        name: how messages call it.
        note: what a person should know about how it was read; empty if nothing.
        exif: the file's EXIF block with the orientation reset, or None.
        icc_profile: the file's colour profile, or None.
    """

    pixels: np.ndarray
    name: str
    note: str = ""
    exif: bytes | None = None
    icc_profile: bytes | None = None


def read_photo(source: str | Path | bytes, name: str | None = None) -> Photo:
    """Read any picture as upright RGB.

    Transparent pixels are put on white, 16-bit pictures are reduced to 8 bits, CMYK and palettes are
    converted, and of an animation the first frame is used, which ``note`` then says.

    Args:
        source: a path, or the bytes of a file.
        name: how error messages call it; the path by default.

    Raises:
        UnreadablePhotoError: missing, empty, not a picture, damaged, or of an unbelievable size.
    """
    name = name or ("the picture" if isinstance(source, bytes) else str(source))
    data: io.BytesIO | Path = io.BytesIO(source) if isinstance(source, bytes) else _existing_file(Path(source), name)
    with _foreign_errors(name), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of sizes that are checked below, and of odd metadata
        Image.init()
        with Image.open(data, formats=[known for known in FORMATS if known in Image.OPEN]) as opened:
            _check_size(opened, name)
            note = ""
            if getattr(opened, "n_frames", 1) > 1 and opened.format != "MPO":
                note = f"{name} has {opened.n_frames} frames; the first one is used."
            opened.load()
            icc_profile = opened.info.get("icc_profile")
            upright = ImageOps.exif_transpose(opened)
            exif = upright.getexif().tobytes() or None
            pixels = np.asarray(_rgb(upright))
    return Photo(pixels=pixels, name=name, note=note, exif=exif, icc_profile=icc_profile)


def find_photos(folder: Path) -> list[Path]:
    """Every picture file below ``folder``, sorted by path; hidden files and folders are passed over."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def to_tensor(pixels: np.ndarray) -> Tensor:
    """uint8 [H, W, 3] or [N, H, W, 3] to float32 [N, 3, H, W] in [-1, 1]."""
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or pixels.shape[-1] != 3:
        raise ShapeError(f"pixels are {pixels.dtype} {list(pixels.shape)}; expected uint8 [H, W, 3] or [N, H, W, 3].")
    batch = torch.from_numpy(np.array(pixels if pixels.ndim == 4 else pixels[None]))
    return from_uint8(batch.permute(0, 3, 1, 2))


def from_uint8(image: Tensor) -> Tensor:
    """uint8 tensor of any shape to float32 in [-1, 1]."""
    return image.to(torch.float32) / 127.5 - 1


def to_pixels(image: Tensor) -> np.ndarray:
    """float [N, 3, H, W] in [-1, 1] to uint8 [N, H, W, 3], rounded, values outside clamped."""
    if image.ndim != 4 or image.shape[1] != 3:
        raise ShapeError(f"the image has shape {list(image.shape)}; expected [N, 3, H, W].")
    scaled = ((image.detach().float() + 1) * 127.5).round().clamp(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def to_pil(image: Tensor) -> Image.Image:
    """One picture, float [1, 3, H, W] in [-1, 1], as a Pillow image."""
    return Image.fromarray(to_pixels(image)[0])


def encode_png(pixels: np.ndarray) -> bytes:
    """uint8 [H, W, 3] as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def square(pixels: np.ndarray, size: int) -> np.ndarray:
    """The centre square of uint8 [H, W, 3], resized to ``size`` with every source pixel counted.

    Shrinking uses Lanczos with Pillow's area-wide support after exact box reduction; both are
    correct for areas, unlike plain bilinear sampling, which skips pixels.
    """
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    crop = Image.fromarray(pixels[top : top + side, left : left + side])
    if side == size:
        return np.asarray(crop)
    if side % size == 0:
        return np.asarray(crop.reduce(side // size))
    return np.asarray(crop.resize((size, size), Image.Resampling.LANCZOS))


def grid(images: Tensor, columns: int) -> np.ndarray:
    """Pictures [N, 3, H, W] in [-1, 1] laid out row by row, uint8 [rows * H, columns * W, 3]."""
    pixels = to_pixels(images)
    missing = -len(pixels) % columns
    pixels = np.concatenate([pixels, np.full((missing, *pixels.shape[1:]), 255, np.uint8)])
    n, h, w, _ = pixels.shape
    return pixels.reshape(n // columns, columns, h, w, 3).swapaxes(1, 2).reshape(n // columns * h, columns * w, 3)


def _existing_file(path: Path, name: str) -> Path:
    if path.is_dir():
        raise UnreadablePhotoError(f"{name} is a folder; expected a picture file.")
    if not path.exists():
        raise UnreadablePhotoError(f"{name} does not exist. Check the path.")
    if path.stat().st_size == 0:
        raise UnreadablePhotoError(f"{name} is empty (0 bytes). Export or download it again.")
    return path


@contextmanager
def _foreign_errors(name: str) -> Iterator[None]:
    """Whatever Pillow raises becomes one of ours, saying what to do."""
    try:
        yield
    except UnreadablePhotoError:
        raise
    except UnidentifiedImageError:
        raise UnreadablePhotoError(
            f"{name} is not a picture that can be read; expected JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF. "
            "Open it in an image editor and export it as JPEG or PNG."
        ) from None
    except Image.DecompressionBombError:
        raise UnreadablePhotoError(_too_large(name)) from None
    except MemoryError:
        raise UnreadablePhotoError(f"{name} does not fit into memory. Shrink it first.") from None
    except PermissionError:
        raise UnreadablePhotoError(f"{name} may not be read by this user. Change its permissions.") from None
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise UnreadablePhotoError(
            f"{name} is damaged or cut short ({reason}). Export or download it again."
        ) from error


def _check_size(opened: Image.Image, name: str) -> None:
    width, height = opened.size
    if width * height > MAX_PIXELS:
        raise UnreadablePhotoError(_too_large(name, f" ({width} x {height})"))
    if min(width, height) < MIN_SIDE:
        raise UnreadablePhotoError(
            f"{name} is only {width} x {height} pixels; expected at least {MIN_SIDE} x {MIN_SIDE}. Use a larger picture."
        )


def _too_large(name: str, size: str = "") -> str:
    return f"{name} claims too many pixels{size}; at most {MAX_PIXELS // 10**6} megapixels are read. Shrink it first."


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture, dtype=np.float32)
        # Integers come from 16-bit files; floats are 0..1 or 0..255 by custom.
        top = 65535.0 if picture.mode.startswith("I") else (1.0 if values.max(initial=0) <= 1 else 255.0)
        picture = Image.fromarray((values / top * 255).round().clip(0, 255).astype(np.uint8))
    if picture.mode in ("LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
    if picture.mode == "RGBA":
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB")

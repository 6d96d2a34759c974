"""Pixels to the generator's tensors and back, and pictures made of them."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from relatent.core.errors import ShapeError


def to_tensor(pixels: np.ndarray) -> Tensor:
    """uint8 [H, W, 3] or [N, H, W, 3] to float32 [N, 3, H, W] in [-1, 1]."""
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or pixels.shape[-1] != 3:
        raise ShapeError(f"pixels are {pixels.dtype} {list(pixels.shape)}; expected uint8 [H, W, 3] or [N, H, W, 3].")
    batch = torch.from_numpy(np.array(pixels if pixels.ndim == 4 else pixels[None]))
    return from_uint8(batch.permute(0, 3, 1, 2).contiguous())  # [N, 3, H, W]


def from_uint8(image: Tensor) -> Tensor:
    """uint8 tensor of any shape to float32 in [-1, 1]."""
    if image.dtype != torch.uint8:
        raise ShapeError(f"pixels are {image.dtype}; expected torch.uint8, 0 to 255.")
    return image.to(torch.float32) / 127.5 - 1


def to_pixels(image: Tensor) -> np.ndarray:
    """float [N, 3, H, W] in [-1, 1] to uint8 [N, H, W, 3], rounded and clamped."""
    return to_levels(image).round().to(torch.uint8).contiguous().cpu().numpy()


def to_levels(image: Tensor) -> Tensor:
    """float [N, 3, H, W] in [-1, 1] to float32 [N, H, W, 3] from 0 to 255, clamped but not rounded."""
    if image.ndim != 4 or image.shape[1] != 3 or not image.is_floating_point():
        raise ShapeError(f"the image is {image.dtype} {list(image.shape)}; expected floats [N, 3, H, W] in -1..1.")
    return ((image.detach().float() + 1) * 127.5).clamp(0, 255).permute(0, 2, 3, 1)


def encode_png(pixels: np.ndarray) -> bytes:
    """uint8 [H, W, 3] as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def square(pixels: np.ndarray, size: int) -> np.ndarray:
    """The centre square of uint8 [H, W, 3], resized to uint8 [size, size, 3] without aliasing.

    Integer factors average boxes. Others use Lanczos, whose kernel Pillow scales with the factor. Bilinear sampling
    would skip pixels. If the margin is odd, the extra pixel is cut at the bottom or right.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ShapeError(f"pixels are {pixels.dtype} {list(pixels.shape)}; expected uint8 [H, W, 3].")
    if size < 1:
        raise ShapeError(f"the square's side is {size}; expected at least 1 pixel.")
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    crop = np.array(pixels[top : top + side, left : left + side])
    if side == size:
        return crop
    if side % size == 0:
        return _box_means(crop, side // size)
    # np.array copies, because Pillow's own array is read-only
    return np.array(Image.fromarray(crop).resize((size, size), Image.Resampling.LANCZOS))


def grid(images: Tensor, columns: int) -> np.ndarray:
    """Pictures [N, 3, H, W] in [-1, 1] laid out row by row, uint8 [rows * H, columns * W, 3]."""
    pixels = to_pixels(images)
    missing = -len(pixels) % columns
    pixels = np.concatenate([pixels, np.full((missing, *pixels.shape[1:]), 255, np.uint8)])
    n, h, w, _ = pixels.shape
    return pixels.reshape(n // columns, columns, h, w, 3).swapaxes(1, 2).reshape(n // columns * h, columns * w, 3)


def _box_means(pixels: np.ndarray, box: int) -> np.ndarray:
    """Means of ``box`` x ``box`` pixels of uint8 [S, S, 3], rounded; Pillow's ``reduce`` is sometimes off by one."""
    size = len(pixels) // box
    rows = pixels.reshape(size, box, -1).sum(axis=1, dtype=np.uint32)  # [S / box, S * 3]
    sums = rows.reshape(size, size, box, 3).sum(axis=2, dtype=np.uint64)
    return ((sums + box**2 // 2) // box**2).astype(np.uint8)

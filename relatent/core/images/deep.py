"""Reads and writes pictures of 16 bits per channel, which Pillow reduces to 8."""

from __future__ import annotations

import importlib
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # PNG's number, by channels
UP = 2  # PNG's filter that takes the row above off each row
BITS_PER_SAMPLE, SAMPLE_FORMAT = 258, 339  # TIFF's tags
ALIKE = 2.5  # of 255; two decoders' readings of one picture differ no more
# From how a camera has stored a picture to upright, by the number in EXIF.
UPRIGHT = {
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: stored.swapaxes(0, 1)[::-1],
}


def is_deep(opened: Image.Image) -> bool:
    """Whether a PNG or TIFF that Pillow has opened, but not loaded, has several channels of 16 bits."""
    if opened.format == "PNG":
        tile = getattr(opened, "tile", None) or [()]
        return any(isinstance(part, str) and part.endswith(";16B") and not part.startswith("I") for part in tile[0])
    tags = getattr(opened, "tag_v2", {}) if opened.format == "TIFF" else {}
    bits = tuple(tags.get(BITS_PER_SAMPLE, ()))
    return len(bits) > 1 and set(bits) == {16} and set(tags.get(SAMPLE_FORMAT, (1,))) == {1}


def read_deep(data: bytes, eight_bits: np.ndarray, orientation: int = 1) -> np.ndarray | None:
    """Read a picture with 16 bits per channel, of which Pillow has read 8.

    Args:
        data: the file.
        eight_bits: uint8 [H, W, C], upright, as Pillow has read it: grey and alpha, RGB, or RGB and alpha.
        orientation: EXIF's number of how the file has stored it.

    Returns:
        uint16 [H, W, C], upright; None where OpenCV is missing, cannot read it, or reads another picture.
    """
    try:
        cv2 = importlib.import_module("cv2")
        stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except Exception:  # cv2.error of many kinds, and no cv2: the 8 bits are there
        return None
    if stored is None or stored.dtype != np.uint16 or stored.ndim != 3:
        return None
    order = {2: (0, 3), 3: (2, 1, 0), 4: (2, 1, 0, 3)}[eight_bits.shape[2]]  # OpenCV has blue first
    if max(order) >= stored.shape[2]:
        return None
    for turned in (stored, UPRIGHT.get(orientation, lambda same: same)(stored)):
        if turned.shape[:2] == eight_bits.shape[:2]:
            levels = np.ascontiguousarray(turned[..., order])
            if _alike(levels, eight_bits):
                return levels
    return None


def encode_deep_png(levels: np.ndarray, described: bytes) -> bytes:
    """Encode a PNG with 16 bits per channel.

    Args:
        levels: uint16 [H, W, C]: grey, grey and alpha, RGB, or RGB and alpha.
        described: another PNG, from which profile, EXIF and text are copied.
    """
    height, width, channels = levels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, 0)
    rows = levels.astype(">u2").reshape(height, -1).view(np.uint8)  # [H, W * C * 2]
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])  # bytes, modulo 256
    parts = [SIGNATURE, _chunk(b"IHDR", header)]
    parts += [_chunk(kind, body) for kind, body in _chunks(described) if kind not in (b"IHDR", b"IDAT", b"IEND")]
    return b"".join([*parts, _chunk(b"IDAT", zlib.compress(filtered.tobytes(), 6)), _chunk(b"IEND", b"")])


def _alike(levels: np.ndarray, eight_bits: np.ndarray) -> bool:
    return all(
        np.abs(levels[top : top + 256] / 257 - eight_bits[top : top + 256]).max() <= ALIKE
        for top in range(0, len(levels), 256)
    )


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG that Pillow has written."""
    place = len(SIGNATURE)
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        place += length + 12

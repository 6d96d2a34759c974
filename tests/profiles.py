"""Colour profiles made by hand, and what they mean by the book."""

from __future__ import annotations

import struct

import numpy as np

# Columns: the primaries' XYZ under D50.
ADOBE_RGB = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
DISPLAY_P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
WHITE = (0.9642, 1.0, 0.8249)


def matrix_profile(primaries: np.ndarray, gamma: float) -> bytes:
    """An ICC profile of RGB: primaries, and one exponent for all channels."""
    tags = {name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries.T, strict=True)}
    return _profile(b"RGB ", {**tags, **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma))})


def grey_profile(gamma: float) -> bytes:
    """An ICC profile of grey."""
    return _profile(b"GRAY", {b"kTRC": _curve(gamma)})


def in_srgb(colours: np.ndarray, primaries: np.ndarray, gamma: float) -> np.ndarray:
    """Colours [..., 3] of a matrix profile as sRGB, 0 to 255, not clipped."""
    linear = (colours / 255.0) ** gamma
    return encode_srgb(linear @ primaries.T @ np.linalg.inv(SRGB).T)


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light as sRGB, 0 to 255."""
    positive = np.maximum(linear, 0)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * positive ** (1 / 2.4) - 0.055)


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: np.ndarray | tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(_fixed(float(value)) for value in values)


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = b"made by hand\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + b"\0" * (78 + 1)
    tags = {b"desc": description, b"cprt": b"text\0\0\0\0" + text, b"wtpt": _xyz(WHITE), **tags}
    place = 128 + 4 + 12 * len(tags)
    index, bodies = struct.pack(">I", len(tags)), b""
    for name, body in tags.items():
        padded = body + b"\0" * (-len(body) % 4)
        index += name + struct.pack(">II", place + len(bodies), len(body))
        bodies += padded
    head = b"\0\0\0\0lcms\x02\x20\0\0mntr" + space + b"XYZ " + struct.pack(">6H", 2020, 2, 20, 20, 20, 20)
    head += b"acsp" + b"\0" * 28 + b"".join(_fixed(value) for value in WHITE)
    head += b"\0" * (128 - len(head))
    return struct.pack(">I", place + len(bodies)) + head[4:] + index + bodies

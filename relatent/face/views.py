"""Reduced, enlarged and rotated copies of a photo for face detection, each with its matrix to the photo."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np

from relatent.face.sampling import map_points

Box = tuple[float, float, float, float]  # left, top, right, bottom
Item = TypeVar("Item")


@dataclass(frozen=True)
class View:
    """A searchable copy of a photo.

    Attributes:
        pixels: uint8 [h, w, 3].
        to_photo: float64 [3, 3]; columns (x, y, 1), (0, 0) the centre of the top-left pixel of both pictures.
    """

    pixels: np.ndarray
    to_photo: np.ndarray


@dataclass(frozen=True)
class Square:
    """A detection, as a square that may be rotated.

    Attributes:
        centre: (x, y) in photo pixels.
        half: (x, y) from the centre to the middle of the right edge in the face's orientation, in photo pixels.
        score: of the detector; above 0, and above 1 for a clear frontal face.
    """

    centre: np.ndarray
    half: np.ndarray
    score: float

    @property
    def radius(self) -> float:
        """Half the square's side in photo pixels."""
        return math.hypot(*self.half)


def upright_view(pixels: np.ndarray, long_side: int) -> View:
    """The whole photo with its long side resized to ``long_side`` pixels, by area means or bicubically."""
    height, width = pixels.shape[:2]
    if long_side == max(height, width):
        return View(pixels, np.eye(3))
    scale = long_side / max(height, width)
    new_width, new_height = (max(1, round(length * scale)) for length in (width, height))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    copy = cv2.resize(pixels, (new_width, new_height), interpolation=interpolation)
    x, y = width / new_width, height / new_height  # slightly different due to rounding
    return View(np.asarray(copy), np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]]))


def tiles(view: View, step: int, overlap: int) -> Iterator[View]:
    """Overlapping tiles of a view; everything of at most ``overlap`` pixels lies completely in one of them."""
    height, width = view.pixels.shape[:2]
    for top in range(0, max(1, height - overlap), step):
        for left in range(0, max(1, width - overlap), step):
            move = np.array([[1, 0, left], [0, 1, top], [0, 0, 1]])
            piece = view.pixels[top : top + step + overlap, left : left + step + overlap]
            yield View(piece, view.to_photo @ move)


def turned_view(view: View, degrees: float) -> View:
    """A view rotated so that a face tilted clockwise by ``degrees`` is upright.

    The copy contains all of the view. The rest is filled with the view's mean colour, because reflection padding would
    create spurious faces.
    """
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    height, width = view.pixels.shape[:2]
    size = (math.ceil(abs(width * cos) + abs(height * sin)), math.ceil(abs(width * sin) + abs(height * cos)))
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])  # new to old: x right becomes x turned clockwise
    middle_old = np.array([(width - 1) / 2, (height - 1) / 2])
    middle_new = np.array([(size[0] - 1) / 2, (size[1] - 1) / 2])
    turn[:2, 2] = middle_old - turn[:2, :2] @ middle_new
    copy = cv2.warpAffine(
        view.pixels,
        turn[:2],
        size,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=view.pixels.mean(axis=(0, 1)).tolist(),
    )
    return View(np.asarray(copy), view.to_photo @ turn)


def square_of_box(box: Box, score: float = 0.0) -> Square:
    """The upright square in the middle of a box (left, top, right, bottom), as wide as the box."""
    left, top, right, bottom = box
    return Square(np.array([(left + right) / 2, (top + bottom) / 2]), np.array([(right - left) / 2, 0.0]), score)


def square_in_photo(view: View, box: Box, score: float) -> Square:
    """A box of the detector (left, top, right, bottom: centres of its outermost pixels) as a square in the photo."""
    here = square_of_box(box)
    middle, edge = map_points(view.to_photo, np.stack([here.centre, here.centre + here.half]))
    return Square(middle, edge - middle, score)


def without_repeats(items: list[Item], square_of: Callable[[Item], Square]) -> list[Item]:
    """Non-maximum suppression: the item with the highest score for each face, highest first.

    Two squares are the same face if the centre of one lies within the other. Faces side by side may overlap, but their
    centres are at least the width of a face apart.
    """
    kept: list[Item] = []
    for item in sorted(items, key=lambda item: -square_of(item).score):
        if not any(_same_face(square_of(item), square_of(other)) for other in kept):
            kept.append(item)
    return kept


def _same_face(a: Square, b: Square) -> bool:
    return math.hypot(*(a.centre - b.centre)) <= 0.9 * max(a.radius, b.radius)

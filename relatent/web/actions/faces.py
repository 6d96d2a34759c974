"""Detects the faces of an uploaded photo, outlines them, and finds the one that was clicked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from relatent.core.images import Photo
from relatent.face import Face, choose_faces, find_faces
from relatent.face.identity import SAME_PERSON
from relatent.web.pictures import for_screen

CHOSEN, OTHER, INK = (255, 196, 0), (235, 235, 235), (20, 20, 20)


@dataclass(frozen=True)
class DetectedFaces:
    """A photo of the session with its detected faces.

    Attributes:
        path: its file in the session's folder.
        name: of the uploaded file.
        faces: largest first; empty without alignment.
        chosen: number of the chosen face, counted from 1.
    """

    path: Path
    name: str
    faces: tuple[Face, ...] = ()
    chosen: int = 1


def faces_of(photo: Photo) -> tuple[Face, ...]:
    """Detect all faces, largest first.

    Raises:
        FaceNotFoundError: there are none.
    """
    height, width = photo.pixels.shape[:2]
    return tuple(choose_faces(find_faces(photo.pixels), "all", photo.name, (width, height)))


def recognised(distance: float | None) -> str:
    """Whether dlib takes two faces for one person, from their identity distance: "yes", "no" or "unknown"."""
    return "unknown" if distance is None else "yes" if distance < SAME_PERSON else "no"


def outlined(pixels: np.ndarray, faces: Sequence[Face], chosen: int = 1) -> np.ndarray:
    """The photo reduced for the screen, with a numbered frame around each face, uint8 [H, W, 3]."""
    small, factor = for_screen(pixels)
    picture = Image.fromarray(small)
    pen = ImageDraw.Draw(picture)
    width = max(3, round(max(picture.size) / 180))
    font = ImageFont.load_default(size=max(14, round(max(picture.size) / 30)))
    for number, face in sorted(enumerate(faces, start=1), key=lambda pair: pair[0] == chosen):
        left, top, right, bottom = (value * factor for value in face.box)
        colour = CHOSEN if number == chosen else OTHER
        pen.rectangle((left, top, right, bottom), outline=INK, width=width + 2)
        pen.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=colour, width=width)
        if len(faces) > 1:
            _number(pen, font, (max(0.0, left), max(0.0, top)), str(number), colour)
    return np.array(picture)


def face_at(point: tuple[float, float], pixels: np.ndarray, faces: Sequence[Face]) -> int | None:
    """The number of the face at a click on the picture of :func:`outlined`; None if there is none.

    Args:
        point: (x, y) in pixels of the outlined picture.
        pixels: the photo, uint8 [H, W, 3].
        faces: of the photo.
    """
    factor = for_screen(pixels)[1]
    x, y = (value / factor for value in point)
    hits = [
        (face.area, number)
        for number, face in enumerate(faces, start=1)
        if face.box[0] <= x <= face.box[2] and face.box[1] <= y <= face.box[3]
    ]
    return min(hits)[1] if hits else None


def _number(
    pen: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    corner: tuple[float, float],
    text: str,
    colour: tuple[int, int, int],
) -> None:
    box = pen.textbbox(corner, text, font=font)
    pad = 6
    pen.rectangle((corner[0], corner[1], box[2] + 2 * pad, box[3] + 2 * pad), fill=colour)
    pen.text((corner[0] + pad, corner[1] + pad), text, fill=INK, font=font)

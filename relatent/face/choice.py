"""Selects faces of a photo: the largest, all, or one by number."""

from __future__ import annotations

from typing import Literal

from relatent.core.errors import FaceNotFoundError, UsageError
from relatent.face.landmarks import Face


def choose_faces(
    faces: list[Face],
    which: Literal["largest", "all"] | int,
    name: str,
    size: tuple[int, int],
) -> list[Face]:
    """The chosen faces; never an empty list.

    Args:
        faces: of one photo, largest first, from `relatent.face.landmarks.find_faces`.
        which: ``"largest"``, ``"all"``, or a number from 1, the largest face.
        name: of the photo in messages.
        size: (width, height) of the photo in pixels, for messages.

    Raises:
        FaceNotFoundError: there is no face, or no face of that number.
        UsageError: ``which`` has another value.
    """
    number = which if isinstance(which, int) and not isinstance(which, bool) else None
    if (number is None and which not in ("largest", "all")) or (number is not None and number < 1):
        raise UsageError(f"face {which!r} cannot be chosen; expected largest, all, or a number from 1 (the largest).")
    photo = f"{name} ({size[0]} x {size[1]})"
    if not faces:
        raise FaceNotFoundError(
            f"no face found in {photo}. If the face is small or turned away, crop closer, "
            "or use --no-align with an aligned square."
        )
    if number is None:
        return faces[:1] if which == "largest" else list(faces)
    if number > len(faces):
        found = "only 1 face was" if len(faces) == 1 else f"only {len(faces)} faces were"
        raise FaceNotFoundError(
            f"{found} found in {photo}, but face {number} was asked for. "
            f"Choose a number up to {len(faces)} (1 is the largest), or all."
        )
    return [faces[number - 1]]

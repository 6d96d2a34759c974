"""The pictures of the Edit tab: the edited face, and the photo with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from editing.pasting import DEFAULT_BLEND, Blend, paste_back, paste_drawn
from inversion import Inversion
from relatent.core.images import Photo, read_photo, to_levels, to_pixels
from relatent.core.provenance import MarkedImage, software_tag
from relatent.web.actions.edit import Change, named
from relatent.web.pictures import for_screen
from relatent.web.session import Kept
from relatent.web.studio import Studio

SCREEN_FILE = "screen.jpg"  # beside the photo, in the session's folder
SCREEN_QUALITY = 95  # of Pillow's JPEG; higher is advised against by its documentation
LARGEST_REMEMBERED = 256  # px; what larger networks draw is too much to remember of every face


def write_screen_copy(photo: Photo, path: Path) -> None:
    """Write a reduced copy beside ``path``, because decoding the whole photo at each move of a slider is too slow."""
    small = for_screen(photo.pixels)[0]
    Image.fromarray(small).save(path.with_name(SCREEN_FILE), quality=SCREEN_QUALITY, subsampling=0)


def changed(studio: Studio, one: Kept, change: Change | None = None) -> Inversion:
    """The face with a change applied, by default the newest of its history."""
    return (change or one.history.now).apply(one.inversion, studio.network, studio.directions)


def shown(studio: Studio, one: Kept, blend: Blend = DEFAULT_BLEND) -> tuple[np.ndarray, np.ndarray | None]:
    """The face as it is now, and the photo at a screen's size with it.

    Returns:
        uint8 [R, R, 3], and uint8 [H, W, 3] or None without a photo.
    """
    edited = changed(studio, one)
    levels = _levels(studio, edited)
    face = levels.round().astype(np.uint8)
    if one.photo is None or edited.face_to_photo is None:
        return face, None
    with Image.open(one.photo.with_name(SCREEN_FILE)) as opened:
        pixels = np.array(opened.convert("RGB"))
    if not edited.edits:
        return face, pixels
    placed = edited.replace(face_to_photo=_scaled(edited.face_to_photo, one.factor))
    pasted = paste_drawn(pixels, placed, levels, _before(studio, one), studio.network, blend)
    return face, Photo(pixels, one.stem).changed(pasted)  # a grey photo stays grey, as in the file that is downloaded


def _before(studio: Studio, one: Kept) -> np.ndarray:
    """The face without edits, [R, R, 3] from 0 to 255; cached if it is small."""
    drawn = one.drawn.get("before")
    if drawn is None:
        drawn = _levels(studio, one.inversion.unedited())
        if studio.network.resolution <= LARGEST_REMEMBERED:
            one.drawn["before"] = drawn
    return drawn


def _levels(studio: Studio, inversion: Inversion) -> np.ndarray:
    with studio.network_lock.quick():
        return to_levels(inversion.tensor(studio.network))[0].numpy()


def in_photo(studio: Studio, one: Kept, edited: Inversion, blend: Blend = DEFAULT_BLEND) -> MarkedImage | None:
    """The photo at full size with the edited face pasted into it; None without a photo."""
    if one.photo is None or edited.face_to_photo is None:
        return None
    photo = read_photo(one.photo, one.stem)
    with studio.network_lock.quick():
        return paste_back(edited, photo, blend=blend, network=studio.network)


def sweep(studio: Studio, one: Kept, name: str, strengths: Sequence[float]) -> MarkedImage:
    """The edited face, moved along a direction: a picture for each strength, from left to right.

    Raises:
        UnknownNameError: there is no such direction.
    """
    base, direction = changed(studio, one), named(name, studio.network, studio.directions)
    cells = []
    for strength in strengths:
        moved_along = base.replace(ws=direction.apply(base.ws, strength))
        with studio.network_lock.quick():
            cells.append(to_pixels(moved_along.tensor(studio.network))[0])
    ranges = f"{direction.name} {strengths[0]:g} to {strengths[-1]:g}"
    return MarkedImage(np.concatenate(cells, axis=1), f"{software_tag(base.network, base.edits)}; sweep {ranges}")


def _scaled(matrix: np.ndarray, factor: float) -> np.ndarray:
    """Scale a matrix into photo pixels to pixels of a copy ``factor`` times as large; pixel centres are integers."""
    move = (factor - 1) / 2
    return np.array([[factor, 0, move], [0, factor, move], [0, 0, 1]]) @ matrix

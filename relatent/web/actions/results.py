"""The pictures of the Edit tab: the edited face, and the photo with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from editing.edits import moved
from editing.pasting import DEFAULT_BLEND, Blend, paste_back, paste_drawn
from editing.photo_faces import PhotoFace, at_photo, photo_face
from inversion import Inversion
from relatent.core.images import Photo, photo_of, read_photo, to_levels
from relatent.core.provenance import MarkedImage, software_tag
from relatent.face.warp import Warp, warp_of
from relatent.web.actions.edit import Change, named
from relatent.web.pictures import for_screen
from relatent.web.session import Kept
from relatent.web.state import AppState

SCREEN_FILE = "screen.jpg"  # beside the photo, in the session's folder
SCREEN_QUALITY = 95
SWEEP_SIDE = 256  # px of each face of a strip


def write_screen_copy(photo: Photo, path: Path) -> None:
    """Write a reduced copy beside ``path``, because decoding the whole photo at each move of a slider is too slow."""
    small = for_screen(photo.pixels)[0]
    Image.fromarray(small).save(path.with_name(SCREEN_FILE), quality=SCREEN_QUALITY, subsampling=0)


def changed(app: AppState, one: Kept, change: Change | None = None) -> Inversion:
    """The face with a change applied, by default the newest of its history."""
    return (change or one.history.now).apply(one.inversion, app.network, app.directions)


@dataclass(frozen=True)
class Shown:
    """A face as it is now.

    Attributes:
        face: uint8 [S, S, 3], at the photo's own resolution where the photo's face is known; else what is drawn.
        photo: uint8 [H, W, 3], the photo at a screen's size with it; None where there is no photo.
    """

    face: np.ndarray
    photo: np.ndarray | None = None


def shown(
    app: AppState, one: Kept, blend: Blend = DEFAULT_BLEND, others: Sequence[Kept] = (), *, face: bool = True
) -> Shown:
    """The face as it is now, and the photo with it.

    Args:
        app: the shared state.
        one: the face.
        blend: how it is pasted.
        others: faces of the same photo whose edits belong into it as well.
        face: whether the face is wanted; without it, a face with a photo is shown there alone, which is faster.
    """
    edited = changed(app, one)
    found = photo_face_of(app, one)
    screen = _screen(one) if edited.face_to_photo is not None else None
    if screen is not None:
        for other in others:
            screen = _on_screen(app, other, screen, blend)
    if not edited.edits:
        return Shown(drawing(app, edited) if found is None else found.pixels, screen)
    levels = _levels(app, edited)
    picture, warp = levels.round().astype(np.uint8), None
    if found is not None and blend == "warp":
        warp = warp_of(levels, found.before, found.landmarks, _mask(edited))
    if found is not None and (face or screen is None):
        picture = found.edited(edited, levels, blend, warp)
    if screen is None:
        return Shown(picture)
    return Shown(picture, _pasted(app, one, edited, screen, levels, blend, warp))


def _on_screen(app: AppState, one: Kept, screen: np.ndarray, blend: Blend) -> np.ndarray:
    """The photo at a screen's size with one more face as it is now."""
    edited = changed(app, one)
    if edited.face_to_photo is None:
        return screen
    return _pasted(app, one, edited, screen, _levels(app, edited), blend)


def _pasted(
    app: AppState,
    one: Kept,
    edited: Inversion,
    screen: np.ndarray,
    levels: np.ndarray,
    blend: Blend,
    warp: Warp | None = None,
) -> np.ndarray:
    assert edited.face_to_photo is not None
    found = photo_face_of(app, one)
    placed = edited.replace(face_to_photo=_scaled(edited.face_to_photo, one.factor))
    before, points = (found.before, found.landmarks) if found else (_levels(app, edited.unedited()), None)
    pasted = paste_drawn(screen, placed, levels, before, app.network, blend, points, warp)
    return Photo(screen, one.stem).changed(pasted)  # a grey photo stays grey, as in the downloaded file


def original(one: Kept) -> Shown:
    """The face and the photo before any edit; the face is the photo's own where it is known."""
    return Shown(one.at_photo[0].pixels if one.at_photo else one.aligned, _screen(one))


def drawing(app: AppState, inversion: Inversion) -> np.ndarray:
    """What the network draws, uint8 [R, R, 3]."""
    return _levels(app, inversion).round().astype(np.uint8)


def face_picture(app: AppState, inversion: Inversion, blend: Blend = DEFAULT_BLEND) -> MarkedImage:
    """A face to take home: at the photo's resolution where the photo's face is kept with it, else as it is drawn."""
    with app.network_lock.quick():
        return at_photo(inversion, app.network, blend) or inversion.image(app.network)


def _screen(one: Kept) -> np.ndarray | None:
    if one.photo is None:
        return None
    return one.screen.read(one.photo.with_name(SCREEN_FILE))


def photo_face_of(app: AppState, one: Kept) -> PhotoFace | None:
    """The photo's face, looked at once; None where it is not kept with the latent."""
    if not one.at_photo:
        with app.network_lock.quick():
            found = photo_face(one.inversion, app.network)
        if found is None:
            return None
        one.at_photo.append(found)
    return one.at_photo[0]


def _mask(inversion: Inversion) -> np.ndarray | None:
    return None if inversion.mask is None else inversion.mask[0, 0].numpy()


def _levels(app: AppState, inversion: Inversion) -> np.ndarray:
    with app.network_lock.quick():
        return to_levels(inversion.tensor(app.network))[0].numpy()


def in_photo(
    app: AppState, one: Kept, edited: Inversion, blend: Blend = DEFAULT_BLEND, others: Sequence[Kept] = ()
) -> MarkedImage | None:
    """The photo at full size with the edited face, and with the edits of ``others`` in it; None without a photo."""
    if one.photo is None or edited.face_to_photo is None:
        return None
    photo = read_photo(one.photo, one.stem)
    with app.network_lock.quick():
        for other in others:
            found = photo_of(paste_back(changed(app, other), photo, blend=blend, network=app.network), one.stem)
            photo = dataclasses.replace(photo, pixels=found.pixels, original=found.original)
        return paste_back(edited, photo, blend=blend, network=app.network)


def sweep(app: AppState, one: Kept, name: str, strengths: Sequence[float]) -> MarkedImage:
    """The edited face, moved along a direction: a picture for each strength, from left to right.

    Raises:
        UnknownNameError: there is no such direction.
    """
    base, direction = changed(app, one), named(name, app.network, app.directions)
    found = photo_face_of(app, one)
    small = found and found.resized(max(app.network.resolution, min(found.side, SWEEP_SIDE)))
    cells = []
    for strength in strengths:
        face = moved(base, [(direction, strength)])
        levels = _levels(app, face)
        cells.append(levels.round().astype(np.uint8) if small is None else small.edited(face, levels))
    ranges = f"{direction.name} {strengths[0]:g} to {strengths[-1]:g}"
    return MarkedImage(np.concatenate(cells, axis=1), f"{software_tag(base.network, base.edits)}; sweep {ranges}")


def _scaled(matrix: np.ndarray, factor: float) -> np.ndarray:
    """Scale a matrix into photo pixels to pixels of a copy ``factor`` times as large; pixel centres are integers."""
    move = (factor - 1) / 2
    return np.array([[factor, 0, move], [0, factor, move], [0, 0, 1]]) @ matrix

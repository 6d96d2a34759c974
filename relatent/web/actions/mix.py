"""The Mix tab: a mixed face, a grid of all pairs of faces, and a morph video."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from editing.drawing import draw_many
from editing.interpolation import morph
from editing.mixing import mix, mix_grid
from editing.video import write_morph
from inversion import Inversion
from relatent.core.errors import UsageError
from relatent.core.images import to_pixels
from relatent.core.provenance import MarkedImage, software_tag
from relatent.web.pictures import smooth
from stylegan import Generator, network_id

SWITCHES = ("coarse", "middle", "fine")
LARGEST_GRID = 6  # faces along each side
MOST_FRAMES = 300  # a visitor waits no longer for a video
GRID_SIDE = 128  # px; smaller faces are enlarged by an integer factor


@dataclass(frozen=True)
class Source:
    """A source of styles.

    Attributes:
        face: the face whose styles are used.
        switches: some of "coarse", "middle" and "fine"; none excludes this source.
        strength: interpolation from the mixed face (0) to this one (1).
    """

    face: Inversion
    switches: tuple[str, ...] = ("coarse",)
    strength: float = 1.0


def mixed(face: Inversion, sources: Sequence[Source]) -> Inversion:
    """Mix the sources' styles into ``face``, in order.

    Raises:
        UsageError: no source has a switch on, the faces belong to different networks, or the network does not have
            the layers.
    """
    used = [one for one in sources if one.switches]
    if not used:
        raise UsageError("no styles were switched on; expected coarse, middle or fine of at least one other face.")
    layers = [",".join(one.switches) for one in used]
    return mix(face, [one.face for one in used], layers, [one.strength for one in used])


def grid_picture(
    faces: Sequence[Inversion], network: Generator, switches: Sequence[str], strength: float = 1.0
) -> MarkedImage:
    """A grid in which each row is a face and each column the source of styles, with the faces along the edges.

    Raises:
        UsageError: fewer than two faces, more than ``LARGEST_GRID``, no switch on, or as :func:`mixed`.
    """
    if not 2 <= len(faces) <= LARGEST_GRID:
        raise UsageError(f"{len(faces)} faces came for a grid; expected 2 to {LARGEST_GRID}. Choose among them.")
    if not switches:
        raise UsageError("no styles were switched on; expected coarse, middle or fine.")
    cells = mix_grid(faces, faces, ",".join(switches), strength)
    drawn = [to_pixels(picture)[0] for picture in draw_many([*faces, *(one for row in cells for one in row)], network)]
    count, factor = len(faces), max(1, GRID_SIDE // network.resolution)
    edge, inside = drawn[:count], drawn[count:]
    rows = [[np.full_like(edge[0], 255), *edge]]
    rows += [[edge[row], *inside[row * count : (row + 1) * count]] for row in range(count)]
    side = factor * network.resolution
    pixels = np.concatenate([np.concatenate([smooth(cell, side) for cell in row], axis=1) for row in rows])
    return MarkedImage(pixels, f"{software_tag(network_id(network))}; grid of {count} x {count} faces")


def write_faces_morph(
    faces: Sequence[Inversion],
    path: Path,
    network: Generator,
    *,
    frames: int = 60,
    fps: float = 24,
    loop: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> None:
    """Write a morph video; see :func:`editing.video.write_morph` for the arguments and errors.

    Raises:
        UsageError: fewer than two faces, or more frames than ``MOST_FRAMES``.
    """
    if not 2 <= frames <= MOST_FRAMES:
        raise UsageError(f"{frames} frames were asked for; the page draws 2 to {MOST_FRAMES}.")
    path_of_faces = morph(list(faces), network, loop=loop)
    write_morph(path_of_faces, path, network, frames=frames, fps=fps, progress=progress)

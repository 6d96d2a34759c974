"""Mixes faces, or draws a grid of mixes, and writes the results."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from editing.drawing import draw_many, with_noise
from editing.faces import Face, Named, as_faces, opened_faces
from editing.layers import layer_numbers, layer_text
from editing.mixing import mix, mix_grid
from editing.pasting import DEFAULT_BLEND, Blend, paste_back
from editing.photo_faces import At, PhotoFace, at_photo, cut_from, enlarged_smoothly, photo_face, sheet_side
from editing.results import claim_below, claim_folder, claim_result, find_photo, write_account, write_edited
from inversion import Inversion
from relatent.core.claims import Claim
from relatent.core.errors import UsageError
from relatent.core.images import MAX_PIXELS, to_levels, to_pixels
from relatent.core.provenance import MarkedImage, software_tag
from stylegan import Generator, network_id

GRID_FILE = "grid.png"


@dataclass(frozen=True)
class MixOptions:
    """The options of `editing mix`.

    Attributes:
        layers: one choice for each face that is mixed in, or a single one for a grid.
        strengths: one for all, or one for each face that is mixed in.
        psi: truncation of the faces of seeds.
        noise_mode: "const" keeps the noise of each face.
        seed: of random noise.
        blend: how a face is pasted into its photo.
        at: "photo" writes faces at the resolution of their photo, if the photo or its crop is available; "network" at
            that of the network.
        photos: photos, or folders of photos, in which to search for the inverted one.
        metadata: write provenance (relatent.core.provenance).
    """

    layers: tuple[str, ...]
    strengths: tuple[float, ...] = (1.0,)
    psi: float = 1.0
    noise_mode: str = "const"
    seed: int = 0
    blend: Blend = DEFAULT_BLEND
    at: At = "photo"
    photos: tuple[Path, ...] = ()
    metadata: bool = True


class _Cell(NamedTuple):
    """A picture of the grid; row and column count from its top left corner, which is empty."""

    name: str
    row: int
    col: int
    inversion: Inversion


def mix_faces(found: Sequence[Named], outdir: Path | None, network: Generator, options: MixOptions) -> tuple[Path, str]:
    """Mix the styles of further faces into the first, and write its folder as `editing edit` does.

    Args:
        found: the face to change, followed by the sources of styles.
        outdir: results are written to OUTDIR/NAME; None for the first inversion's own folder.
        network: of the faces.
        options: see :class:`MixOptions`.

    Returns:
        The folder, and a note for the user, which may be empty.

    Raises:
        UsageError: too few faces, a seed without ``outdir``, or as :func:`editing.mixing.mix`.
        OutputError: the folder cannot be written.
    """
    started = time.perf_counter()
    faces = as_faces(found, network, options.psi, outdir)
    if len(faces) < 2:
        raise UsageError(f"{len(faces)} faces came; expected the one to change and at least one to mix in.")
    first, *others = faces
    claim = _claim(first, outdir, network)
    try:
        note = _mix_into(claim, first, others, network, options, started)
    finally:
        claim.release()
    return claim.folder, note


def _mix_into(
    claim: Claim, first: Face, others: Sequence[Face], network: Generator, options: MixOptions, started: float
) -> str:
    """Mix and write one folder; returns what a person should know."""
    base = with_noise(first.inversion, network, options.noise_mode, options.seed)
    strength = options.strengths[0] if len(options.strengths) == 1 else options.strengths
    mixed = mix(base, [one.inversion for one in others], options.layers, strength)
    drawn = mixed.tensor(network)  # once, for the photo and for the files
    photo = None
    if first.saved is not None and mixed.face_to_photo is not None:
        photo = find_photo(first.saved, options.photos, alone=True)
    pasted = face = None
    if photo:
        pasted = paste_back(mixed, photo, blend=options.blend, network=network, drawn=[drawn])
        face = cut_from(pasted, mixed, network)
    elif options.at == "photo":
        face = at_photo(mixed, network, options.blend)
    account = _account(options, network) | {
        "faces": [_described(one) for one in (first, *others)],
        "strengths": list(options.strengths),
        "blend": options.blend,
        "at": options.at,
        "photo": None if photo is None else str(photo),
        "seconds": round(time.perf_counter() - started, 3),
    }
    write_edited(
        claim,
        mixed,
        network,
        key="mix",
        account=account,
        face=face if options.at == "photo" else None,
        pasted=pasted,
        drawn=drawn,
        metadata=options.metadata,
    )
    return "" if pasted or mixed.face_to_photo is None else _not_pasted(first)


def write_grid(
    rows: Sequence[Named], cols: Sequence[Named], outdir: Path, network: Generator, options: MixOptions
) -> Path:
    """Draw all mixes of rows and columns, as NVIDIA's style_mixing.py does.

    Writes ROW-COL.png for each cell, NAME-NAME.png for each face itself, grid.png with the faces along its edges,
    and report.json.

    Returns:
        The path of grid.png.

    Raises:
        UsageError: no rows or columns, a grid that is too large, or as :func:`editing.mixing.mix`.
        OutputError: the folder cannot be written.
    """
    _check_grid(len(rows), len(cols), network, options)
    opened = [[one for named in side for one in opened_faces(named, network, outdir)] for side in (rows, cols)]
    count, faces = len(opened[0]), as_faces([*opened[0], *opened[1]], network, options.psi)
    down, across = faces[:count], faces[count:]
    _check_grid(len(down), len(across), network, options)  # a file may hold many
    cells = _cells(down, across, network, options)
    account = _account(options, network) | {
        "rows": [_described(one) for one in down],
        "cols": [_described(one) for one in across],
        "strength": options.strengths[0],
    }
    claim = claim_folder(outdir, [*(f"{cell.name}.png" for cell in cells), GRID_FILE])
    try:
        files = _grid_files(cells, (len(down) + 1, len(across) + 1), network, options)
        write_account(claim, cells[0].inversion, "grid", account, files)
    finally:
        claim.release()
    return outdir / GRID_FILE


def _grid_files(
    cells: Sequence[_Cell], shape: tuple[int, int], network: Generator, options: MixOptions
) -> dict[str, bytes]:
    """Every cell's picture and the whole sheet of ``shape`` (rows, columns) cells, by file name."""
    files: dict[str, bytes] = {}
    photos = _photo_faces(cells, network, options)
    size = sheet_side(photos.values(), network, shape[0] * shape[1], MAX_PIXELS)
    canvas = np.full((shape[0] * size, shape[1] * size, 3), 255, np.uint8)
    for cell, picture in zip(cells, draw_many((cell.inversion for cell in cells), network), strict=True):
        pixels = _shown(cell.inversion, picture, photos.get(cell.inversion.crop), size, options)
        canvas[cell.row * size : (cell.row + 1) * size, cell.col * size : (cell.col + 1) * size] = pixels
        marked = MarkedImage(pixels, software_tag(cell.inversion.network, cell.inversion.edits))
        files[f"{cell.name}.png"] = marked.encoded(metadata=options.metadata)
    tag = f"{software_tag(network_id(network))}; grid of {shape[0] - 1} x {shape[1] - 1} faces"
    files[GRID_FILE] = MarkedImage(canvas, tag).encoded(metadata=options.metadata)
    return files


def _photo_faces(
    cells: Sequence[_Cell], network: Generator, options: MixOptions
) -> dict[bytes | None, PhotoFace | None]:
    """The photo faces of the cells, by the crop stored with each."""
    if options.at == "network":
        return {}
    firsts = {cell.inversion.crop: cell.inversion for cell in reversed(cells)}
    return {crop: photo_face(one, network) for crop, one in firsts.items() if crop is not None}


def _shown(face: Inversion, picture: Tensor, photo: PhotoFace | None, size: int, options: MixOptions) -> np.ndarray:
    """A cell, uint8 [size, size, 3]: the photo's face with the change, or the drawing, enlarged."""
    if photo is None:
        return enlarged_smoothly(to_pixels(picture)[0], size)
    return photo.resized(size).edited(face, to_levels(picture)[0].numpy(), options.blend)


def _check_grid(rows: int, cols: int, network: Generator, options: MixOptions) -> None:
    """Check the size and the options of a grid before anything is drawn."""
    width, height = (cols + 1) * network.resolution, (rows + 1) * network.resolution
    if width * height > MAX_PIXELS:
        raise UsageError(
            f"the grid would have {width} x {height} pixels; expected at most {MAX_PIXELS // 10**6} megapixels. "
            "Name fewer rows or columns."
        )
    if len(options.layers) != 1 or len(options.strengths) != 1:
        raise UsageError("a grid takes --layers and --strength once each.")


def _cells(rows: Sequence[Face], cols: Sequence[Face], network: Generator, options: MixOptions) -> list[_Cell]:
    """All pictures of the grid: the rows' faces at its left edge, the columns' at its top, and the mixes."""
    down, across = (
        [with_noise(face.inversion, network, options.noise_mode, options.seed) for face in side]
        for side in (rows, cols)
    )
    cells = [_Cell(f"{face.name}-{face.name}", i, 0, down[i - 1]) for i, face in enumerate(rows, start=1)]
    cells += [_Cell(f"{face.name}-{face.name}", 0, j, across[j - 1]) for j, face in enumerate(cols, start=1)]
    for i, line in enumerate(mix_grid(down, across, options.layers[0], options.strengths[0])):
        for j, mixed in enumerate(line):
            cells.append(_Cell(f"{rows[i].name}-{cols[j].name}", i + 1, j + 1, mixed))
    return cells


def _claim(first: Face, outdir: Path | None, network: Generator) -> Claim:
    if first.saved is not None:
        return claim_result(first.saved, outdir)
    if outdir is None:
        raise UsageError(f"--outdir is missing; the face of seed {first.name} lies in no folder to write into.")
    return claim_below(outdir, first.name, {"source": {"seed": first.name, "network": network_id(network)}})


def _not_pasted(face: Face) -> str:
    name = face.inversion.photo or "photo"
    return f"the {name} that {face.name} was made from was not found, so there is no pasted.png; see --photo."


def _account(options: MixOptions, network: Generator) -> dict[str, object]:
    return {
        "network": network_id(network),
        "layers": [layer_text(layer_numbers(choice, network.num_ws)) for choice in options.layers],
        "trunc": options.psi,
        "noise_mode": options.noise_mode,
        "seed": options.seed,
        "metadata": options.metadata,
    }


def _described(face: Face) -> str:
    """A face for the report: its file, or its seed."""
    return f"seed {face.name}" if face.saved is None else str(face.saved.path)

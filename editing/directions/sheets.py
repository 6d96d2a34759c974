"""Contact sheets of directions: a row for each face, with strength increasing from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from editing.directions.direction import Direction
from editing.directions.sampling import draw_batches
from relatent.core.errors import UsageError
from relatent.core.files import write_bytes
from relatent.core.numbers import as_strength
from relatent.core.provenance import MarkedImage, software_tag
from stylegan import network_id
from stylegan.networks.generator import Generator

REACH, COLUMNS = 3.0, 7
PSI = 0.7  # truncation of the faces; effects are easier to see near the average face
LEAST_CELL, LARGEST_CELL = 64, 128  # px
LABEL_WIDTH, HEADER_HEIGHT, LINE_HEIGHT = 150, 18, 12  # px
LABEL_CHARACTERS = 22  # of Pillow's own font in LABEL_WIDTH
MAX_CELLS = 4000  # more would be a picture that few programs open


def contact_sheet(
    network: Generator,
    directions: Sequence[Direction],
    *,
    strengths: Sequence[float] | None = None,
    faces: int = 2,
    seed: int = 0,
    psi: float = PSI,
    labels: Sequence[str] | None = None,
) -> np.ndarray:
    """Random faces moved along each direction.

    Args:
        network: of the directions.
        directions: each gets a block of ``faces`` rows, in this order.
        strengths: of the columns; from -3 to 3 by default.
        faces: number of random faces, the same for every direction.
        seed: of the faces.
        psi: truncation of the faces.
        labels: of the blocks, lines separated by ``\\n``; the directions' names by default.

    Returns:
        uint8 [H, W, 3].

    Raises:
        UsageError: no pictures, more than ``MAX_CELLS``, or a direction of another network.
    """
    strengths = even_strengths() if strengths is None else strengths
    count = len(directions) * faces * len(strengths)
    if not 1 <= count <= MAX_CELLS:
        raise UsageError(f"the sheet would have {count} pictures; expected 1 to {MAX_CELLS}. Change their number.")
    for direction in directions:
        direction.check_network(network)
    ws = network.mapping.truncate(network.sample_w(faces, seed), psi).cpu()  # [faces, L, w_dim]
    latents = torch.cat([_moved(direction, ws, strengths) for direction in directions])
    cells = [picture for _, batch in draw_batches(network, latents) for picture in batch]
    rows = [cells[at : at + len(strengths)] for at in range(0, count, len(strengths))]
    return labelled_sheet(rows, labels or [one.name for one in directions], strengths)


def even_strengths(reach: float = REACH) -> list[float]:
    """Strengths of a sheet's columns, evenly spaced from ``-reach`` to ``reach``.

    Raises:
        UsageError: ``reach`` is not from -1000 to 1000.
    """
    reach = as_strength("the sheet", reach)
    return [reach * (2 * column / (COLUMNS - 1) - 1) for column in range(COLUMNS)]


def _moved(direction: Direction, ws: torch.Tensor, strengths: Sequence[float]) -> torch.Tensor:
    """ws moved by each strength, [faces * strengths, L, w_dim], faces in the outer order."""
    amounts = torch.tensor(list(strengths)).repeat(len(ws))
    return direction.apply(ws.repeat_interleave(len(strengths), dim=0), amounts)


def _resized(picture: np.ndarray, side: int) -> np.ndarray:
    if len(picture) == side:
        return picture
    return np.array(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))


def labelled_sheet(
    rows: Sequence[Sequence[np.ndarray]], labels: Sequence[str], strengths: Sequence[float]
) -> np.ndarray:
    """Arrange pictures uint8 [R, R, 3] in rows, with a label beside each block and a strength above each column.

    Args:
        rows: the same number for each label, block after block.
        labels: one for each block, lines separated by ``\\n``.
        strengths: one for each column.
    """
    side = min(max(len(rows[0][0]), LEAST_CELL), LARGEST_CELL)
    body = np.concatenate([np.concatenate([_resized(one, side) for one in row], axis=1) for row in rows])
    block = len(rows) // len(labels) * side
    height, width = body.shape[:2]
    sheet = Image.new("RGB", (LABEL_WIDTH + width, HEADER_HEIGHT + height), "white")
    sheet.paste(Image.fromarray(body), (LABEL_WIDTH, HEADER_HEIGHT))
    pen = ImageDraw.Draw(sheet)
    for column, strength in enumerate(strengths):
        text = f"{strength:+.3g}"
        left = LABEL_WIDTH + (column + 0.5) * side - pen.textlength(text) / 2
        pen.text((left, 3), text, fill="black")
    for row, label in enumerate(labels):
        top = HEADER_HEIGHT + row * block + 4
        for line, text in enumerate(label.split("\n")[: (block - 4) // LINE_HEIGHT]):
            pen.text((4, top + line * LINE_HEIGHT), text[:LABEL_CHARACTERS], fill="black")
    return np.array(sheet)


def write_sheet(path: Path, network: Generator, directions: Sequence[Direction], **options: Any) -> None:
    """Write a contact sheet as a PNG file with provenance; ``options`` are those of :func:`contact_sheet`.

    Raises:
        UsageError: see :func:`contact_sheet`.
        OutputError: the file cannot be written.
    """
    sheet = MarkedImage(contact_sheet(network, directions, **options), software_tag(network_id(network)))
    write_bytes(path, sheet.encoded())

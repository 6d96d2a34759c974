"""A contact sheet of edits pasted into photos: `difference` beside `warp`.

    python -m benchmarks.blends_sheet --faces fairface-128.zip

Two rows for each photo, the upper one by `difference`, the lower one by `warp`. The columns are the photo and edits of
it. Photos are those that dependencies ship, and validation faces of benchmarks/results/quality.png, of different ages
and skin tones, enlarged as in :mod:`benchmarks.paste_cases`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import cv2
import numpy as np

from benchmarks.contact_sheet import as_jpeg
from benchmarks.paste_cases import Case, load_cases
from benchmarks.quality import FOLDER
from editing import edit
from editing.pasting import Blend, paste_drawn
from inversion.pipeline import open_network
from relatent.core.files import write_bytes
from relatent.core.images import to_levels
from relatent.face.sampling import sample_square
from stylegan.networks.generator import Generator
from weights.embedded import DEFAULT_NETWORK

NUMBERS = (2, 3, 7, 18)
BLENDS: tuple[Blend, ...] = ("difference", "warp")
EDITS = (
    {"smile": 1.5},
    {"smile": -1.5},
    {"mouth_open": 1.5},
    {"eyes_open": -1.2},
    {"yaw": 1.2},
    {"age": 1.0},
)
SIDE = 288  # px of a cell
SHOWN = 1.1  # side of what a cell shows, relative to the face's crop
TITLE = 22  # px
QUALITY = 85  # of JPEG


@click.command()
@click.option("--faces", required=True, type=click.Path(path_type=Path, exists=True), help="Zip file with val/.")
@click.option("--network", default=DEFAULT_NETWORK, show_default=True)
@click.option("--keep", type=click.Path(path_type=Path), help="A folder for the inversions, as of benchmarks.blends.")
@click.option("--out", default=FOLDER / "blends.jpg", type=click.Path(path_type=Path), show_default=True)
def main(faces: Path, network: str, keep: Path | None, out: Path) -> None:
    """Draw the sheet."""
    generator = open_network(network)
    cases = load_cases(faces, list(NUMBERS), generator, keep)
    sheet = np.concatenate([titles(), *(row for case in cases for row in rows(case, generator))])
    write_bytes(out, as_jpeg(sheet, QUALITY))


def titles() -> np.ndarray:
    """What each column shows."""
    texts = ["photo", *(" ".join(f"{name} {value:+g}" for name, value in change.items()) for change in EDITS)]
    row = np.full((TITLE, SIDE * len(texts), 3), 255, np.uint8)
    for index, text in enumerate(texts):
        cv2.putText(row, text, (index * SIDE + 6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return row


def rows(case: Case, network: Generator) -> Iterator[np.ndarray]:
    """A row of each blend of a photo."""
    drawn = [edit(case.inversion, change, network=network) for change in EDITS]
    before = to_levels(case.inversion.unedited().tensor(network))[0].numpy()
    levels = [to_levels(one.tensor(network))[0].numpy() for one in drawn]
    for blend in BLENDS:
        pasted = (
            paste_drawn(case.photo, one, after, before, network, blend, case.landmarks)
            for one, after in zip(drawn, levels, strict=True)
        )
        yield np.concatenate([_cell(one, case, network) for one in (case.photo, *pasted)], axis=1)


def _cell(photo: np.ndarray, case: Case, network: Generator) -> np.ndarray:
    """The face and some of what is around it."""
    place = case.inversion.face_to_photo
    assert place is not None
    step = SHOWN * network.resolution / SIDE
    offset = (network.resolution - 1) / 2 - step * (SIDE - 1) / 2
    return sample_square(photo, place @ np.array([[step, 0, offset], [0, step, offset], [0, 0, 1]]), SIDE)


if __name__ == "__main__":
    main()

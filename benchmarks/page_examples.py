"""Draws the examples of the page's first screen: portraits before and after one click.

    python -m benchmarks.page_examples

Writes relatent/web/example_pictures/*.jpg. The portraits are the one of `inversion.project --demo` and Grace Hopper's,
which matplotlib ships; both are in the public domain.
"""

from __future__ import annotations

import io
from pathlib import Path

import click
import matplotlib
import numpy as np
from PIL import Image

from editing import edit, paste_back
from inversion import Inversion, invert
from inversion.pipeline import open_network
from inversion.project import demo_photo
from relatent.core.files import write_bytes
from relatent.core.images import read_photo
from relatent.web.examples import EXAMPLES, FOLDER
from relatent.web.tabs.edit import QUICK
from weights.embedded import DEFAULT_NETWORK

SIDE = 260  # px of each half
REACH = 2.1  # side of the part that is shown, relative to the aligned face's
PORTRAITS = {
    "smile": Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg"),
    "serious": demo_photo(),
    "turn": demo_photo(),
}


@click.command()
def main() -> None:
    """Draw the examples."""
    inverted = {path: invert(str(path)) for path in set(PORTRAITS.values())}
    for name, text in EXAMPLES.items():
        photo, face = read_photo(PORTRAITS[name]), inverted[PORTRAITS[name]]
        direction, strength = QUICK[text]
        pasted = np.asarray(paste_back(edit(face, {direction: strength}), photo).convert("RGB"))
        halves = [_head(pixels, face) for pixels in (photo.pixels, pasted)]
        pair = Image.fromarray(np.concatenate([halves[0], np.full((SIDE, 6, 3), 255, np.uint8), halves[1]], axis=1))
        FOLDER.mkdir(exist_ok=True)
        write_bytes(FOLDER / f"{name}.jpg", _jpeg(pair))
        click.echo(f"{name}.jpg")


def _head(pixels: np.ndarray, face: Inversion) -> np.ndarray:
    """The head and what is around it, uint8 [SIDE, SIDE, 3]."""
    assert face.face_to_photo is not None
    side = open_network(DEFAULT_NETWORK).resolution
    scale = float(np.hypot(*face.face_to_photo[:2, 0]))
    x, y = face.face_to_photo[:2] @ (side / 2, side / 2, 1)
    half = min(scale * side * REACH / 2, x, y)
    left, top = round(x - half), round(y - half)
    cut = Image.fromarray(pixels[top : round(top + 2 * half), left : round(left + 2 * half)])
    return np.asarray(cut.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


if __name__ == "__main__":
    main()

"""Draws the examples of the page's first screen: the example photo before and after one click.

    python -m benchmarks.page_examples

Writes relatent/web/example_pictures/*.jpg. The photo is the one of `inversion.project --demo`, in the public domain.
"""

from __future__ import annotations

import io

import click
import numpy as np
from PIL import Image

from editing import edit, paste_back
from inversion import invert
from inversion.project import demo_photo
from relatent.core.files import write_bytes
from relatent.core.images import read_photo
from relatent.web.examples import EXAMPLES, FOLDER
from relatent.web.tabs.edit import QUICK

SIDE = 260  # px of each half
LEFT, TOP, CROP = 105, 5, 240  # of the head in the photo, in pixels


@click.command()
def main() -> None:
    """Draw the examples."""
    photo = read_photo(demo_photo())
    face = invert(str(demo_photo()))
    for name, text in EXAMPLES.items():
        direction, strength = QUICK[text]
        pasted = paste_back(edit(face, {direction: strength}), photo)
        halves = [_head(photo.pixels), _head(np.asarray(pasted.convert("RGB")))]
        pair = Image.fromarray(np.concatenate([halves[0], np.full((SIDE, 6, 3), 255, np.uint8), halves[1]], axis=1))
        FOLDER.mkdir(exist_ok=True)
        write_bytes(FOLDER / f"{name}.jpg", _jpeg(pair))
        click.echo(f"{name}.jpg")


def _head(pixels: np.ndarray) -> np.ndarray:
    cut = Image.fromarray(pixels[TOP : TOP + CROP, LEFT : LEFT + CROP])
    return np.asarray(cut.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


if __name__ == "__main__":
    main()

"""The README's strip: photo, aligned face, inverted face, edited face, and the edit back in the photo.

    python -m benchmarks.strip

Draws the demo photo with the face's square marked, the aligned face at the photo's resolution, what the network draws
for the inverted latent, the edited face at the photo's resolution, and the photo with it, all at one height.
"""

from __future__ import annotations

from pathlib import Path

import click
import cv2
import numpy as np
from PIL import Image

from editing import edit, paste_back
from editing.photo_faces import at_photo
from inversion import invert
from inversion.photos import crop_faces
from inversion.pipeline import open_network
from inversion.project import demo_photo
from relatent.core.files import write_bytes
from relatent.core.images import encode_png, read_photo, to_pixels, to_tensor
from weights.embedded import DEFAULT_NETWORK

HEIGHT = 384
GAP = 12


@click.command()
@click.option("--network", default=DEFAULT_NETWORK, show_default=True)
@click.option("--edit", "change", default="smile=-0.7", show_default=True, metavar="NAME=STRENGTH")
@click.option("--out", default=Path("docs/images/strip.png"), type=click.Path(path_type=Path), show_default=True)
def main(network: str, change: str, out: Path) -> None:
    """Draw the strip and say how close the inversion is."""
    generator = open_network(network)
    photo = read_photo(demo_photo())
    aligned = crop_faces(photo, generator, align=True)[0]
    inversion = invert(photo, network=generator)
    drawn = to_pixels(inversion.tensor(generator))[0]
    marked = _marked(photo.pixels, aligned.face_to_photo, generator.resolution)
    error = np.square(to_tensor(drawn).numpy() - to_tensor(aligned.image).numpy()).mean()
    click.echo(f"PSNR {10 * np.log10(4 / error):.1f} dB")
    name, _, strength = change.partition("=")
    edited = edit(inversion, {name: float(strength)}, network=generator)
    changed = np.asarray(at_photo(edited, generator))
    face = np.asarray(at_photo(inversion, generator))
    pasted = np.asarray(paste_back(edited, photo, network=generator))
    gap = np.full((HEIGHT, GAP, 3), 255, np.uint8)
    row = [gap] * 9
    row[::2] = [_at_height(panel) for panel in (marked, face, drawn, changed, pasted)]
    write_bytes(out, encode_png(np.concatenate(row, axis=1)))


def _marked(pixels: np.ndarray, face_to_photo: np.ndarray, size: int) -> np.ndarray:
    """The photo with the aligned face's outline."""
    corners = np.array([[-0.5, -0.5, 1], [size - 0.5, -0.5, 1], [size - 0.5, size - 0.5, 1], [-0.5, size - 0.5, 1]])
    outline = (corners @ face_to_photo.T)[:, :2].round().astype(np.int32)
    return cv2.polylines(pixels.copy(), [outline], True, (255, 255, 255), 3, cv2.LINE_AA)


def _at_height(pixels: np.ndarray) -> np.ndarray:
    """Enlarged in whole steps where that is possible, so that the network's own pixels are seen."""
    height, width = pixels.shape[:2]
    how = Image.Resampling.NEAREST if HEIGHT % height == 0 else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(pixels).resize((width * HEIGHT // height, HEIGHT), how))


if __name__ == "__main__":
    main()

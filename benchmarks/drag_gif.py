"""Draws the GIF of docs/drag.md: points of the demo's photo are dragged, and the photo follows.

    python -m benchmarks.drag_gif --out docs/images/drag.gif

The photo is inverted by the default preset, or read from --face. Red is where a point is, blue where it is to go.
"""

from __future__ import annotations

from pathlib import Path

import click
import cv2
import numpy as np

from editing.dragging.options import DragOptions
from editing.dragging.run import drag_points
from editing.dragging.search import DragStep
from editing.photo_faces import photo_face
from inversion import Inversion, invert
from inversion.pipeline import open_network
from inversion.project import demo_photo
from relatent.core.images import read_photo, to_levels
from relatent.core.video import write_video

LANDMARKS = {"mouth_left": (0.035, 0.02), "mouth_right": (-0.035, 0.02)}  # of the face's side, right and down
SIDE, FPS = 320, 6.0
FIRST, STEP, LAST = 6, 3, 9  # frames of the start, of each step, and of the result
RED, BLUE, WHITE = (200, 30, 30), (29, 78, 216), (255, 255, 255)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The GIF.")
@click.option("--face", type=click.Path(path_type=Path, exists=True), help="The demo's inversion, if there is one.")
def main(out: Path, face: Path | None) -> None:
    """Drag, draw and write."""
    network = open_network(None)
    inversion = invert(demo_photo()) if face is None else Inversion.load(face)
    size = network.resolution
    steps: list[DragStep] = []
    landmarks = {name: (right * size, down * size) for name, (right, down) in LANDMARKS.items()}
    done = drag_points(
        inversion, network, [], [], landmarks=landmarks, options=DragOptions(pixels="face"), progress=steps.append
    )
    found = photo_face(inversion, network, read_photo(demo_photo()))
    assert found is not None
    found = found.resized(SIDE)
    scale = found.side / size
    frames: list[np.ndarray] = []
    for index, step in enumerate(steps):
        pixels = found.edited(step.face, to_levels(step.face.tensor(network))[0].numpy()) if index else found.pixels
        shown = _marked(pixels, step.points, done.targets, scale)
        frames += [shown] * (STEP if index else FIRST)
    frames += [pixels] * LAST
    write_video(frames, out, FPS)
    click.echo(f"{out}: {done.steps} steps, {done.reason}, {done.report(size)['points']}")


def _marked(pixels: np.ndarray, points: np.ndarray, targets: np.ndarray, scale: float) -> np.ndarray:
    """A copy with the points and their targets."""
    marked = pixels.copy()
    for point, target in zip(points, targets, strict=True):
        here, there = (tuple(round(float(v)) for v in (one + 0.5) * scale - 0.5) for one in (point, target))
        cv2.line(marked, here, there, WHITE, 2, cv2.LINE_AA)
        for place, colour in ((there, BLUE), (here, RED)):
            cv2.circle(marked, place, 6, WHITE, -1, cv2.LINE_AA)
            cv2.circle(marked, place, 5, colour, -1, cv2.LINE_AA)
    return marked


if __name__ == "__main__":
    main()

"""Sweeps feature level and radius of drags, and measures how far a face may change before it is somebody else's.

    python -m benchmarks.drag_sweep --faces fairface-128.zip --work runs/drag

The drags are those of benchmarks/drag.py, without a limit. dlib's landmarks, predicted where an aligned face is, judge
how far a landmark really went. For the limit, the same points are dragged three times as far, and every step
is compared with the start by LPIPS, in per cent of the median between different faces, and by dlib's identity
distance.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from tqdm import tqdm

from benchmarks.drag import ARRIVED, FOLDER, HANDLES, WAY, way_of
from benchmarks.inverting import kept_inversions
from benchmarks.machine import describe
from editing.dragging.features import FeatureReader, layer_at, square_offsets
from editing.dragging.options import DragOptions
from editing.dragging.plausibility import Plausibility
from editing.dragging.run import drag_points
from editing.dragging.search import DragStep
from inversion import Inversion
from inversion.pipeline import open_network
from relatent.core.files import write_bytes
from relatent.core.images import to_pixels
from relatent.face import identity_distance
from relatent.face.identity import aligned_box
from relatent.face.landmarks import predict_landmarks
from stylegan import Generator, network_id
from weights.embedded import DEFAULT_NETWORK

NO_LIMIT = 1000.0
RADII = (3.5, 5.0, 8.0, 12.0)  # per cent of the face's side
FAR, FAR_STEPS = 3 * WAY, 16
BINS = (0, 10, 20, 30, 40, 50, 70)
SAME_PERSON = 0.6  # of dlib's identity distance


@click.command()
@click.option("--faces", required=True, type=click.Path(path_type=Path, exists=True), help="Zip file with val/.")
@click.option("--work", required=True, type=click.Path(path_type=Path), help="Folder for the inversions.")
@click.option("--count", default=8, show_default=True, help="Faces.")
@click.option("--network", default=DEFAULT_NETWORK, show_default=True)
@click.option("--out", default="drag-sweep", show_default=True, help="Name of the result.")
def main(faces: Path, work: Path, count: int, network: str, out: str) -> None:
    """Measure and write results/OUT.json and OUT.md."""
    generator = open_network(network)
    inverted = list(kept_inversions(faces, count, generator, work / "inversions", 10).values())
    rows = [
        _row(generator, inverted, level, radius) for level, radius in tqdm(_choices(generator), desc="levels and radii")
    ]
    result = {
        "network": network_id(generator),
        "machine": describe(),
        "faces": len(inverted),
        "rows": rows,
        "changes": _changes(generator, inverted),
    }
    write_bytes(FOLDER / f"{out}.json", (json.dumps(result, indent=1) + "\n").encode())
    write_bytes(FOLDER / f"{out}.md", as_markdown(result).encode())
    click.echo(as_markdown(result))


def _choices(network: Generator) -> list[tuple[int, float]]:
    """Levels and radii; of radii with the same features, the largest."""
    side, like = network.resolution, network.w_avg
    found: dict[tuple[int, int], float] = {}
    for level in (side // 4, side // 2, side):
        step = FeatureReader(network, layer_at(network, level)).step
        for radius in RADII:
            count = len(square_offsets(radius * side / 100, step, like))
            if count > 1:
                found[level, count] = radius
    return [(level, radius) for (level, _), radius in found.items()]


def _landmarks(network: Generator, inversion: Inversion) -> np.ndarray:
    pixels = to_pixels(inversion.tensor(network))[0]
    return predict_landmarks(pixels, aligned_box(network.alignment, pixels.shape[:2]))


def _row(network: Generator, faces: list[Inversion], level: int, radius: float) -> dict[str, Any]:
    options = DragOptions(pixels="face", limit=NO_LIMIT, level=level, radius=radius)
    row: dict[str, Any] = {"level": level, "radius": radius}
    side = network.resolution
    for handle, (numbers, _) in HANDLES.items():
        found = []
        for inversion in faces:
            before = _landmarks(network, inversion)
            start, end = way_of(handle, before, side)
            done = drag_points(inversion, network, [start.tolist()], [end.tolist()], options=options)
            moved = (_landmarks(network, done.face) - before)[list(numbers)].mean(axis=0)
            left = float(np.linalg.norm(done.points[0] - done.targets[0])) / side
            share = float(moved @ (end - start)) / float((end - start) @ (end - start))
            found.append((left <= ARRIVED, done.steps, share, done.change, done.seconds))
        arrived, steps, share, change, seconds = np.array(found, float).T
        row[handle] = {
            "arrived": float(arrived.mean()),
            "steps": float(np.median(steps)),
            "dlib_share_of_way": round(float(np.median(share)), 3),
            "change_percent": round(float(change.mean()), 1),
            "seconds": round(float(np.median(seconds)), 2),
        }
    return row


def _changes(network: Generator, faces: list[Inversion]) -> list[dict[str, float]]:
    """For ranges of the change in per cent: how many steps end there, and how many show the same person."""
    pairs: list[tuple[float, float]] = []
    for inversion in tqdm(faces, desc="changes"):
        before, landmarks = to_pixels(inversion.tensor(network))[0], _landmarks(network, inversion)
        measure = Plausibility(network, inversion.tensor(network))

        def seen(
            step: DragStep, measure: Plausibility = measure, before: np.ndarray = before, points: np.ndarray = landmarks
        ) -> None:
            if step.index:
                image = step.face.tensor(network)
                identity = identity_distance(before, to_pixels(image)[0], points)
                pairs.append((measure.change(image), float("inf") if identity is None else identity))

        for handle in HANDLES:
            start, end = way_of(handle, landmarks, network.resolution, FAR)
            options = DragOptions(pixels="face", limit=NO_LIMIT, num_steps=FAR_STEPS)
            drag_points(inversion, network, [start.tolist()], [end.tolist()], options=options, progress=seen)
    table = []
    for low, high in zip(BINS, (*BINS[1:], np.inf), strict=True):
        identities = [identity for change, identity in pairs if low <= change < high]
        if identities:
            same = float(np.mean([identity < SAME_PERSON for identity in identities]))
            median = float(np.median(identities))
            table.append({"from": low, "steps": len(identities), "median": median, "same": same})
    return table


def as_markdown(result: dict[str, Any]) -> str:
    """Return the tables of a result as Markdown."""
    lines = [
        f"Drags by {WAY:.0%} of the face's side, network {result['network']}, {result['faces']} validation faces, "
        f"{result['machine']['processor']}.",
        "For each handle: share that arrived, median steps, median share of the way by dlib, mean change of picture,",
        "in per cent of the median LPIPS between different faces, median seconds.",
        "",
        "| level | radius | " + " | ".join(HANDLES) + " |",
        "|---|---|" + "---|" * len(HANDLES),
    ]
    for row in result["rows"]:
        cells = [
            f"{one['arrived']:.0%}, {one['steps']:.0f}, {one['dlib_share_of_way']:.0%}, {one['change_percent']:.0f} %, "
            f"{one['seconds']:.1f} s"
            for one in (row[handle] for handle in HANDLES)
        ]
        lines.append(f"| {row['level']} | {row['radius']:g} % | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"Steps of drags by {FAR:.0%}: change of the picture, and identity distance (dlib) to the start.",
        "",
        "| change from | steps | identity distance (median) | below 0.6 |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['from']:.0f} % | {row['steps']} | {row['median']:.2f} | {row['same']:.0%} |"
        for row in result["changes"]
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

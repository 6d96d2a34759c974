"""Drags points of validation faces and of drawn ones, by Relatent's steps and by the published rule.

    python -m benchmarks.drag --faces fairface-128.zip --work runs/drag

Faces: the first pictures of the zip's folder val/, which no network was trained on, inverted by the default preset. A
mouth corner, an eyelid and the chin are dragged by 5 % of the face's side; a point has arrived within 1 % of it. Every
face has dlib find the landmark again, which neither rule sees.

The published rule (Pan et al. 2023, sec. 3.2, and its code) is written plainly: Adam with a rate of 0.002 on the first
six layers' w, the L1 motion supervision of a patch of radius 3, whole-pixel tracking of one feature vector. It stops
1 px from the target, as its code does.

Landmarks: pairs of drawn faces, of which one, five or all landmarks are dragged to where the other face has them
(sec. 4.2 of the paper). The faces are compared with random ones by the Frechet distance of the embedded backbone's
features, before and after the drags.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm, trange

from benchmarks.inverting import kept_inversions
from benchmarks.machine import describe
from editing.dragging.features import FeatureReader, layer_at
from editing.dragging.options import DragOptions
from editing.dragging.run import drag_points
from editing.seeds import seed_inversion
from inversion import Inversion
from inversion.pipeline import open_network
from relatent.core.files import write_bytes
from relatent.core.images import to_pixels
from relatent.face import identity_distance
from relatent.face.regions import drawn_landmarks
from stylegan import Generator, network_id
from stylegan.networks.backbone import load_backbone
from stylegan.training.metrics import frechet_distance
from stylegan.training.validation import deep_features, draw_samples
from weights.embedded import DEFAULT_NETWORK

FOLDER = Path(__file__).parent / "results"
WAY = 0.05  # of the face's side
ARRIVED = 0.01
HANDLES = {"mouth corner": ((48,), (-1.0, -0.6)), "eyelid": ((37, 38), (0.0, -1.0)), "chin": ((8,), (0.0, -1.0))}
FIVE = (48, 54, 30, 36, 45)
RATE, LAYERS, PATCH, REACH, NEAR = 0.002, 6, 3, 3, 1.0  # of the published rule; lengths in pixels
SHEET_FACES, SHEET_SIDE = 8, 192
RANDOM_FACES, PSI = 2000, 0.7  # that drawn faces are compared with, and the truncation of them all


@dataclass(frozen=True)
class Outcome:
    """One drag.

    Attributes:
        handle: its name.
        face: the dragged face.
        steps: pictures drawn with new latents.
        left: the distance to the target by the rule's own tracking, relative to the face's side.
        seconds: of the drag.
        reason: why it ended.
    """

    handle: str
    face: Inversion
    steps: int
    left: float
    seconds: float
    reason: str


def published(
    inversion: Inversion, network: Generator, start: np.ndarray, end: np.ndarray, most: int
) -> tuple[Inversion, int, float]:
    """The published update rule for one point; returns the face, the steps, and the tracked distance in pixels."""
    reader = FeatureReader(network, layer_at(network, network.resolution // 2), inversion.noise)
    size = network.resolution
    leading = inversion.ws[:, :LAYERS].clone().requires_grad_(True)
    adam = torch.optim.Adam([leading], lr=RATE)
    point, target = (torch.from_numpy(one).float().round() for one in (start, end))
    line = torch.arange(-PATCH, PATCH + 1.0)
    patch = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=2).view(-1, 2)
    line = torch.arange(-REACH, REACH + 1.0)
    around = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=2).view(-1, 2)
    first: Tensor | None = None
    steps = 0
    while True:
        ws = torch.cat([leading, inversion.ws[:, LAYERS:]], dim=1)
        drawn = reader.draw(ws).features
        features = F.interpolate(drawn, size=(size, size), mode="bilinear")
        if first is None:
            first = _at(features.detach(), point[None])
        else:
            places = point + around
            point = places[(_at(features.detach(), places) - first).abs().sum(dim=1).argmin()]
        way = target - point
        if float(way.norm()) <= NEAR or steps == most:
            return inversion.replace(ws=ws.detach(), origin=inversion.ws), steps, float(way.norm())
        places = point + patch
        loss = (_at(features, places + way / way.norm()) - _at(features.detach(), places)).abs().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        steps += 1


def _at(features: Tensor, points: Tensor) -> Tensor:
    """Features [1, C, R, R] at points [N, 2]: [N, C]."""
    grid = ((points + 0.5) * (2 / features.shape[-1]) - 1)[None, None]
    return F.grid_sample(features, grid, align_corners=False, padding_mode="border")[0, :, 0].t()


@click.command()
@click.option("--faces", required=True, type=click.Path(path_type=Path, exists=True), help="Zip file with val/.")
@click.option("--work", required=True, type=click.Path(path_type=Path), help="Folder for the inversions.")
@click.option("--count", default=30, show_default=True, help="Faces.")
@click.option("--compared", default=10, show_default=True, help="Of them, also dragged by the published rule.")
@click.option("--most", default=300, show_default=True, help="Steps of the published rule.")
@click.option("--pairs", default=60, show_default=True, help="Of drawn faces.")
@click.option("--all-points", default=6, show_default=True, help="Of them, pairs of which all landmarks are dragged.")
@click.option("--network", default=DEFAULT_NETWORK, show_default=True)
@click.option("--sheet", type=click.Path(path_type=Path), help="A contact sheet of the dragged faces, .jpg.")
@click.option("--out", default="drag", show_default=True, help="Name of the result.")
def main(
    faces: Path,
    work: Path,
    count: int,
    compared: int,
    most: int,
    pairs: int,
    all_points: int,
    network: str,
    sheet: Path | None,
    out: str,
) -> None:
    """Measure and write results/OUT.json and OUT.md."""
    generator = open_network(network)
    inverted = kept_inversions(faces, count, generator, work / "inversions", 10)
    rules: dict[str, list[dict[str, Any]]] = {"relatent": [], "relatent, compared faces": [], "published": []}
    tiles: list[np.ndarray] = []
    warm = seed_inversion(generator, 0)
    drag_points(warm, generator, [(24, 48)], [(22, 46)], options=DragOptions(pixels="face"))  # loads what is kept
    for index, (name, inversion) in enumerate(tqdm(inverted.items(), desc="faces")):
        before = to_pixels(inversion.tensor(generator))[0]
        landmarks = drawn_landmarks(before, generator.alignment)
        row = [before]
        for handle in HANDLES:
            start, end = way_of(handle, landmarks, generator.resolution)
            one = _ours(handle, inversion, generator, start, end)
            measured = _measured(one, name, before, landmarks, generator)
            rules["relatent"].append(measured)
            row.append(to_pixels(one.face.tensor(generator))[0])
            if index < compared:
                rules["relatent, compared faces"].append(measured)
                began = time.perf_counter()
                face, steps, left = published(inversion, generator, start, end, most)
                took = time.perf_counter() - began
                reason = "arrived" if left <= NEAR else "steps"
                theirs = Outcome(handle, face, steps, left / generator.resolution, took, reason)
                rules["published"].append(_measured(theirs, name, before, landmarks, generator))
        tiles.append(np.concatenate(row, axis=1))
    result: dict[str, Any] = {
        "network": network_id(generator),
        "machine": describe(),
        "faces": len(inverted),
        "published_most_steps": most,
        "rules": {name: _summary(rows) for name, rows in rules.items()},
        "landmarks": _landmark_protocol(generator, pairs, all_points),
        "drags": rules,
    }
    write_bytes(FOLDER / f"{out}.json", (json.dumps(result, indent=1) + "\n").encode())
    write_bytes(FOLDER / f"{out}.md", as_markdown(result).encode())
    if sheet is not None:
        from PIL import Image

        Image.fromarray(_sheet(tiles[:SHEET_FACES])).save(sheet, quality=88)
    click.echo(as_markdown(result))


def way_of(handle: str, landmarks: np.ndarray, side: int, way_share: float = WAY) -> tuple[np.ndarray, np.ndarray]:
    """Where a handle starts, and where it is to go, in pixels of the face."""
    numbers, way = HANDLES[handle]
    start = np.clip(landmarks[list(numbers)].mean(axis=0), 1, side - 2)  # the crop may end at the chin
    return start, np.clip(start + np.array(way) / np.hypot(*way) * way_share * side, 0, side - 1)


def _ours(handle: str, inversion: Inversion, network: Generator, start: np.ndarray, end: np.ndarray) -> Outcome:
    done = drag_points(inversion, network, [start.tolist()], [end.tolist()], options=DragOptions(pixels="face"))
    left = float(np.linalg.norm(done.points[0] - done.targets[0])) / network.resolution
    return Outcome(handle, done.face, done.steps, left, done.seconds, done.reason)


def _measured(one: Outcome, name: str, before: np.ndarray, landmarks: np.ndarray, network: Generator) -> dict[str, Any]:
    after = to_pixels(one.face.tensor(network))[0]
    numbers, way = HANDLES[one.handle]
    moved = (drawn_landmarks(after, network.alignment) - landmarks)[list(numbers)].mean(axis=0)
    direction = np.array(way) / np.hypot(*way)
    return {
        "face": name,
        "handle": one.handle,
        "steps": one.steps,
        "arrived": one.left <= ARRIVED,
        "stopped_itself": one.reason == "arrived",
        "left_percent": round(100 * one.left, 3),
        "seconds": round(one.seconds, 3),
        "reason": one.reason,
        "dlib_share_of_way": round(float(moved @ direction) / (WAY * network.resolution), 3),
        "identity_distance": identity_distance(before, after, landmarks),
    }


def _summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """One entry for each handle, and one for all."""
    table = {}
    for handle in (*HANDLES, "all"):
        own = [row for row in rows if handle in (row["handle"], "all")]
        if own:
            identity = [row["identity_distance"] for row in own if row["identity_distance"] is not None]
            table[handle] = {
                "drags": len(own),
                "arrived": float(np.mean([row["arrived"] for row in own])),
                "stopped_itself": float(np.mean([row["stopped_itself"] for row in own])),
                "median_steps": float(np.median([row["steps"] for row in own])),
                "mean_steps": float(np.mean([row["steps"] for row in own])),
                "median_seconds": float(np.median([row["seconds"] for row in own])),
                "longest_seconds": float(np.max([row["seconds"] for row in own])),
                "dlib_share_of_way": float(np.median([row["dlib_share_of_way"] for row in own])),
                "identity_distance": float(np.mean(identity)) if identity else float("nan"),
            }
    return table


def _landmark_protocol(network: Generator, pairs: int, all_points: int) -> list[dict[str, float]]:
    """Faces dragged to other faces' landmarks: mean distances in per cent of the side, and how usual they look."""
    chosen = {"1": (30,), "5": FIVE, "68": tuple(range(68))}
    backbone, side = load_backbone(), network.resolution
    usual = deep_features(backbone, draw_samples(network, RANDOM_FACES, PSI))
    drawn = [seed_inversion(network, seed, PSI) for seed in range(2 * pairs)]
    landmarks = [drawn_landmarks(to_pixels(one.tensor(network))[0], network.alignment) for one in drawn]
    table = []
    for name, numbers in chosen.items():
        rows, faces = [], []
        for pair in trange(min(pairs, all_points) if name == "68" else pairs, desc=f"{name} points"):
            one, here, there = drawn[2 * pair], landmarks[2 * pair], landmarks[2 * pair + 1]
            inside = ((here > 0) & (here < side - 1) & (there > 0) & (there < side - 1)).all(axis=1)
            kept = [number for number in numbers if inside[number]]
            if not kept:
                continue
            options = DragOptions(pixels="face", limit=1000, num_steps=20)
            done = drag_points(one, network, here[kept].tolist(), there[kept].tolist(), options=options)
            now = drawn_landmarks(to_pixels(done.face.tensor(network))[0], network.alignment)
            distances = [float(np.linalg.norm((x - there)[kept], axis=1).mean()) / side * 100 for x in (here, now)]
            rows.append((*distances, done.seconds, done.steps))
            faces.append([x.tensor(network).clamp(-1, 1) for x in (one, done.face)])
        before, after, seconds, steps = np.mean(rows, axis=0).tolist()
        features = [deep_features(backbone, torch.cat(images)) for images in zip(*faces, strict=True)]
        table.append(
            {
                "points": int(name),
                "pairs": len(rows),
                "before": before,
                "after": after,
                "seconds": seconds,
                "steps": steps,
                "frechet_before": frechet_distance(features[0], usual),
                "frechet_after": frechet_distance(features[1], usual),
            }
        )
    return table


def as_markdown(result: dict[str, Any]) -> str:
    """Return the tables of a result as Markdown."""
    lines = [
        f"Drags by {WAY:.0%} of the face's side, network {result['network']}, {result['faces']} validation faces.",
        f"Arrived: within {ARRIVED:.0%} by the rule's own tracking. dlib: the median share of the way that",
        "its landmark went. The published rule tracks by whole pixels, and stops at 1 px: see *stopped*.",
        "",
        "| rule | handle | drags | arrived | stopped | steps (median) | seconds (median) | longest | dlib | identity |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for rule, table in result["rules"].items():
        for handle, row in table.items():
            lines.append(
                f"| {rule} | {handle} | {row['drags']} | {row['arrived']:.0%} | {row['stopped_itself']:.0%} "
                f"| {row['median_steps']:.0f} | {row['median_seconds']:.2f} | {row['longest_seconds']:.2f} "
                f"| {row['dlib_share_of_way']:.0%} | {row['identity_distance']:.2f} |"
            )
    lines += [
        "",
        "Landmarks of one drawn face dragged to those of another: mean distance by dlib, in per cent of the side, and",
        f"the Frechet distance (backbone) of those faces to {RANDOM_FACES} random ones. Small sets make it large:",
        "compare before and after.",
        "",
        "| points | pairs | distance before | after | Frechet before | after | steps | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['points']} | {row['pairs']} | {row['before']:.2f} | {row['after']:.2f} | {row['frechet_before']:.0f} "
        f"| {row['frechet_after']:.0f} | {row['steps']:.1f} | {row['seconds']:.2f} |"
        for row in result["landmarks"]
    ]
    return "\n".join(lines) + "\n"


def _sheet(rows: list[np.ndarray]) -> np.ndarray:
    """Faces enlarged; columns: before, mouth corner, eyelid, chin."""
    from PIL import Image

    wide = np.concatenate(rows)
    factor = SHEET_SIDE / (wide.shape[0] / len(rows))
    size = (round(wide.shape[1] * factor), round(wide.shape[0] * factor))
    return np.array(Image.fromarray(wide).resize(size, Image.Resampling.BICUBIC))


if __name__ == "__main__":
    main()

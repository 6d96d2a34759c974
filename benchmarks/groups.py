"""Quality of inversions of validation faces by the embedded network, overall and by group.

    python -m benchmarks.groups --faces fairface-128.zip --labels labels.csv --work runs/editing

Every face of the zip's folder val/, none of which any embedded network was trained on, and the astronaut, inverted by
the default preset. Groups are FairFace's own labels, guesses of annotators about strangers; groups of fewer than 30
are merged with their neighbour (ages) or with one another. Inversions are kept in WORK, where benchmarks.editing finds
them, too; a run that is cut goes on.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

import click
from torch import Tensor
from tqdm import tqdm

from benchmarks.contact_sheet import read_labels
from benchmarks.inverting import SEED, astronaut, kept_inversions, validation_faces
from benchmarks.machine import describe
from benchmarks.quality_table import SAME_PERSON
from inversion.inverting import invert_images
from inversion.losses.perceptual import PerceptualDistance, load_perceptual
from inversion.metrics import measure
from inversion.pipeline import open_network
from relatent.core.files import write_bytes
from stylegan import Generator, network_id
from stylegan.training.data.dataset import ImageDataset
from weights.embedded import DEFAULT_NETWORK

FOLDER = Path(__file__).parent / "results"
SMALLEST = 30  # faces of a group that is not merged
COLUMNS = ("lpips", "psnr", "ms_ssim", "identity_distance")
ATTRIBUTES = ("gender", "race", "age")

Row = dict[str, float | None]


@click.command()
@click.option("--faces", required=True, type=click.Path(path_type=Path, exists=True), help="Zip file with val/.")
@click.option("--labels", required=True, type=click.Path(path_type=Path, exists=True), help="Its labels.csv.")
@click.option("--count", default=None, type=int, help="Only the first so many.  [default: all]")
@click.option("--network", default=DEFAULT_NETWORK, show_default=True)
@click.option("--work", required=True, type=click.Path(path_type=Path), help="Folder where inversions are kept.")
@click.option("--batch", default=25, show_default=True, help="Photos optimised together.")
@click.option("--out", default="groups", show_default=True, help="Name of the result.")
def main(faces: Path, labels: Path, count: int | None, network: str, work: Path, batch: int, out: str) -> None:
    """Measure and write results/OUT.json and OUT.md."""
    generator = open_network(network)
    names = ImageDataset(faces, generator.resolution, "val").names[:count]
    groups = read_groups(labels, names)
    inverted = kept_inversions(faces, count, generator, work / "inversions", batch)
    perceptual = load_perceptual()
    images = validation_faces(faces, "val", names, generator.resolution).split(1)
    pairs = [(one.tensor(generator), photo) for one, photo in zip(inverted.values(), images, strict=True)]
    demo = astronaut(generator)
    pairs.append((invert_images(demo, generator, seed=SEED)[0].tensor(generator), demo))
    each = [quality_of(picture, photo, perceptual, generator) for picture, photo in tqdm(pairs, desc="measures")]
    tables = {
        attribute: {group: summary([each[i] for i in members]) for group, members in groups[attribute].items()}
        for attribute in ATTRIBUTES
    }
    result = {
        "network": network_id(generator),
        "lpips_trunk": perceptual.backbone,
        "all": summary(each),
        "astronaut": each[-1],
        "groups": tables,
        "largest_gap": largest_gap(tables),
        "each": dict(zip(names, each, strict=False)),
        "machine": describe(),
    }
    write_bytes(FOLDER / f"{out}.json", (json.dumps(result, indent=2) + "\n").encode())
    text = as_markdown(result)
    write_bytes(FOLDER / f"{out}.md", text.encode())
    click.echo(text)


def quality_of(picture: Tensor, photo: Tensor, perceptual: PerceptualDistance, network: Generator) -> Row:
    """The measures of a drawn face, both [1, 3, R, R]."""
    quality = dataclasses.asdict(measure(picture, photo, perceptual, network.alignment))
    return {column: quality[column] for column in COLUMNS}


def read_groups(labels: Path, names: Sequence[str]) -> dict[str, dict[str, list[int]]]:
    """For each attribute, the places in ``names`` of each group's faces; small groups merged.

    Raises:
        DatasetError: the labels miss one of the faces.
    """
    rows = read_labels(labels, names)
    groups = {}
    for attribute in ATTRIBUTES:
        members: dict[str, list[int]] = {}
        for index, name in enumerate(names):
            members.setdefault(rows[name][attribute], []).append(index)
        groups[attribute] = merge_neighbours(members) if attribute == "age" else merge_small(members)
    return groups


def merge_small(members: dict[str, list[int]]) -> dict[str, list[int]]:
    """Merge all groups of fewer than SMALLEST."""
    large = {name: members[name] for name in sorted(members) if len(members[name]) >= SMALLEST}
    small = sorted(members.keys() - large.keys())
    return {**large, " and ".join(small): _together(members, small)} if small else large


def merge_neighbours(members: dict[str, list[int]]) -> dict[str, list[int]]:
    """Merge ages, youngest first: a small group joins the next older one; the last group joins the one before it."""
    merged: dict[str, list[int]] = {}
    waiting: list[str] = []
    for name in sorted(members, key=_first_year):
        waiting.append(name)
        together = _together(members, waiting)
        if len(together) >= SMALLEST:
            merged[", ".join(waiting)] = together
            waiting = []
    if waiting and merged:
        last, indices = merged.popitem()
        merged[", ".join([last, *waiting])] = indices + _together(members, waiting)
    elif waiting:
        merged[", ".join(waiting)] = _together(members, waiting)
    return merged


def _together(members: dict[str, list[int]], names: Sequence[str]) -> list[int]:
    return [index for name in names for index in members[name]]


def _first_year(age: str) -> int:
    """ "more than 70" comes after "60-69"."""
    digits = "".join(c if c.isdigit() else " " for c in age).split()
    return int(digits[0]) if digits else 0


def summary(rows: Sequence[Row]) -> dict[str, float | int]:
    """Medians, and how many are the same person to dlib."""
    result: dict[str, float | int] = {"faces": len(rows)}
    for column in COLUMNS:
        known = [value for row in rows if (value := row[column]) is not None]
        result[column] = round(statistics.median(known), 4)
    distances = [value for row in rows if (value := row["identity_distance"]) is not None]
    result["same_person"] = sum(distance < SAME_PERSON for distance in distances)
    result["compared"] = len(distances)
    return result


def largest_gap(tables: dict[str, dict[str, dict[str, float | int]]]) -> dict[str, object]:
    """The two groups of one attribute whose median identity distances lie furthest apart."""
    gaps = []
    for attribute, groups in tables.items():
        ordered = sorted(groups, key=lambda group: groups[group]["identity_distance"])
        near, far = ordered[0], ordered[-1]
        gap = groups[far]["identity_distance"] - groups[near]["identity_distance"]
        gaps.append({"attribute": attribute, "best": near, "worst": far, "gap": round(gap, 4)})
    return max(gaps, key=lambda gap: float(gap["gap"]))  # type: ignore[arg-type]


def as_markdown(result: dict[str, object]) -> str:
    """The tables and the largest gap in words."""
    lines = [
        f"| faces | count | LPIPS ({result['lpips_trunk']}) | PSNR dB | MS-SSIM | identity distance | below 0.6 |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = {"all": result["all"]}
    for attribute, groups in result["groups"].items():  # type: ignore[attr-defined]
        rows |= {f"{attribute}: {group}": row for group, row in groups.items()}
    for name, row in rows.items():
        lines.append(
            f"| {name} | {row['faces']} | {row['lpips']:.3f} | {row['psnr']:.1f} | {row['ms_ssim']:.3f} | "  # type: ignore[index]
            f"{row['identity_distance']:.3f} | {row['same_person']} of {row['compared']} |"  # type: ignore[index]
        )
    gap = result["largest_gap"]
    lines += [
        "",
        f"Largest gap of median identity distance within an attribute: {gap['gap']:.3f}, "  # type: ignore[index]
        f"{gap['worst']} against {gap['best']} ({gap['attribute']}).",  # type: ignore[index]
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

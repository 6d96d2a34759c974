"""Measures LPIPS of the validation faces with each preset, for the percentile that `inversion.project` prints.

    python -m benchmarks.percentiles --faces fairface-128.zip --inversions runs/editing/inversions

The first COUNT faces of the zip's folder val/, none of which the network was trained on. The result goes beside the
embedded network as percentiles.json; presets that are not asked for keep what the file says of them. A run that is cut
goes on where it was; what benchmarks.groups has inverted need not be inverted again, nor what benchmarks.quality has
measured:

    python -m benchmarks.percentiles --faces fairface-128.zip --count 200 --preset best \
        --quality benchmarks/results/quality.parts
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from benchmarks.inverting import (
    Companions,
    Task,
    distance,
    drawn,
    inverted,
    known_inversions,
    made_by,
    task_of,
    validation_faces,
)
from benchmarks.lines import Lines, kept_rows
from inversion.percentiles import FORMAT
from inversion.pipeline import open_network
from inversion.presets import DEFAULT_PRESET, PRESET_NAMES
from inversion.stages import presets_of
from relatent.core.files import write_bytes
from stylegan import network_id
from stylegan.training.data.dataset import ImageDataset
from weights.embedded import DEFAULT_NETWORK, PERCENTILES_FILE, network_path

WORK = Path(__file__).parent / "results" / "percentiles.parts"


@click.command()
@click.option("--faces", required=True, type=click.Path(path_type=Path, exists=True), help="Zip file with val/.")
@click.option("--count", default=None, type=click.IntRange(min=1), help="Only the first so many.  [default: all]")
@click.option("--preset", "presets", multiple=True, type=click.Choice(PRESET_NAMES), default=("balanced",))
@click.option("--network", default=DEFAULT_NETWORK, show_default=True, metavar="NAME_OR_FILE")
@click.option("--encoder", type=click.Path(path_type=Path, exists=True), help="[default: the one beside the network]")
@click.option(
    "--preconditioner", type=click.Path(path_type=Path, exists=True), help="[default: the one beside the network]"
)
@click.option("--batch", default=10, show_default=True, help="Photos optimised together.")
@click.option("--work", default=WORK, type=click.Path(path_type=Path), help="Where rows are kept until all are there.")
@click.option("--inversions", type=click.Path(path_type=Path, exists=True), help="Folder of benchmarks.groups.")
@click.option("--quality", type=click.Path(path_type=Path, exists=True), help="Folder of benchmarks.quality's rows.")
@click.option("--out", default=None, type=click.Path(path_type=Path), help="[default: beside the network]")
def main(
    faces: Path,
    count: int | None,
    presets: tuple[str, ...],
    network: str,
    encoder: Path | None,
    preconditioner: Path | None,
    batch: int,
    work: Path,
    inversions: Path | None,
    quality: Path | None,
    out: Path | None,
) -> None:
    """Measure the faces with each --preset and write percentiles.json."""
    out = out or network_path(network).parent / PERCENTILES_FILE
    generator = open_network(network)
    files = Companions(encoder, preconditioner)
    plans = presets_of(generator, files.named("preconditioner"))
    names = ImageDataset(faces, generator.resolution, "val").names[:count]
    entries = {}
    for preset in presets:
        plan = plans[preset]
        task = task_of(plan, generator, files)
        about = {**made_by(generator, plan, files), "lpips_trunk": task.perceptual.backbone}
        rows = Lines(work / f"{preset}.jsonl", {"preset": preset, **about})
        if inversions and preset == DEFAULT_PRESET:
            _take_over(rows, _of_inversions(task, faces, inversions))
        if quality:
            _take_over(rows, kept_rows(quality / f"{preset}.jsonl", about))
        _measure(task, faces, names, rows, batch)
        del about["network"]  # stands above all entries
        values = sorted(rows.rows[name]["lpips"] for name in names)
        entries[preset] = {**about, "faces": len(values), "lpips": values}
    write_bytes(out, as_json(merged(out, network_id(generator), entries)).encode())
    click.echo(f"{out}: {', '.join(f'{preset} on {len(names)} faces' for preset in entries)}")


def _take_over(rows: Lines, measured: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep the LPIPS of faces that have been measured elsewhere."""
    for name, row in measured.items():
        if name not in rows.rows:
            rows.add(name, {"lpips": row["lpips"]})


def _of_inversions(task: Task, faces: Path, folder: Path) -> dict[str, dict[str, float]]:
    """What the faces that lie inverted in ``folder`` come to."""
    measured = {}
    for name, inversion in known_inversions(faces, task.network, folder).items():
        (photo,) = validation_faces(faces, "val", [name], task.network.resolution).split(1)
        measured[name] = {"lpips": distance(task.perceptual, inversion.tensor(task.network), photo)}
    return measured


def _measure(task: Task, faces: Path, names: Sequence[str], rows: Lines, batch: int) -> None:
    waiting = [name for name in names if name not in rows.rows]
    with tqdm(total=len(names), initial=len(names) - len(waiting), desc=rows.path.stem) as bar:
        for first in range(0, len(waiting), batch):
            chunk = waiting[first : first + batch]
            photos = validation_faces(faces, "val", chunk, task.network.resolution)
            for name, photo, latent in zip(chunk, photos.split(1), inverted(task, photos), strict=True):
                rows.add(name, {"lpips": distance(task.perceptual, drawn(task.network, latent), photo)})
            bar.update(len(chunk))


def merged(path: Path, network: str, entries: dict[str, Any]) -> dict[str, Any]:
    """The new entries, and those of other presets that the file has for the same network."""
    before = json.loads(path.read_text()) if path.exists() else {}
    kept = before["presets"] if before.get("network") == network else {}
    return {"format": FORMAT, "network": network, "presets": dict(sorted({**kept, **entries}.items()))}


def as_json(table: dict[str, Any]) -> str:
    """Readable JSON with each row of numbers on one line."""
    text = json.dumps(table, indent=2)
    for entry in table["presets"].values():
        text = text.replace(json.dumps(entry["lpips"], indent=2).replace("\n", "\n      "), json.dumps(entry["lpips"]))
    return text + "\n"


if __name__ == "__main__":
    main()

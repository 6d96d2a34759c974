"""How close inversions come, how well they can be edited, and in what time: methods side by side on the same photos.

    python -m benchmarks.quality --faces fairface-128.zip --labels labels.csv

Photos are the first COUNT of the zip's folder val/, which no network was trained on, and the astronaut. Every method
runs on the same photos, network and machine; medians are quoted. Each face's row is kept as soon as it is there, in
results/OUT.parts/, so a run that is cut goes on where it was.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import click
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks import inverting
from benchmarks.contact_sheet import read_labels, varied
from benchmarks.editability import Move, Plausibility, Row, all_measures, find_edit
from benchmarks.inverting import ASTRONAUT, SEED, Task, made_by, task_of
from benchmarks.lines import Lines
from benchmarks.machine import describe
from benchmarks.quality_table import summaries, table
from inversion.losses.perceptual import load_perceptual
from inversion.pipeline import open_network
from inversion.presets import PAPER, PRESET_NAMES, Plan
from inversion.stages import encoder_for, presets_of
from relatent.core.errors import UsageError
from relatent.core.files import write_bytes
from relatent.core.images import encode_png, grid, read_photo, to_pixels, to_tensor
from stylegan import Generator, network_id
from stylegan.training.data.dataset import ImageDataset
from weights.embedded import DEFAULT_NETWORK

FOLDER = Path(__file__).parent / "results"
SHOWN = 12  # faces on the contact sheet
PAPER_IN_W_PLUS = Plan(optimiser=dataclasses.replace(PAPER, space="w+"))
IN_BFLOAT16 = ("balanced", "best")
METHODS = (*PRESET_NAMES, "paper-w+", *(f"{name}-bfloat16" for name in IN_BFLOAT16))

Rows = dict[str, Row]  # by face


@click.command()
@click.option("--faces", required=True, type=click.Path(path_type=Path, exists=True), help="Zip file with val/.")
@click.option("--labels", default=None, type=click.Path(path_type=Path, exists=True), help="Its labels.csv.")
@click.option("--count", default=200, show_default=True, help="Validation faces.")
@click.option("--network", default=DEFAULT_NETWORK, show_default=True)
@click.option("--batch", default=16, show_default=True, help="Photos optimised together.")
@click.option("--method", "names", multiple=True, type=click.Choice(METHODS), help="[default: every preset]")
@click.option("--num-steps", default=None, type=click.IntRange(min=1), help="Of every method.  [default: its own]")
@click.option("--edit", default="smile=2", show_default=True, help="NAME=STRENGTH, done and undone; or none.")
@click.option("--edited", default=50, show_default=True, help="On so many of the faces.")
@click.option("--out", default="quality", show_default=True, help="Name of the result.")
@click.option("--folder", default=FOLDER, type=click.Path(path_type=Path), help="Where results go.")
def main(
    faces: Path,
    labels: Path | None,
    count: int,
    network: str,
    batch: int,
    names: tuple[str, ...],
    num_steps: int | None,
    edit: str,
    edited: int,
    out: str,
    folder: Path,
) -> None:
    """Measure every method and write OUT.json, OUT.md and OUT.png."""
    generator = open_network(network)
    keys = ImageDataset(faces, generator.resolution, "val").names[:count]
    shown = varied(read_labels(labels, keys), SHOWN) if labels else keys[:SHOWN]
    run = Run(generator, faces, [*keys, ASTRONAUT], shown, folder / f"{out}.parts", edit, edited)
    plans = methods(names, num_steps, generator)
    each: dict[str, Rows] = {}
    for family in families(plans):
        each |= run.measure(family, batch)
    each = {name: each[name] for name in plans}
    rows = summaries(each)
    for name, plan in plans.items():
        rows[name]["settings"] = dataclasses.asdict(plan)
    reference = Plausibility(generator).distance(generator.sample_w(1000, seed=SEED)[None])
    backbone = load_perceptual().backbone
    about = {"network": network_id(generator), "photos": len(keys) + 1, "batch": batch, "lpips_trunk": backbone}
    more = {"edit": edit, "edited": edited, "ws_distance_of_samples": reference, "shown": shown, "machine": describe()}
    result = {**about, **more, "methods": rows, "each": each}
    write_bytes(folder / f"{out}.json", (json.dumps(result, indent=1) + "\n").encode())
    write_bytes(folder / f"{out}.md", table(rows, backbone).encode())
    write_bytes(folder / f"{out}.png", encode_png(grid(run.sheet(list(plans)), len(shown))))
    click.echo(table(rows, backbone))


def methods(names: Sequence[str], num_steps: int | None, generator: Generator) -> dict[str, Plan]:
    """The plans by name; of all presets, those that this network can do."""
    plans = {}
    known = {**presets_of(generator), "paper-w+": PAPER_IN_W_PLUS}
    known |= {f"{name}-bfloat16": dataclasses.replace(known[name], precision="bfloat16") for name in IN_BFLOAT16}
    for name in names or PRESET_NAMES:
        plan = known[name]
        if num_steps is not None and plan.optimiser is not None:
            plan = dataclasses.replace(plan, optimiser=dataclasses.replace(plan.optimiser, num_steps=num_steps))
        try:
            encoder_for(generator, plan, None)
        except UsageError as error:
            if names:
                raise
            click.echo(f"note: {name} is left out: {error}", err=True)
            continue
        plans[name] = plan
    return plans


def families(plans: dict[str, Plan]) -> list[dict[str, Plan]]:
    """The plans, those together that differ in tuning alone, the tuned one first: it finds the other's latents, too."""
    by_latents: dict[Plan, dict[str, Plan]] = {}
    for name, plan in sorted(plans.items(), key=lambda item: item[1].tuning is None):
        by_latents.setdefault(dataclasses.replace(plan, tuning=None), {})[name] = plan
    return list(by_latents.values())


class Run:
    """The faces of one benchmark, and where their rows and pictures are kept.

    Args:
        generator: the network.
        faces: zip file with val/.
        keys: names of faces in it, or ``ASTRONAUT``.
        shown: those whose pictures are kept for the contact sheet.
        parts: folder of what is kept.
        edit: "NAME=STRENGTH" or "none".
        edited: of how many of the keys, the first.
    """

    def __init__(
        self,
        generator: Generator,
        faces: Path,
        keys: list[str],
        shown: list[str],
        parts: Path,
        edit: str,
        edited: int,
    ) -> None:
        self.generator, self.faces, self.keys, self.shown, self.parts = generator, faces, keys, shown, parts
        self.edit, self.edited = edit, edited
        self.move = find_edit(edit, generator)
        self.plausibility = Plausibility(generator)

    def measure(self, family: dict[str, Plan], batch: int) -> dict[str, Rows]:
        """Every face's row by each method of a family; those that are known already are not measured again."""
        tasks = {name: task_of(plan, self.generator) for name, plan in family.items()}
        lines = {name: self._lines(name, plan) for name, plan in family.items()}
        waiting = [key for key in self.keys if any(self._lacks(name, key, lines[name]) for name in family)]
        # An edit takes another inversion, so that not every face gets one.
        changed = set(self.keys[: self.edited])
        groups = [(self.move, [key for key in waiting if key in changed])]
        groups.append((None, [key for key in waiting if key not in changed]))
        with tqdm(total=len(self.keys), initial=len(self.keys) - len(waiting), desc=", ".join(family)) as bar:
            for move, keys in groups:
                for first in range(0, len(keys), batch):
                    chunk = keys[first : first + batch]
                    self._measure_batch(tasks, chunk, lines, move)
                    bar.update(len(chunk))
        return {name: {key: rows.rows[key] for key in self.keys} for name, rows in lines.items()}

    def _lines(self, name: str, plan: Plan) -> Lines:
        about = {**made_by(self.generator, plan), "edit": self.edit, "edited": self.edited}
        return Lines(self.parts / f"{name}.jsonl", {**about, "lpips_trunk": load_perceptual().backbone})

    def sheet(self, names: Sequence[str]) -> Tensor:
        """Photos, then each method's pictures, row by row, [(1 + methods) * shown, 3, R, R]."""
        pictures = [self._photos(self.shown)]
        for name in names:
            pictures += [to_tensor(read_photo(self._picture(name, key)).pixels) for key in self.shown]
        return torch.cat(pictures)

    def _measure_batch(
        self, tasks: dict[str, Task], keys: list[str], lines: dict[str, Lines], move: Move | None
    ) -> None:
        photos = self._photos(keys)
        latents = inverting.inverted(next(iter(tasks.values())), photos)
        for name, task in tasks.items():
            own = latents if task.plan.tuning else [latent.pivot() for latent in latents]
            measured = all_measures(task, own, photos, self.plausibility, move)
            for key, (row, picture) in zip(keys, measured, strict=True):
                if key in self.shown:
                    write_bytes(self._picture(name, key), encode_png(to_pixels(picture)[0]))
                lines[name].add(key, row)

    def _photos(self, keys: Sequence[str]) -> Tensor:
        names = [key for key in keys if key != ASTRONAUT]
        faces = dict(zip(names, self._faces(names), strict=True))
        if ASTRONAUT in keys:
            faces[ASTRONAUT] = inverting.astronaut(self.generator)
        return torch.cat([faces[key] for key in keys])

    def _faces(self, names: Sequence[str]) -> Sequence[Tensor]:
        if not names:
            return ()
        return inverting.validation_faces(self.faces, "val", names, self.generator.resolution).split(1)

    def _picture(self, name: str, key: str) -> Path:
        return self.parts / f"{name}-{Path(key).stem}.png"

    def _lacks(self, name: str, key: str, lines: Lines) -> bool:
        return key not in lines.rows or (key in self.shown and not self._picture(name, key).is_file())


if __name__ == "__main__":
    main()

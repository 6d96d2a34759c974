"""Which settings a preset should have: candidates tried on training faces, the best of them judged on validation faces.

    python -m benchmarks.sweep --faces fairface-128.zip --preset balanced \
        --try optimiser.num_steps=150,300 --try optimiser.learning_rate=0.05,0.1,0.2 --try optimiser.weights.pixels=1,5

Every combination of the values is a candidate, and the preset as it is is one more. Candidates with the same number of
steps are ranked among one another: more steps are always better, and what they may cost is for people to say. The rank
is the mean over measures of which most are not what is optimised; the validation faces, which no choice was made on,
say whether the winner wins there too. Rows are kept in results/OUT.parts/, so a run that is cut goes on where it was.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from benchmarks.editability import Plausibility, all_measures, find_edit
from benchmarks.inverting import inverted, made_by, task_of, validation_faces
from benchmarks.lines import Lines
from benchmarks.machine import describe
from inversion.losses.perceptual import load_perceptual
from inversion.percentiles import settings_of
from inversion.pipeline import open_network
from inversion.presets import PRESET_NAMES, Plan
from inversion.stages import presets_of
from relatent.core.errors import UsageError
from relatent.core.files import write_bytes
from stylegan import Generator, network_id
from stylegan.training.data.dataset import ImageDataset
from weights.embedded import DEFAULT_NETWORK

FOLDER = Path(__file__).parent / "results"
AS_IT_IS = "as it is"
# What is ranked, and whether less of it is better.
RANKED = {
    "lpips": True,
    "lpips_fresh_noise": True,
    "psnr": False,
    "ms_ssim": False,
    "identity_distance": True,
    "ws_distance": True,
    "lpips_edited_and_back": True,
}

Row = dict[str, float | None]


@click.command()
@click.option("--faces", required=True, type=click.Path(path_type=Path, exists=True), help="Zip file: train/ and val/.")
@click.option("--preset", type=click.Choice(PRESET_NAMES), default="balanced", show_default=True)
@click.option("--try", "tries", multiple=True, metavar="NAME=VALUE,VALUE", help="A setting and what it might be.")
@click.option("--train-count", default=16, show_default=True, help="Training faces to choose on.")
@click.option("--val-count", default=32, show_default=True, help="Validation faces to judge on.")
@click.option("--finalists", default=2, show_default=True, help="Of each number of steps, beside the preset as it is.")
@click.option("--network", default=DEFAULT_NETWORK, show_default=True)
@click.option("--batch", default=16, show_default=True, help="Photos optimised together.")
@click.option("--edit", default="none", show_default=True, help="NAME=STRENGTH, done and undone; or none.")
@click.option("--out", default=None, help="Name of the result.  [default: sweep-PRESET]")
@click.option("--folder", default=FOLDER, type=click.Path(path_type=Path), help="Where results go.")
def main(
    faces: Path,
    preset: str,
    tries: tuple[str, ...],
    train_count: int,
    val_count: int,
    finalists: int,
    network: str,
    batch: int,
    edit: str,
    out: str | None,
    folder: Path,
) -> None:
    """Try the candidates and write OUT.json and OUT.md."""
    out = out or f"sweep-{preset}"
    generator = open_network(network)
    plans = candidates(presets_of(generator)[preset], parse_tries(tries))
    trial = Trial(generator, faces, batch, folder / f"{out}.parts", edit)
    tried = {name: medians(trial.run(name, plan, "train", train_count)) for name, plan in plans.items()}
    ranked = ranks(plans, tried)
    final = chosen(plans, ranked, finalists)
    judged = {name: medians(trial.run(name, plans[name], "val", val_count)) for name in final}
    judged_ranks = ranks({name: plans[name] for name in final}, judged)
    result = {
        "preset": preset,
        "network": network_id(generator),
        "lpips_trunk": load_perceptual().backbone,
        "tries": dict(parse_tries(tries)),
        "train": {"faces": train_count, "candidates": _together(tried, ranked)},
        "val": {"faces": val_count, "candidates": _together(judged, judged_ranks)},
        "settings": {name: settings_of(plan) for name, plan in plans.items()},
        "batch": batch,
        "edit": edit,
        "machine": describe(),
    }
    write_bytes(folder / f"{out}.json", (json.dumps(result, indent=2) + "\n").encode())
    write_bytes(folder / f"{out}.md", table(result).encode())
    click.echo(table(result))


def parse_tries(texts: Sequence[str]) -> dict[str, list[Any]]:
    """``optimiser.num_steps=150,300`` and the like: the values to try, by the setting's place in the plan.

    Raises:
        UsageError: no such form, or nothing to try.
    """
    tries = {}
    for text in texts:
        name, equals, values = text.partition("=")
        try:
            tries[name.strip()] = [json.loads(value) for value in values.split(",")]
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            raise UsageError(f"--try is {text!r}; expected a setting and values, as optimiser.learning_rate=0.05,0.1.")
    if not tries:
        raise UsageError("nothing to try: expected --try NAME=VALUE,VALUE, as optimiser.num_steps=150,300.")
    return tries


def candidates(plan: Plan, tries: dict[str, list[Any]]) -> dict[str, Plan]:
    """Every combination of the values put into the plan, by what was changed; first the plan as it is.

    Raises:
        UsageError: the plan has no such setting, or the value is not of its kind.
    """
    plans = {AS_IT_IS: plan}
    for values in itertools.product(*tries.values()):
        changed = plan
        for name, value in zip(tries, values, strict=True):
            changed = changed_at(changed, name.split("."), value, name)
        if changed not in plans.values():
            plans[", ".join(f"{name}={value}" for name, value in zip(tries, values, strict=True))] = changed
    return plans


def changed_at(settings: Any, path: Sequence[str], value: Any, name: str) -> Any:
    """Frozen settings with the value at ``path`` changed; ``name`` is what messages call it."""
    fields = [field.name for field in dataclasses.fields(settings)] if dataclasses.is_dataclass(settings) else []
    if path[0] not in fields:
        raise UsageError(f"--try names {name!r}; the settings there are: {', '.join(fields) or 'none'}.")
    before = getattr(settings, path[0])
    if len(path) > 1:
        return dataclasses.replace(settings, **{path[0]: changed_at(before, path[1:], value, name)})
    exact = isinstance(before, int | str)  # a bool is an int; a float may be given without its point
    number = isinstance(before, float) and type(value) in (int, float)
    if not (type(value) is type(before) if exact else number):
        raise UsageError(f"--try gives {name!r} the value {value!r}; expected one like {before!r}.")
    return dataclasses.replace(settings, **{path[0]: value})


class Trial:
    """Faces that candidates are tried on, and what is known of them.

    Args:
        generator: the network.
        faces: zip file with train/ and val/.
        batch: photos optimised together.
        parts: folder of the rows.
        edit: "NAME=STRENGTH", done and undone; or "none".
    """

    def __init__(self, generator: Generator, faces: Path, batch: int, parts: Path, edit: str) -> None:
        self.generator, self.faces, self.batch, self.parts, self.edit = generator, faces, batch, parts, edit
        self.move = find_edit(edit, generator)
        self.plausibility = Plausibility(generator)

    def run(self, name: str, plan: Plan, part: str, count: int) -> list[Row]:
        """The rows of the first ``count`` faces of train/ or val/."""
        task = task_of(plan, self.generator)
        about = {**made_by(self.generator, plan), "part": part, "edit": self.edit}
        about["lpips_trunk"] = task.perceptual.backbone
        digest = hashlib.sha256(json.dumps(about["settings"]).encode()).hexdigest()[:12]  # names may be long
        lines = Lines(self.parts / f"{part}-{digest}.jsonl", about)
        keys = ImageDataset(self.faces, self.generator.resolution, part).names[:count]
        waiting = [key for key in keys if key not in lines.rows]
        with tqdm(total=len(keys), initial=len(keys) - len(waiting), desc=f"{part}: {name}") as bar:
            for first in range(0, len(waiting), self.batch):
                chunk = waiting[first : first + self.batch]
                photos = validation_faces(self.faces, part, chunk, self.generator.resolution)
                latents = inverted(task, photos)
                measured = all_measures(task, latents, photos, self.plausibility, self.move)
                for key, (row, _) in zip(chunk, measured, strict=True):
                    lines.add(key, row)
                bar.update(len(chunk))
        return [lines.rows[key] for key in keys]


def medians(rows: Sequence[Row]) -> Row:
    """Of every measure, over the faces it is known for."""
    result: Row = {}
    for column in [*RANKED, "seconds"]:
        known = [value for row in rows if (value := row[column]) is not None]
        result[column] = round(statistics.median(known), 5) if known else None
    return result


def ranks(plans: dict[str, Plan], rows: dict[str, Row]) -> dict[str, float]:
    """Each candidate's mean rank over the measures, 1 the best, among those of as many steps."""
    places: dict[str, list[float]] = {name: [] for name in plans}
    for rivals in _by_steps(plans).values():
        for column, less_is_better in RANKED.items():
            known = {name: value for name in rivals if (value := rows[name][column]) is not None}
            for name, value in known.items():
                better = sum((other < value) if less_is_better else (other > value) for other in known.values())
                equal = sum(other == value for other in known.values())
                places[name].append(better + (equal + 1) / 2)
    return {name: round(statistics.mean(values), 3) for name, values in places.items()}


def chosen(plans: dict[str, Plan], ranked: dict[str, float], count: int) -> list[str]:
    """The ``count`` best of each number of steps, and the plan as it is."""
    names = [AS_IT_IS]
    for rivals in _by_steps(plans).values():
        best = sorted((name for name in rivals if name != AS_IT_IS), key=lambda name: ranked[name])
        names += best[:count]
    return names


def _by_steps(plans: dict[str, Plan]) -> dict[tuple[int, ...], list[str]]:
    groups: dict[tuple[int, ...], list[str]] = {}
    for name, plan in plans.items():
        steps = tuple(stage.num_steps if stage else 0 for stage in (plan.refinement, plan.optimiser, plan.tuning))
        groups.setdefault((plan.encoder_iterations, *steps), []).append(name)
    return groups


def _together(rows: dict[str, Row], ranked: dict[str, float]) -> dict[str, dict[str, float | None]]:
    return {name: {"mean_rank": ranked[name], **row} for name, row in rows.items()}


def table(result: dict[str, Any]) -> str:
    """Both rounds as Markdown, the best mean rank first."""
    lines = []
    for part, what in (("train", "training"), ("val", "validation")):
        lines += [f"{result[part]['faces']} {what} faces:", ""]
        lines += [f"| {result['preset']} | mean rank | {' | '.join([*RANKED, 'seconds'])} |"]
        lines += ["|---" * (len(RANKED) + 3) + "|"]
        for name, row in sorted(result[part]["candidates"].items(), key=lambda item: item[1]["mean_rank"]):
            cells = ["" if row[column] is None else f"{row[column]:.3f}" for column in [*RANKED, "seconds"]]
            lines.append(f"| {name} | {row['mean_rank']:.2f} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

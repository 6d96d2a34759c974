"""`python -m inversion.project`: the command that inverts photos."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from inversion.batch.run import BatchOptions, Outcome, project_photos
from inversion.batch.summary import require_summary_room, summarise
from inversion.config import InvertConfig
from inversion.inputs import Inputs, InputStream, expand
from inversion.optim.projector import Step
from inversion.pipeline import Pipeline
from relatent.core.command import PATH, RelatentCommand, config_options, device_option
from relatent.core.errors import PhotoError, UsageError
from relatent.core.progress import ProgressBar
from relatent.core.stopping import stopped_by_interrupt
from weights.embedded import DEFAULT_NETWORK

BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


@click.command(cls=RelatentCommand)
@click.argument("photos", nargs=-1, type=PATH)
@click.option("--target", multiple=True, type=PATH, help="A photo; the old projectors' name for PHOTOS.")
@click.option("--demo", is_flag=True, help="Invert a photograph that comes with a dependency: the astronaut.")
@click.option(
    "--network",
    default=DEFAULT_NETWORK,
    show_default=True,
    metavar="NAME_OR_FILE",
    help="The generator to invert into.",
)
@click.option("--outdir", default="out", show_default=True, type=PATH, help="Results go to OUTDIR/STEM.")
@config_options(InvertConfig)
@config_options(BatchOptions)
@device_option
@click.option("--dry-run", is_flag=True, help="Print the final settings and stop.")
@click.pass_context
def main(
    context: click.Context,
    /,
    photos: tuple[Path, ...],
    target: tuple[Path, ...],
    demo: bool,
    network: str,
    outdir: Path,
    device: str | None,
    dry_run: bool,
    **choices: Any,
) -> None:
    """Invert photos of faces: find the latents from which a generator draws them.

    PHOTOS are pictures or folders of pictures. Each face gets a folder OUTDIR/STEM with target.png,
    proj.png, projected_w.npz, inversion.safetensors and report.json. A rerun skips what is done. Of a folder, the
    pictures that Relatent made are left out.
    """
    named = [*photos, *target, *([demo_photo()] if demo else [])]
    if not named:
        raise UsageError("no photo was named; expected pictures or folders, or --demo. Try --help.")
    names = {one.name for one in dataclasses.fields(BatchOptions)} & set(choices)
    options = BatchOptions(**{name: choices.pop(name) for name in names})
    config = InvertConfig(**choices)
    if dry_run:
        click.echo(final_settings(expand(named), network, config, device))
        return
    require_summary_room(outdir)
    inputs, counts = InputStream(named), Counter[str]()
    try:
        with stopped_by_interrupt(_about_to_stop) as stop, ProgressBar(bar_format=BAR) as bar:
            for outcome in project_photos(
                inputs, outdir, network, config, options, device=device, on_step=partial(_show, bar), stop=stop
            ):
                bar.close()
                _tell(outcome)
                counts[outcome.status] += 1
    finally:
        summarise(outdir)
    if inputs.note():
        click.echo(f"note: {inputs.note()}", err=True)
    failed, total = counts["failed"], counts.total()
    if failed and total > 1:
        click.echo(f"{failed} of {total} failed.", err=True)
    if stop():
        click.echo(f"stopped; run the same command again to go on. See: python -m inversion status {outdir}", err=True)
        context.exit(130)
    context.exit(1 if failed else 0)


def _about_to_stop() -> None:
    click.echo("finishing the photos in hand; press Ctrl-C again to stop at once.", err=True)


def demo_photo() -> Path:
    """Path of the astronaut, a NASA picture in the public domain that ships with scikit-image."""
    spec = importlib.util.find_spec("skimage")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        photo = Path(folder) / "data" / "astronaut.png"
        if photo.is_file():
            return photo
    raise PhotoError("the demo photo of scikit-image is missing. Install it again with: pip install scikit-image")


def final_settings(inputs: Inputs, network: str, config: InvertConfig, device: str | None) -> str:
    """The settings of a run as JSON; raises what a run raises before its first photo."""
    pipeline = Pipeline(network, config, device=device)
    settings = {
        "photos": [str(one) for one in inputs.photos],
        "passed_over": [str(one) for one in (*inputs.passed_over, *inputs.results)],
        "network": network,
        "preset": config.preset,
        "seed": config.seed,
        "settings": config.report(pipeline.network),
    }
    return json.dumps(settings, indent=2)


def _show(bar: ProgressBar, names: Sequence[str], step: Step) -> None:
    """One bar for each batch of photos, with the loss and the time left."""
    if step.index == 1:
        label = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        bar.close(desc=f"{label}, tuning" if step.stage == "tune" else label)
    # reading the loss waits for the device
    told = step.index % 10 == 0 or step.index == step.total
    bar.show(step.index, step.total, f"loss {float(step.losses.mean()):.4f}" if told else "")


def _tell(outcome: Outcome) -> None:
    if outcome.note:
        click.echo(f"note: {outcome.note}", err=True)
    if outcome.status == "failed":
        click.echo(f"error: {outcome.message}", err=True)
    else:
        click.echo(f"{outcome.folder}: {outcome.message}")


if __name__ == "__main__":
    main()

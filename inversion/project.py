"""`python -m inversion.project`: photos in, latents out. Parsing and printing only."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

import click
from tqdm import tqdm

from inversion.batch.jobs import expand
from inversion.batch.run import Outcome, project_photos
from inversion.config import ProjectOptions
from inversion.losses.perceptual import BACKBONES
from inversion.optim.projector import Step
from inversion.pipeline import Which, open_network
from inversion.presets import DEFAULT_PRESET, DEFAULT_SEED, PRESET_NAMES
from inversion.stages import encoder_for
from relatent.core.command import RelatentCommand
from relatent.core.errors import PhotoError, UsageError
from relatent.core.precision import CHOICES, check_precision
from weights.embedded import DEFAULT_NETWORK

BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


@click.command(cls=RelatentCommand)
@click.argument("photos", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--target", multiple=True, type=click.Path(path_type=Path), help="A photo; the old projectors' name for PHOTOS."
)
@click.option("--demo", is_flag=True, help="Invert a photograph that comes with a dependency: the astronaut.")
@click.option(
    "--network",
    default=DEFAULT_NETWORK,
    show_default=True,
    metavar="NAME_OR_FILE",
    help="The generator to invert into.",
)
@click.option(
    "--outdir", default="out", show_default=True, type=click.Path(path_type=Path), help="Results go to OUTDIR/STEM."
)
@click.option(
    "--space",
    type=click.Choice(["w", "w+"]),
    default=None,
    help="One latent for all layers, or one each.  [default: the preset's]",
)
@click.option(
    "--preset",
    type=click.Choice(PRESET_NAMES),
    default=DEFAULT_PRESET,
    show_default=True,
    help="How much work a photo is worth.",
)
@click.option(
    "--num-steps", type=click.IntRange(min=1), default=None, help="Steps of the optimiser.  [default: the preset's]"
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=None,
    help="Photos optimised together.  [default: 4, and 1 above 256 px]",
)
@click.option(
    "--seed", type=int, default=DEFAULT_SEED, show_default=True, help="Of the noise the optimiser starts from."
)
@click.option(
    "--encoder",
    default=None,
    metavar="NAME_OR_FILE",
    help="The encoder to start with.  [default: the network's own, if it has one]",
)
@click.option(
    "--preconditioner",
    "--curvature",
    default=None,
    metavar="FILE",
    help="The network's preconditioner: a third of the steps.  [default: the network's own, if it has one]",
)
@click.option(
    "--mask",
    default=None,
    metavar="FILE|auto",
    help="What of the photo counts: white in a picture of its size, or the face's hull.  [default: all of it]",
)
@click.option(
    "--lpips",
    type=click.Choice(BACKBONES),
    default="embedded",
    show_default=True,
    help="Whose features the loss compares.",
)
@click.option(
    "--precision",
    type=click.Choice(CHOICES),
    default="float32",
    show_default=True,
    help="Of the features; latents and losses are float32. auto: bfloat16 where the device computes in it.",
)
@click.option("--device", default=None, help="cpu, cuda, cuda:1, mps.  [default: the best there is]")
@click.option("--save-video/--no-save-video", default=False, show_default=True, help="Also write proj.mp4.")
@click.option(
    "--align/--no-align",
    default=True,
    show_default=True,
    help="Find and crop the face, or take the centre square as it is.",
)
@click.option(
    "--face",
    default="largest",
    show_default=True,
    metavar="largest|all|N",
    help="Which face of a photo; N counts from 1, largest first.",
)
@click.option("--overwrite", is_flag=True, help="Redo photos that are done already.")
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
    batch_size: int | None,
    device: str | None,
    face: str,
    dry_run: bool,
    **choices: object,
) -> None:
    """Put photos of faces into the latent space of a generator.

    PHOTOS are pictures or folders of pictures. Each face gets a folder OUTDIR/STEM with target.png,
    proj.png, projected_w.npz, inversion.safetensors and report.json. A rerun skips what is done.
    """
    found = expand([*photos, *target, *([demo_photo()] if demo else [])])
    if not found:
        raise UsageError("no photo was named; expected pictures or folders, or --demo. Try --help.")
    generator = open_network(network, device)
    if batch_size is None:
        batch_size = 4 if generator.resolution <= 256 else 1
    options = ProjectOptions(face=parse_face(face), batch_size=batch_size, **choices)  # type: ignore[arg-type]
    if dry_run:
        plan = options.plan(generator)
        check_precision(plan.precision, generator.w_avg.device)
        encoder_for(generator, plan, options.encoder)  # a run would complain of it, too
        click.echo(
            json.dumps(
                {
                    "photos": [str(one) for one in found],
                    "network": network,
                    "preset": options.preset,
                    "seed": options.seed,
                    "settings": options.settings(generator),
                },
                indent=2,
            )
        )
        return
    with _Bar() as bar:
        outcomes = []
        for outcome in project_photos(found, outdir, generator, options, on_step=bar.show):
            bar.clear()
            _tell(outcome)
            outcomes.append(outcome)
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    if failed and len(outcomes) > 1:
        click.echo(f"{failed} of {len(outcomes)} failed.", err=True)
    context.exit(1 if failed else 0)


def demo_photo() -> Path:
    """The astronaut, a NASA picture in the public domain, as scikit-image ships it."""
    spec = importlib.util.find_spec("skimage")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        photo = Path(folder) / "data" / "astronaut.png"
        if photo.is_file():
            return photo
    raise PhotoError("the demo photo of scikit-image is missing. Install it again with: pip install scikit-image")


def parse_face(text: str) -> Which:
    """ "largest", "all", or a number from 1."""
    if text == "largest":
        return "largest"
    if text == "all":
        return "all"
    if text.isdigit() and int(text) >= 1:
        return int(text)
    raise UsageError(f"--face is {text!r}; expected largest, all, or a number from 1.")


class _Bar:
    """One progress bar for each batch of photos, with the loss and the time left."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def show(self, names: Sequence[str], step: Step) -> None:
        if self.bar is None or step.index == 1:
            self.clear()
            label = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
            label = f"{label}, tuning" if step.stage == "tune" else label
            self.bar = tqdm(total=step.total, desc=label, bar_format=BAR, leave=True)
        if step.index % 10 == 0 or step.index == step.total:  # reading the loss waits for the device
            self.bar.set_postfix_str(f"loss {float(step.losses.mean()):.4f}", refresh=False)
        self.bar.update(step.index - self.bar.n)

    def clear(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def _tell(outcome: Outcome) -> None:
    if outcome.note:
        click.echo(f"note: {outcome.note}", err=True)
    if outcome.status == "failed":
        click.echo(f"error: {outcome.message}", err=True)
    else:
        click.echo(f"{outcome.folder}: {outcome.message}")


if __name__ == "__main__":
    main()

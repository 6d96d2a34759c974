"""The command line of `python -m inversion`."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import click

from inversion.backbone.run import read_settings, train_backbone
from inversion.backbone.trainer import PRECISIONS, BackboneSettings, BackboneTick
from inversion.batch.status import status
from inversion.encoders import run as encoder_run
from inversion.encoders.training import EncoderSettings, EncoderTick
from inversion.optim.preconditioner import PreconditionerSettings, measure_preconditioner
from inversion.optim.preconditioner_file import save_preconditioner
from inversion.pipeline import open_network
from relatent.core.command import PATH, PathType, RelatentCommand, device_option
from relatent.core.device import pick_device
from relatent.core.errors import UsageError
from relatent.core.progress import TRAINING, ProgressBar
from relatent.core.results import require_replaceable
from stylegan.formats.checkpoint import Provenance
from stylegan.training.loop import Schedule, state_path


@click.group()
def main() -> None:
    """Status of batches, training, preconditioners. `python -m inversion.project` inverts photos."""


@main.command("status", cls=RelatentCommand)
@click.argument("outdir", type=PATH)
def status_command(outdir: Path) -> None:
    """Say how far a batch is, also while it runs: what is done, failed and pending in OUTDIR."""
    click.echo(status(outdir))


@main.command("train-backbone", cls=RelatentCommand)
@click.option("--data", metavar="FILE_OR_FOLDER", help="Zip file or folder of pictures; cut to squares of 128 px.")
@click.option("--data-folder", metavar="NAME", help="Use only the pictures below this folder of the data.")
@click.option("--teacher", metavar="FILE", help="Safetensors file of SqueezeNet 1.1's features, torchvision's names.")
@click.option("--out", required=True, type=PathType(dir_okay=False), help="The backbone's file.")
@click.option(
    "--kimg",
    type=click.FloatRange(min=0),
    default=130,
    show_default=True,
    help="Thousands of pictures to train on, from the very start.",
)
@click.option("--resume", is_flag=True, help="Go on from the state beside OUT.")
@click.option("--name", default="faces-backbone", show_default=True, help="What the backbone is called in reports.")
@click.option(
    "--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Pictures a step at 64 px; fewer larger."
)
@click.option(
    "--lr",
    type=click.FloatRange(min=0),
    default=0.015,
    show_default=True,
    help="Highest learning rate, of the filters.",
)
@click.option(
    "--precision", type=click.Choice(PRECISIONS), default="float32", show_default=True, help="Of the features."
)
@click.option("--licence", default="", help="Kept in the backbone's file.")
@click.option("--attribution", default="", help="Kept in the backbone's file.")
@click.option("--seed", type=int, default=0, show_default=True)
@device_option
@click.option("--dry-run", is_flag=True, help="Print the final settings and stop.")
def train_backbone_command(
    out: Path, kimg: float, resume: bool, device: str | None, dry_run: bool, **options: object
) -> None:
    """Train a SqueezeNet 1.1 to match a teacher's features, like the embedded perceptual backbone.

    Writes the backbone, and a training state and a log beside it. A resumed run keeps the settings it was started
    with, except --kimg, and --data and --teacher where given.
    """
    where = pick_device(device)
    if not resume and state_path(out).exists():
        raise UsageError(
            f"{state_path(out)} already holds a run. Add --resume to go on with it, or choose another --out."
        )
    require_replaceable([out])
    settings = settings_from_options(read_settings(state_path(out)) if resume else None, **options)
    if dry_run:
        click.echo(settings.to_json())
        return
    schedule = Schedule(kimg=kimg, tick_kimg=1, snapshot_ticks=5)

    def show(now: BackboneTick) -> None:
        text = f" loss {now.loss:.4f} {now.seconds_per_kimg:.1f} s/kimg"
        bar.show(now.kimg, max(round(kimg, 3), now.kimg), text)

    with ProgressBar(bar_format=TRAINING) as bar:
        written = train_backbone(settings, out, schedule, device=where, resume=resume, on_tick=show, progress=True)
    click.echo(f"backbone: {written}")


@main.command("train-encoder", cls=RelatentCommand)
@click.option("--network", metavar="NAME_OR_FILE", help="The generator to learn.")
@click.option("--data", metavar="FILE_OR_FOLDER", help="Photos of faces, aligned as the generator's own.")
@click.option("--data-folder", metavar="NAME", help="Use only the pictures below this folder of the data.")
@click.option("--out", required=True, type=PathType(dir_okay=False), help="The encoder's file.")
@click.option("--kimg", type=click.FloatRange(min=0), default=200, show_default=True, help="Thousands of pictures.")
@click.option("--resume", is_flag=True, help="Go on from the state beside OUT.")
@click.option(
    "--start", default="", metavar="FILE", help="Begin with another encoder's weights; its resolution may differ."
)
@click.option("--batch", type=click.IntRange(min=2), default=16, show_default=True, help="Pictures a step.")
@click.option(
    "--iterations",
    "--rounds",  # the name of an earlier version
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Of the encoder, at most.",
)
@click.option("--lr", type=click.FloatRange(min=0), default=0.002, show_default=True, help="Highest learning rate.")
@click.option("--precision", type=click.Choice(PRECISIONS), default="float32", show_default=True)
@click.option("--licence", default="", help="Kept in the encoder's file.")
@click.option("--attribution", default="", help="Kept in the encoder's file.")
@click.option("--seed", type=int, default=0, show_default=True)
@device_option
@click.option("--dry-run", is_flag=True, help="Print the final settings and stop.")
def train_encoder_command(
    out: Path, kimg: float, resume: bool, device: str | None, dry_run: bool, **options: object
) -> None:
    """Train an encoder, from which the presets fast, balanced and best start.

    Writes the encoder, and a training state and a log beside it. A resumed run keeps the settings it was started
    with, except --kimg, and --data and --network where given.
    """
    where = pick_device(device)
    state = state_path(out)
    if not resume and state.exists():
        raise UsageError(f"{state} already holds a run. Add --resume to go on with it, or choose another --out.")
    require_replaceable([out])
    settings = encoder_settings(encoder_run.read_settings(state) if resume else None, **options)
    if dry_run:
        click.echo(settings.to_json())
        return
    schedule = Schedule(kimg=kimg, tick_kimg=1, snapshot_ticks=5)

    def show(now: EncoderTick) -> None:
        text = f" lpips {now.lpips:.3f} latents {now.latents:.3f} {now.seconds_per_kimg:.1f} s/kimg"
        bar.show(now.kimg, max(round(kimg, 3), now.kimg), text)

    with ProgressBar(bar_format=TRAINING) as bar:
        written = encoder_run.train_encoder(
            settings, out, schedule, device=where, resume=resume, on_tick=show, progress=True
        )
    click.echo(f"encoder: {written}")


@main.command("measure-preconditioner", cls=RelatentCommand)
@click.option("--network", required=True, metavar="NAME_OR_FILE", help="The generator to measure.")
@click.option("--out", required=True, type=PathType(dir_okay=False), help="The preconditioner's file.")
@click.option("--pictures", type=click.IntRange(min=1), default=512, show_default=True, help="Pictures to draw.")
@click.option(
    "--probes", type=click.IntRange(min=1), default=6, show_default=True, help="Random gradients around each of them."
)
@click.option("--rank", type=click.IntRange(min=1), default=768, show_default=True, help="Directions to keep.")
@click.option("--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Pictures at once.")
@click.option("--licence", default="", help="Kept in the preconditioner's file.")
@click.option("--attribution", default="", help="Kept in the preconditioner's file.")
@click.option("--seed", type=int, default=0, show_default=True)
@device_option
@click.option("--overwrite", is_flag=True, help="Replace an earlier preconditioner at OUT.")
def measure_preconditioner_command(
    network: str, out: Path, licence: str, attribution: str, device: str | None, overwrite: bool, **options: int
) -> None:
    """Measure the preconditioner of inversions: the Gauss-Newton matrix around a generator's latents.

    Needs no photos and takes minutes on a CPU. With it, presets take a third of the steps. Embedded networks come
    with one; for other networks, pass the file with --preconditioner.
    """
    require_replaceable([out])
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists. Add --overwrite to replace it, or choose another --out.")
    settings = PreconditionerSettings(**options)
    generator = open_network(network, device)
    with ProgressBar(unit="picture") as bar:
        preconditioner = measure_preconditioner(
            generator, settings, on_batch=lambda done, total: bar.show(done, total, "")
        )
    origin = (
        f"measured by python -m inversion measure-preconditioner, {settings.pictures} pictures, seed {settings.seed}"
    )
    save_preconditioner(
        preconditioner, out, provenance=Provenance(licence=licence, attribution=attribution, origin=origin)
    )
    click.echo(f"preconditioner: {out}")


def settings_from_options(saved: BackboneSettings | None, **o) -> BackboneSettings:  # type: ignore[no-untyped-def]
    """The settings from the options, or the saved ones of a resumed run, whose files may have moved."""
    if saved is not None:
        moved = {key: o[key] for key in ("data", "data_folder", "teacher") if o[key]}
        return dataclasses.replace(saved, **moved)
    for flag in ("data", "teacher"):
        if not o[flag]:
            raise UsageError(f"--{flag} is missing; see python -m inversion train-backbone --help.")
    return BackboneSettings(learning_rate=o.pop("lr"), **o)


def encoder_settings(saved: EncoderSettings | None, **o) -> EncoderSettings:  # type: ignore[no-untyped-def]
    """The settings from the options, or the saved ones of a resumed run, whose files may have moved."""
    if saved is not None:
        return dataclasses.replace(saved, **{key: o[key] for key in ("network", "data", "data_folder") if o[key]})
    for flag in ("network", "data"):
        if not o[flag]:
            raise UsageError(f"--{flag} is missing; see python -m inversion train-encoder --help.")
    return EncoderSettings(learning_rate=o.pop("lr"), **o)


for old, command in (("train-trunk", train_backbone_command), ("measure-curvature", measure_preconditioner_command)):
    alias = copy.copy(command)  # the name of an earlier version
    alias.hidden = True
    main.add_command(alias, old)

if __name__ == "__main__":
    main()

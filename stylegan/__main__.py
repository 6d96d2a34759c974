"""The command line of `python -m stylegan`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click
import torch

from relatent.core.command import PATH, PATH_TEXT, RelatentCommand, device_option
from relatent.core.device import pick_device
from relatent.core.errors import CheckpointError, UsageError
from relatent.core.progress import TRAINING, ProgressBar
from relatent.core.results import require_replaceable
from stylegan.bounds import RESOLUTIONS
from stylegan.formats.checkpoint import network_id, read_provenance, save_generator
from stylegan.formats.loading import find_network, load
from stylegan.measuring.command import metrics_command
from stylegan.networks.synthesis import STYLE_METHODS
from stylegan.training import processes
from stylegan.training.growth import grown_settings
from stylegan.training.loop import Schedule
from stylegan.training.options import settings_from_options, with_changes
from stylegan.training.recipe_file import filled_options, given_options
from stylegan.training.recipes import ARCHS
from stylegan.training.report.board import Board
from stylegan.training.report.interpolation import write_interpolation
from stylegan.training.report.page import LOG_FILE, PAGE_FILE, SETTINGS_FILE, VIDEO_FILE, write_report
from stylegan.training.run import STATE_FILE, open_validation, train
from stylegan.training.settings import PRECISIONS, TrainingSettings
from stylegan.training.state import compact_state, describe_state, images_seen, read_settings
from stylegan.training.tick import Tick
from stylegan.training.transfer import is_fully_connected, is_state, transfer_settings
from stylegan.tuning.command import tune_command

SIDES = list(map(str, sorted({*RESOLUTIONS, 28})))
OWN_STATE = Path("-")  # --resume without a file

F = TypeVar("F", bound=Callable[..., Any])
option = partial(click.option, show_default=True)
DIMS = click.IntRange(1, 4096)
SHARE = click.FloatRange(0, 1)
NOT_NEGATIVE = click.FloatRange(min=0)
POSITIVE = click.FloatRange(min=0, min_open=True)


@click.group()
def main() -> None:
    """Train style-based generators."""


def with_defaults(command: F) -> F:
    """Fill in the defaults that depend on --arch and --data for options that were not given."""

    @wraps(command)
    def filled(**_: Any) -> Any:
        return command(**filled_options(click.get_current_context()))

    return cast("F", filled)


@main.command("train", cls=RelatentCommand)
@option(
    "--data",
    type=PATH_TEXT,
    metavar="FILE_OR_FOLDER",
    help="Zip file or folder of training pictures, MNIST's files, or digits.",
)
@option("--data-folder", metavar="NAME", help="Use only pictures below this folder of the data.")
@option("--outdir", required=True, type=PATH, help="Folder for all results.")
@option("--kimg", type=NOT_NEGATIVE, default=1000, help="Thousands of pictures to train on, from the very start.")
@option("--minutes", type=POSITIVE, help="Stop after so many minutes at the latest, and write what there is.")
@option(
    "--resume",
    type=PATH,
    is_flag=False,
    flag_value=OWN_STATE,
    help="Go on from OUTDIR's state, this one, or a network.",
)
@option("--grow-from", type=PATH, help="Begin with this training state's networks, at twice their resolution.")
@option("--fade-kimg", type=POSITIVE, default=100, help="Over how many pictures grown blocks fade in, in thousands.")
@option("--name", default="network", help="What the network is called in its file.")
@option("--arch", type=click.Choice(ARCHS), default="stylegan2", help="StyleGAN2, StyleGAN 1, or fully connected.")
@option("--resolution", type=click.Choice(SIDES), default="64", help="Side of the pictures; 28 with --arch mlp only.")
@option("--img-channels", type=click.Choice(["1", "3"]), help="Grey or colour.  [default: as the data are]")
@option("--z-dim", type=DIMS, default=512)
@option("--w-dim", type=DIMS, default=512)
@option("--mapping-layers", type=click.IntRange(1, 64), default=8)
@option("--channel-base", type=click.IntRange(8, 131072), default=16384, help="Channels at resolution r: this / r.")
@option("--channel-max", type=DIMS, default=512, help="Upper limit on channels.")
@option("--conv-clamp", type=click.FloatRange(1), help="Limit on activations; float16 wants 256.  [default: none]")
@option("--style-method", type=click.Choice(STYLE_METHODS), default="demodulate", help="StyleGAN2's or StyleGAN 1's.")
@option("--cond/--no-cond", default=None, help="Train with the classes of the data.  [default: with digits]")
@option("--batch", type=click.IntRange(1, 1024), default=32, help="Pictures a step.")
@option("--accumulate", type=click.IntRange(1, 1024), default=1, help="Parts in which a batch is computed.")
@option("--freeze-d", type=click.IntRange(0, 10), default=0, help="Largest blocks of D that do not learn.")
@option("--warmup-kimg", type=NOT_NEGATIVE, help="Only D learns so long.  [default: 1 with a new D, else 0]")
@option("--progressive", is_flag=True, help="Grow from a small resolution to --resolution within this run.")
@option("--start-resolution", type=click.Choice(SIDES), default="8", help="Of a progressive run.")
@option("--stage-kimg", type=POSITIVE, default=600, help="Thousands of pictures at each resolution but the last.")
@option("--lr", type=POSITIVE, default=0.0025, help="Learning rate.")
@option("--gamma", type=NOT_NEGATIVE, help="Weight of R1.  [default: 0.0002 R^2 / batch]")
@option("--mixing-prob", type=SHARE, default=0.9, help="Share of style-mixed samples.")
@option("--ema-kimg", type=NOT_NEGATIVE, help="Half-life of the average.  [default: batch * 10 / 32]")
@option("--flip/--no-flip", default=True, help="Mirror half of the real pictures.")
@option("--augment", type=SHARE, default=0.3, help="Probability of each DiffAugment change.")
@option("--ada", is_flag=True, help="Adaptive augmentation: blits, geometry, colour, as strong as needed.")
@option("--path-length", type=NOT_NEGATIVE, default=0.0, help="Weight of path-length regularisation; 2 as published.")
@option("--feature-weight", type=NOT_NEGATIVE, default=0.0, help="Weight of a second discriminator.")
@option("--precision", type=click.Choice(PRECISIONS), default="float32", help="Of the features.")
@option("--compile/--no-compile", default=False, help="Use torch.compile.")
@option("--validation-folder", metavar="NAME", help="Pictures of the data kept back, to measure snapshots with.")
@option("--tick", type=POSITIVE, default=4, help="Thousands of pictures between lines of the log.")
@option("--snap", type=click.IntRange(min=1), default=8, help="Ticks between samples and checkpoints.")
@option("--alignment", type=(float, float), default=(1, 0), metavar="SCALE SHIFT", help="Crop, relative to FFHQ's.")
@option("--licence", default="", show_default=False, help="Kept in the network's file.")
@option("--attribution", default="", show_default=False, help="Kept in the network's file.")
@option("--seed", type=int, default=0, help="Of everything random.")
@option("--recipe", type=PATH, help="Take options that are not given from this file of python -m stylegan tune.")
@option("--video/--no-video", default=True, help="End with an interpolation video.")
@option("--tensorboard", is_flag=True, help="Also log for TensorBoard, to OUTDIR/tensorboard.")
@device_option
@option("--dry-run", is_flag=True, help="Print the final settings and stop.")
@with_defaults
def train_command(
    outdir: Path,
    kimg: float,
    minutes: float | None,
    resume: Path | None,
    grow_from: Path | None,
    validation_folder: str | None,
    tick: float,
    snap: int,
    video: bool,
    tensorboard: bool,
    device: str | None,
    dry_run: bool,
    **options: Any,  # of settings_from_options
) -> None:
    """Train a generator on a zip file or folder of pictures.

    Writes a log, sample grids, networks and a training state into OUTDIR; see stylegan/training/run.py.
    A resumed run keeps the settings it was started with, whatever other options say; only --data,
    --data-folder, --batch, --accumulate, --lr, --gamma, --augment, --ema-kimg, --feature-weight, --freeze-d,
    --precision and --compile may change. With another --batch, R1's weight and the average's half-life follow
    their rules. A grown run takes over the settings of the run it grows from in the same way. A run that
    begins with a network takes over its sizes.
    """
    context = click.get_current_context()
    where = context.with_resource(processes.joined(pick_device(device)))
    schedule = Schedule(kimg=kimg, tick_kimg=tick, snapshot_ticks=snap)
    state = state_to_resume(outdir, resume)
    begin_from = None if state is None or is_state(state) else str(state)
    given = given_options(context)
    if begin_from:
        if grow_from:
            raise UsageError("--resume with a network and --grow-from are two ways to begin a run. Leave out one.")
        state = None
        if is_fully_connected(begin_from):
            options = {name: value for name, value in filled_options(context, "mlp").items() if name in options}
        side = int(given.get("resolution", 0))
        settings = transfer_settings({**options, "cond": given.get("cond")}, begin_from, side)
    elif state:
        settings = read_settings(state)
    elif grow_from:
        settings = grown_settings(
            read_settings(grow_from), images_seen(grow_from), options["fade_kimg"], describe_state(grow_from)
        )
    else:
        settings = settings_from_options(**options)
    if grow_from and not state and given.get("freeze_d"):
        raise UsageError("the newest blocks of a grown discriminator have learned nothing yet. Leave out --freeze-d.")
    if state or grow_from:
        settings = with_changes(settings, given)
    if dry_run:
        click.echo(settings.to_json())
        return
    main_one = processes.is_main()
    validation = open_validation(settings, validation_folder, where) if validation_folder and main_one else None

    board = Board(outdir) if tensorboard and main_one else None

    def show(now: Tick) -> None:
        if board:
            board.add(now)
        text = f" G {now.loss_g:.2f} D {now.loss_d:.2f} {now.seconds_per_kimg:.1f} s/kimg"
        bar.show(now.kimg, max(round(kimg, 3), now.kimg), text)

    with ProgressBar(bar_format=TRAINING) as bar:
        network = train(
            settings,
            outdir,
            schedule,
            device=where,
            resume=state,
            grow_from=grow_from,
            begin_from=begin_from,
            minutes=minutes,
            validation=validation,
            on_tick=show if main_one else None,
            progress=main_one,
        )
    if board:
        board.close()
    if not main_one:
        return
    if video:
        add_video(network, outdir, where)
    click.echo(f"network: {network}")
    if (outdir / PAGE_FILE).is_file():
        click.echo(f"page:    {outdir / PAGE_FILE}")


def add_video(network: Path, outdir: Path, device: torch.device) -> None:
    """Write a run's interpolation video and show it on the run's page; a machine without ffmpeg trains all the same."""
    try:
        write_interpolation(load(network).to(device), outdir / VIDEO_FILE)
    except UsageError as error:
        click.echo(f"no interpolation video: {error}", err=True)
        return
    if (outdir / PAGE_FILE).is_file():
        write_report(outdir)


@main.command("curves", cls=RelatentCommand)
@click.argument("outdir", type=PATH)
def curves_command(outdir: Path) -> None:
    """Plot the training curves of the run in OUTDIR as curves.png and describe its state in words."""
    from stylegan.training.report.diagnosis import write_curves

    path, text = write_curves(outdir)
    click.echo(f"{text}\n{path}")


@main.command("report", cls=RelatentCommand)
@click.argument("outdir", type=PATH)
def report_command(outdir: Path) -> None:
    """Write the page of the run in OUTDIR again, index.html, which opens offline."""
    click.echo(f"{write_report(outdir)}")


@main.command("export", cls=RelatentCommand)
@click.argument("network")
@click.argument("out", type=PATH)
@option("--name", help="What the network is called.  [default: as before]")
@option("--half/--full", default=True, help="Half precision, or float32.")
def export_command(network: str, out: Path, name: str | None, half: bool) -> None:
    """Write NETWORK, a name or file, to OUT in Relatent's own format, ready to be shared."""
    require_replaceable([out], "OUT")
    source = find_network(network)
    generator = load(network)
    generator.name = name or generator.name
    dtype = torch.float16 if half else torch.float32
    save_generator(generator, out, provenance=read_provenance(source), dtype=dtype)
    click.echo(f"{out}: {network_id(load(out))}, {out.stat().st_size / 1e6:.1f} MB")


@main.command("compact", cls=RelatentCommand)
@click.argument("state", type=PATH)
@click.argument("out", type=PATH)
def compact_command(state: Path, out: Path) -> None:
    """Write a training STATE in half precision to OUT, without the path of its data.

    A run resumed from it is close, not bit-exact, and needs --data.
    """
    require_replaceable([out], "OUT")
    compact_state(state, out)
    click.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


def state_to_resume(outdir: Path, resume: Path | None) -> Path | None:
    """The state file to resume from, or None for a new run.

    Raises:
        UsageError: there is no such file, or OUTDIR has files that would be overwritten.
    """
    own = outdir / STATE_FILE
    if resume == OWN_STATE:
        if not own.is_file():
            raise UsageError(f"{outdir} holds no run to go on with ({STATE_FILE} is missing). Leave out --resume.")
        return own
    if own.exists() and not (resume and resume.exists() and own.samefile(resume)):
        raise UsageError(f"{outdir} already holds a run. Add --resume to go on with it, or choose another --outdir.")
    require_room(outdir)
    return resume


def require_room(outdir: Path) -> None:
    """Check that a run would replace no file of somebody else; a run that ended before its first state is no such.

    Raises:
        UsageError: it would.
    """
    with suppress(OSError, ValueError, CheckpointError):
        TrainingSettings.from_json((outdir / SETTINGS_FILE).read_text(), outdir / SETTINGS_FILE)
        return
    written = (SETTINGS_FILE, PAGE_FILE, VIDEO_FILE, LOG_FILE, "network-*.safetensors", "samples-*.png")
    found = [path for pattern in written for path in sorted(outdir.glob(pattern))]
    if found:
        raise UsageError(
            f"{found[0]} is not of a training run: {outdir} has no {SETTINGS_FILE} of one. Move it, or choose another "
            "--outdir."
        )


main.add_command(metrics_command)
main.add_command(tune_command)

if __name__ == "__main__":
    main()

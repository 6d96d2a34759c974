"""The command line of `python -m stylegan`: parse and call."""

from __future__ import annotations

from pathlib import Path

import click
from tqdm import tqdm

from core.alignment import Alignment
from core.command import RelatentCommand
from core.device import pick_device
from core.errors import UsageError
from stylegan.dataset import ImageDataset
from stylegan.discriminator import DiscriminatorConfig
from stylegan.generator import RESOLUTIONS, GeneratorConfig
from stylegan.loss import GameRules
from stylegan.run import STATE_FILE, Schedule, train
from stylegan.settings import PRECISIONS, TrainingSettings
from stylegan.state import read_settings
from stylegan.trainer import Tick


BAR = "{l_bar}{bar}| {n:g}/{total:g} kimg [{elapsed}<{remaining}{postfix}]"


@click.group()
def main() -> None:
    """Train style-based generators."""


@main.command("train", cls=RelatentCommand)
@click.option("--data", metavar="FILE_OR_FOLDER", help="Zip file or folder of training pictures.")
@click.option("--data-folder", metavar="NAME", help="Use only the pictures below this folder of the data.")
@click.option("--outdir", required=True, type=click.Path(path_type=Path), help="Folder for all results.")
@click.option(
    "--kimg",
    type=click.FloatRange(min=0),
    default=1000,
    show_default=True,
    help="Thousands of pictures to train on, from the very start.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    is_flag=False,
    flag_value=Path("-"),
    help="Go on from OUTDIR's own state, or from the state file given.",
)
@click.option("--name", default="network", show_default=True, help="What the network is called in its file.")
@click.option(
    "--resolution",
    type=click.Choice([str(r) for r in RESOLUTIONS]),
    default="64",
    show_default=True,
    help="Height and width of the pictures.",
)
@click.option("--z-dim", type=click.IntRange(1, 4096), default=512, show_default=True)
@click.option("--w-dim", type=click.IntRange(1, 4096), default=512, show_default=True)
@click.option("--mapping-layers", type=click.IntRange(1, 64), default=8, show_default=True)
@click.option(
    "--channel-base",
    type=click.IntRange(8, 131072),
    default=16384,
    show_default=True,
    help="Channels at resolution r: this / r.",
)
@click.option(
    "--channel-max", type=click.IntRange(1, 4096), default=512, show_default=True, help="Upper limit on channels."
)
@click.option(
    "--conv-clamp",
    type=click.FloatRange(min=1),
    default=None,
    help="Limit on activations; float16 wants 256.  [default: none]",
)
@click.option(
    "--style-method",
    type=click.Choice(["demodulate", "adain"]),
    default="demodulate",
    show_default=True,
    help="StyleGAN2's weight demodulation or StyleGAN 1's AdaIN.",
)
@click.option("--cond", is_flag=True, help="Train with the classes of dataset.json.")
@click.option("--batch", type=click.IntRange(1, 1024), default=32, show_default=True, help="Pictures a step.")
@click.option(
    "--lr", type=click.FloatRange(min=0, min_open=True), default=0.0025, show_default=True, help="Learning rate."
)
@click.option(
    "--gamma", type=click.FloatRange(min=0), default=None, help="Weight of R1.  [default: 0.0002 R^2 / batch]"
)
@click.option(
    "--mixing-prob", type=click.FloatRange(0, 1), default=0.9, show_default=True, help="Share of style-mixed samples."
)
@click.option(
    "--ema-kimg",
    type=click.FloatRange(min=0),
    default=None,
    help="Half-life of the average.  [default: batch * 10 / 32]",
)
@click.option("--flip/--no-flip", default=True, show_default=True, help="Mirror half of the real pictures.")
@click.option(
    "--augment",
    type=click.FloatRange(0, 1),
    default=0.3,
    show_default=True,
    help="Probability of each DiffAugment change.",
)
@click.option(
    "--precision", type=click.Choice(PRECISIONS), default="float32", show_default=True, help="Of the features."
)
@click.option("--compile/--no-compile", default=False, show_default=True, help="Use torch.compile.")
@click.option(
    "--tick",
    type=click.FloatRange(min=0, min_open=True),
    default=4,
    show_default=True,
    help="Thousands of pictures between lines of the log.",
)
@click.option(
    "--snap", type=click.IntRange(min=1), default=8, show_default=True, help="Ticks between samples and checkpoints."
)
@click.option(
    "--alignment",
    type=float,
    nargs=2,
    default=(1.0, 0.0),
    show_default=True,
    metavar="SCALE SHIFT",
    help="How the data's faces are cropped, relative to FFHQ.",
)
@click.option("--licence", default="", help="Kept in the network's file.")
@click.option("--attribution", default="", help="Kept in the network's file.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", default=None, help="cpu, cuda, cuda:1, mps.  [default: the best there is]")
@click.option("--dry-run", is_flag=True, help="Print the final settings and stop.")
def train_command(
    outdir: Path,
    kimg: float,
    resume: Path | None,
    tick: float,
    snap: int,
    device: str | None,
    dry_run: bool,
    **options: object,
) -> None:
    """Train a generator on a zip file or folder of pictures.

    Writes a log, sample grids, networks and a state to go on from into OUTDIR; see stylegan/run.py.
    A resumed run keeps the settings it was started with, whatever other options say.
    """
    where = pick_device(device)
    state = outdir / STATE_FILE if resume == Path("-") else resume
    if state is None and (outdir / STATE_FILE).exists():
        raise UsageError(f"{outdir} already holds a run. Add --resume to go on with it, or choose another --outdir.")
    settings = read_settings(state) if state else settings_from_options(**options)
    if state and options["data"]:
        settings = settings.with_data(str(options["data"]), options["data_folder"])
    if dry_run:
        click.echo(settings.to_json())
        return
    schedule = Schedule(kimg=kimg, tick_kimg=tick, snapshot_ticks=snap)
    bars: list[tqdm] = []

    def show(now: Tick) -> None:
        if not bars:  # the first tick comes after the data were read, whose own bar is gone by then
            bars.append(tqdm(total=max(round(kimg, 3), now.kimg), unit="kimg", bar_format=BAR))
        bars[0].set_postfix_str(f" G {now.loss_g:.2f} D {now.loss_d:.2f} {now.seconds_per_kimg:.1f} s/kimg", False)
        bars[0].n = min(now.kimg, bars[0].total)
        bars[0].refresh()

    network = train(settings, outdir, schedule, device=where, resume=state, on_tick=show, progress=True)
    for bar in bars:
        bar.close()
    click.echo(f"network: {network}")


def settings_from_options(**o) -> TrainingSettings:  # type: ignore[no-untyped-def] # click's own names
    """The settings the options describe, defaults that depend on others filled in."""
    if not o["data"]:
        raise UsageError("--data is missing; expected a zip file or folder of pictures.")
    resolution = int(o["resolution"])
    c_dim = ImageDataset(Path(o["data"]), resolution, o["data_folder"]).num_classes if o["cond"] else 0
    if o["cond"] and not c_dim:
        raise UsageError(f"--cond needs classes and {o['data']} has no dataset.json that names them.")
    shared = {"resolution": resolution, "c_dim": c_dim, "conv_clamp": o["conv_clamp"]}
    shared |= {"channel_base": o["channel_base"], "channel_max": o["channel_max"]}
    batch = o["batch"]
    return TrainingSettings(
        data=o["data"],
        data_folder=o["data_folder"],
        name=o["name"],
        generator=GeneratorConfig(
            z_dim=o["z_dim"],
            w_dim=o["w_dim"],
            mapping_layers=o["mapping_layers"],
            style_method=o["style_method"],
            **shared,
        ),
        discriminator=DiscriminatorConfig(**shared),
        rules=GameRules(
            r1_gamma=0.0002 * resolution**2 / batch if o["gamma"] is None else o["gamma"],
            mixing_probability=o["mixing_prob"],
        ),
        batch=batch,
        learning_rate=o["lr"],
        ema_kimg=batch * 10 / 32 if o["ema_kimg"] is None else o["ema_kimg"],
        flip=o["flip"],
        augment_strength=o["augment"],
        precision=o["precision"],
        compile=o["compile"],
        seed=o["seed"],
        alignment=Alignment(*o["alignment"]),
        licence=o["licence"],
        attribution=o["attribution"],
    )


if __name__ == "__main__":
    main()

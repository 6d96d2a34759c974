"""The command `python -m editing directions import`."""

from __future__ import annotations

from pathlib import Path

import click

from editing.directions.imported import import_direction
from editing.layers import layer_numbers
from relatent.core.command import PATH, RelatentCommand
from relatent.core.results import require_replaceable
from stylegan import load, network_id


@click.command("import", cls=RelatentCommand)
@click.argument("file", type=PATH)
@click.option(
    "--for-network",
    "network",
    required=True,
    metavar="NAME_OR_FILE",
    help="The network it was made for. Published files do not say; what is said here is written down as a claim.",
)
@click.option("--name", default=None, help="What it will be called.  [default: the file's name]")
@click.option("--component", type=click.IntRange(min=0), default=None, help="Which, of a file that holds many.")
@click.option("--layers", default=None, metavar="coarse|0-3,8", help="The layers it moves.  [default: all]")
@click.option("--outdir", type=PATH, default="directions", show_default=True, help="Where it is written to.")
def import_command(
    file: Path, network: str, name: str | None, component: int | None, layers: str | None, outdir: Path
) -> None:
    """Import a published direction: InterFaceGAN, e4e, pSp, GANSpace, SeFa, lists of style channels."""
    generator = load(network)
    chosen = None if layers is None else layer_numbers(layers, generator.num_ws)
    direction = import_direction(file, generator, name=name, component=component, layers=chosen)
    path = outdir / f"{direction.name}.safetensors"
    require_replaceable([path], "--outdir")
    direction.save(path)
    if "warning" in direction.facts:
        click.echo(f"note: {direction.facts['warning']}.", err=True)
    click.echo(f"{path}: {direction.name} for {network_id(generator)}. Use it with --directions {outdir}.")

"""The commands `python -m editing directions`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from editing.attributes.registry import find_attributes, known_attributes
from editing.cli.learn import class_option, classifier_command, learn_command, network_options, summary
from editing.directions.channels import mean_region, strongest_for_attribute, strongest_in_region
from editing.directions.direction import Direction, direction_files, find_direction
from editing.directions.ganspace import ganspace_directions
from editing.directions.sampling import LEAST_SAMPLES, SAMPLES, sample_scores
from editing.directions.sefa import sefa_directions
from editing.directions.sheets import PSI, REACH, even_strengths, write_sheet
from editing.directions.stylespace import Channel, StyleSpace
from editing.layers import layer_numbers
from inversion.pipeline import open_network
from relatent.core.command import PATH, TRUNCATION_FLAGS, RelatentCommand
from relatent.core.errors import RelatentError, UsageError
from relatent.core.progress import counting
from relatent.core.results import require_replaceable
from relatent.face.regions import REGIONS
from stylegan import Generator

STYLE_REACH = 15.0  # deviations of a channel; one alone does little
SAMPLES_OPTION = click.option(
    "--samples", type=click.IntRange(min=LEAST_SAMPLES), default=SAMPLES, show_default=True, help="Random latents."
)
SEED_OPTION = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the latents.")
COUNT_OPTION = click.option("--count", type=click.IntRange(min=1), default=10, show_default=True, help="How many.")
LAYERS_OPTION = click.option("--layers", default="all", show_default=True, help="coarse, middle, fine, all, or 0-3,7.")
FACES_OPTION = click.option(
    "--faces", type=click.IntRange(min=1), default=2, show_default=True, help="Rows of the sheet for each direction."
)
POSITIVE = click.FloatRange(min=0, min_open=True)
REACH_OPTION = click.option(
    "--reach", type=POSITIVE, default=REACH, show_default=True, help="Largest strength on the sheet."
)
OUTDIR_OPTION = click.option("--outdir", type=PATH, default="directions", show_default=True, help="Where results go.")


@click.group()
def directions() -> None:
    """Learn, find, list and show directions in a network's latent space."""


directions.add_command(learn_command)
directions.add_command(classifier_command)


@directions.command("list", cls=RelatentCommand)
@click.option("--directions", "folders", multiple=True, type=PATH, help="A folder of further directions.")
@network_options
def list_command(folders: tuple[Path, ...], network: str, device: str | None) -> None:
    """List the directions of a network, with their quality."""
    generator = open_network(network, device)
    files = direction_files(generator, folders)
    if not files:
        click.echo(f"no directions for {generator.name}; make some with: python -m editing directions learn --all")
    for name, path in files.items():
        try:
            direction = Direction.load(path)
            direction.check_network(generator)
            up = direction.facts.get("up")
            click.echo(f"{name}: {f'{up}; ' if up else ''}{summary(direction)}; {direction.source.partition(':')[0]}")
        except RelatentError as error:
            click.echo(f"{name}: cannot be used: {error}")


@directions.command("show", cls=RelatentCommand)
@click.argument("names", nargs=-1, required=True, metavar="NAME_OR_FILE...")
@click.option("--directions", "folders", multiple=True, type=PATH, help="A folder of further directions.")
@FACES_OPTION
@REACH_OPTION
@SEED_OPTION
@click.option(
    *TRUNCATION_FLAGS,
    "psi",
    type=float,
    default=PSI,
    show_default=True,
    help="How far the faces may be from the average.",
)
@class_option
@network_options
@click.option(
    "--out", "--output", "output", type=PATH, default="sheet.png", show_default=True, help="The contact sheet."
)
def show_command(
    names: tuple[str, ...],
    folders: tuple[Path, ...],
    faces: int,
    reach: float,
    seed: int,
    psi: float,
    number: int | None,
    network: str,
    device: str | None,
    output: Path,
) -> None:
    """Draw a contact sheet of directions, and print their facts."""
    require_replaceable([output])
    generator = open_network(network, device).of_class(number)
    found = [find_direction(name, generator, folders) for name in names]
    for direction in found:
        click.echo(f"{direction.name}\n  source: {direction.source}\n  strength 1: {direction.unit}")
        layers = "all" if direction.layers is None else ", ".join(map(str, direction.layers))
        click.echo(f"  layers: {layers}")
        for key, value in direction.facts.items():
            click.echo(f"  {key.replace('_', ' ')}: {f'{value:.4g}' if isinstance(value, float) else value}")
    write_sheet(output, generator, found, strengths=even_strengths(reach), faces=faces, seed=seed, psi=psi)
    click.echo(str(output))


Finder = Callable[..., list[Direction]]


def _unsupervised(name: str, finder: Finder, text: str) -> click.Command:
    @click.command(name, cls=RelatentCommand, help=text)
    @COUNT_OPTION
    @LAYERS_OPTION
    @SAMPLES_OPTION
    @SEED_OPTION
    @FACES_OPTION
    @REACH_OPTION
    @class_option
    @network_options
    @OUTDIR_OPTION
    def command(
        count: int,
        layers: str,
        samples: int,
        seed: int,
        faces: int,
        reach: float,
        number: int | None,
        network: str,
        device: str | None,
        outdir: Path,
    ) -> None:
        generator = open_network(network, device).of_class(number)
        numbers = None if layers == "all" else layer_numbers(layers, generator.num_ws)
        found = finder(generator, count, layers=numbers, samples=samples, seed=seed)
        _write(found, outdir / f"{name}.png", generator, faces, reach)

    return command


directions.add_command(
    _unsupervised(
        "sefa",
        sefa_directions,
        "Directions by closed-form factorisation of the affine weights. Writes OUTDIR/sefa_N.safetensors and a "
        "contact sheet; rename the files whose meaning you recognise on it.",
    )
)
directions.add_command(
    _unsupervised(
        "ganspace",
        ganspace_directions,
        "Principal components of w. Writes OUTDIR/ganspace_N.safetensors and a contact sheet; rename the files whose "
        "meaning you recognise on it.",
    )
)


@directions.command("stylespace", cls=RelatentCommand)
@click.argument("channels", nargs=-1, metavar="[LAYER_CHANNEL]...")
@click.option("--region", type=click.Choice(REGIONS), default=None, help="List what changes this region and no other.")
@click.option("--attribute", default=None, metavar="NAME", help="List what moves this attribute's score.")
@COUNT_OPTION
@SAMPLES_OPTION
@SEED_OPTION
@FACES_OPTION
@click.option(
    "--reach",
    type=POSITIVE,
    default=STYLE_REACH,
    show_default=True,
    help="Largest strength on the sheet; one channel does little.",
)
@class_option
@network_options
@OUTDIR_OPTION
def stylespace_command(
    channels: tuple[str, ...],
    region: str | None,
    attribute: str | None,
    count: int,
    samples: int,
    seed: int,
    faces: int,
    reach: float,
    number: int | None,
    network: str,
    device: str | None,
    outdir: Path,
) -> None:
    """Directions of single style channels, by name such as 9_41, or those that change a region or attribute most.

    Style layers are counted as in the StyleSpace paper: convolution and ToRGB at 4 px, then two convolutions and
    ToRGB at each size. Writes OUTDIR/style_LAYER_CHANNEL.safetensors and a contact sheet.
    """
    if sum((bool(channels), region is not None, attribute is not None)) != 1:
        raise UsageError("expected channels such as 9_41, or --region NAME, or --attribute NAME.")
    named = [parse_channel(text) for text in channels]
    generator = open_network(network, device).of_class(number)
    space = StyleSpace(generator, samples, seed)
    if region is not None:
        found = _of_region(space, region, count, seed)
    elif attribute is not None:
        found = _of_attribute(space, attribute, count, samples, seed)
    else:
        found = [space.channel(one) for one in named]
    _write(found, outdir / "stylespace.png", generator, faces, reach)


def parse_channel(text: str) -> Channel:
    """Parse "9_41" to (9, 41).

    Raises:
        UsageError: another format.
    """
    layer, _, channel = text.partition("_")
    if not (layer.isascii() and layer.isdigit() and channel.isascii() and channel.isdigit()):
        raise UsageError(f"a channel came as {text!r}; expected LAYER_CHANNEL, for example 9_41.")
    return int(layer), int(channel)


def _of_region(space: StyleSpace, region: str, count: int, seed: int) -> list[Direction]:
    mask = mean_region(space.network, region, seed)
    return [
        space.channel(effect.channel, {f"change_in_{region}": effect.inside, f"share_in_{region}": effect.share})
        for effect in strongest_in_region(space, mask, count, seed)
    ]


def _of_attribute(space: StyleSpace, attribute: str, count: int, samples: int, seed: int) -> list[Direction]:
    (one,) = find_attributes([attribute], known_attributes(space.network.alignment))
    with counting("sampling") as bar:
        scored = sample_scores(space.network, {one.name: one.score}, samples, seed=seed, progress=bar.show)
    with counting("channels") as bar:
        found = strongest_for_attribute(space, scored, {one.name: one.score}, one.name, count, bar.show)
    return [space.channel(channel, {f"effect_on_{one.name}": effect}) for channel, effect in found]


def _write(found: Sequence[Direction], sheet: Path, network: Generator, faces: int, reach: float) -> None:
    paths = [sheet.parent / f"{direction.name}.safetensors" for direction in found]
    require_replaceable([*paths, sheet], "--outdir")
    for direction, path in zip(found, paths, strict=True):
        direction.save(path)
        facts = "; ".join(f"{key.replace('_', ' ')} {value:.3g}" for key, value in direction.facts.items())
        click.echo(f"{path}: {facts}")
    write_sheet(sheet, network, found, strengths=even_strengths(reach), faces=faces)
    click.echo(f"{sheet}: strengths {-reach:g} to {reach:g}")

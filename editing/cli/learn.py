"""The commands `python -m editing directions learn` and `classifier`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from editing.attributes.classifiers import BackboneFeatures, Classifier
from editing.attributes.labelled import Labelled, from_folders, from_table
from editing.attributes.registry import (
    CONDITIONS,
    Attribute,
    find_attributes,
    imported_score,
    known_attributes,
    moving_together,
)
from editing.directions.direction import Direction
from editing.directions.disentangling import disentangled
from editing.directions.learning import METHODS, Learner
from editing.directions.sampling import LEAST_SAMPLES, SAMPLES, sample_scores
from editing.directions.sheets import write_sheet
from editing.layers import layer_numbers
from inversion.pipeline import open_network
from relatent.core.command import PATH, RelatentCommand, device_option
from relatent.core.errors import UsageError
from relatent.core.progress import counting
from relatent.core.results import require_replaceable
from stylegan import Generator
from weights.embedded import DEFAULT_NETWORK

MOST_SKIPPED = 3  # named one by one
SHEET_FILE = "learned.png"
TOLD = ("held_out_accuracy", "held_out_correlation", "effect")
LEAST_TOLD = 0.25  # standard deviations; smaller effects on other attributes are not printed

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class OwnPictures:
    """The options for labelled pictures."""

    with_: Path | None
    without: Path | None
    pictures: Path | None
    labels: Path | None
    column: str | None
    folder: str | None
    align: bool

    @property
    def given(self) -> bool:
        return any(one is not None for one in (self.with_, self.without, self.pictures, self.labels, self.column))

    def read(self, network: Generator) -> Labelled:
        """Read the pictures, cropped for the network.

        Raises:
            UsageError: incomplete options.
            DatasetError: the pictures or labels cannot be used.
        """
        with counting("reading pictures", "picture") as bar:
            if self.with_ and self.without and not (self.pictures or self.labels or self.column):
                return from_folders(self.with_, self.without, network.alignment, align=self.align, progress=bar.show)
            if self.pictures and self.labels and self.column and not (self.with_ or self.without):
                return from_table(
                    self.pictures,
                    self.labels,
                    self.column,
                    network.alignment,
                    align=self.align,
                    folder=self.folder,
                    progress=bar.show,
                )
        raise UsageError(
            "labelled pictures need either --with FOLDER and --without FOLDER, "
            "or --pictures FOLDER_OR_ZIP, --labels CSV and --column NAME."
        )


def network_options(command: Command) -> Command:
    """Decorator that adds --network and --device."""
    command = device_option(command)
    return click.option(
        "--network", default=DEFAULT_NETWORK, show_default=True, metavar="NAME_OR_FILE", help="The generator."
    )(command)


def class_option(command: Command) -> Command:
    """--class, for commands that draw from z."""
    text = "Draw this class alone, counted from 0, of a network that has some.  [default: all]"
    return click.option("--class", "number", type=click.IntRange(min=0), default=None, metavar="N", help=text)(command)


def picture_options(command: Command) -> Command:
    """Decorator that adds the options for labelled pictures."""
    options = [
        click.option("--with", "with_", type=PATH, default=None, help="A folder of pictures that have it."),
        click.option("--without", type=PATH, default=None, help="A folder of pictures that have it not."),
        click.option("--pictures", type=PATH, default=None, help="A folder or zip file of labelled pictures."),
        click.option("--labels", type=PATH, default=None, help="Their labels, CSV with a column `file`."),
        click.option("--column", default=None, help="The column of --labels to learn: numbers, or two words."),
        click.option("--folder", default=None, help="Use only files below this folder of --pictures."),
        click.option(
            "--align/--no-align",
            default=True,
            show_default=True,
            help="Find and crop the faces, or take the pictures as the network's own crops.",
        ),
        click.option("--up", default=None, help="What more of it means, in words."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command("learn", cls=RelatentCommand)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Every attribute that can be scored without labels of yours.")
@click.option("--not", "without_names", multiple=True, metavar="NAME", help="An attribute that must stay as it is.")
@click.option("--disentangle", is_flag=True, help="Keep all that are learned from moving one another's scores.")
@click.option("--score", default=None, metavar="MODULE:FUNCTION", help="Your own scoring function; its code runs.")
@click.option("--classifier", type=PATH, default=None, help="A file that `directions classifier` wrote.")
@picture_options
@click.option("--samples", type=click.IntRange(min=LEAST_SAMPLES), default=SAMPLES, show_default=True, help="Faces.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the faces.")
@click.option("--method", type=click.Choice(METHODS), default="svm", show_default=True, help="What is fitted.")
@click.option("--layers", default="auto", show_default=True, help="auto, coarse, middle, fine, all, or 0-3,7.")
@class_option
@network_options
@click.option("--outdir", type=PATH, default="directions", show_default=True, help="Where the directions go.")
@click.pass_context
def learn_command(
    context: click.Context,
    /,
    names: tuple[str, ...],
    everything: bool,
    without_names: tuple[str, ...],
    disentangle: bool,
    score: str | None,
    classifier: Path | None,
    up: str | None,
    samples: int,
    seed: int,
    method: str,
    layers: str,
    number: int | None,
    network: str,
    device: str | None,
    outdir: Path,
    **pictures: Any,
) -> None:
    """Learn directions from scored random faces of the network.

    NAMES are attributes that Relatent can score (an unknown name lists them), or a new name together with labelled
    pictures, a scoring function or a classifier. Writes OUTDIR/NAME.safetensors and a contact sheet.
    """
    generator = open_network(network, device).of_class(number)
    chosen = None if layers == "auto" else layer_numbers(layers, generator.num_ws)
    known = known_attributes(generator.alignment)
    own = OwnPictures(**pictures)
    if own.given or score or classifier:
        attribute = _own_attribute(names, generator, own, score, classifier, up, outdir)
        known[attribute.name] = attribute
    elif bool(names) == everything:
        raise UsageError(f"expected --all or names; what can be scored: {', '.join(sorted(known))}.")
    wanted = list(known.values()) if everything else find_attributes(list(names), known)
    require_replaceable([*(_file_of(one.name, outdir) for one in wanted), outdir / SHEET_FILE], "--outdir")
    others = [one.name for one in find_attributes(list(without_names), known)]
    if disentangle and (others or chosen is not None or len(wanted) < 2):
        raise UsageError(
            "--disentangle chooses layers and parts by itself: name two attributes or more, or --all, and "
            "neither --not nor --layers."
        )
    with counting("sampling") as bar:
        scores = {name: one.score for name, one in known.items()}
        found = sample_scores(generator, scores, samples, seed=seed, progress=bar.show)
    learner = Learner(generator, found, scores, method)
    if disentangle:
        learned = list(_learn_together(learner, wanted, outdir))
    else:
        learned = list(_learn_each(learner, wanted, others, chosen, outdir))
    if learned:
        write_sheet(outdir / SHEET_FILE, generator, learned)
        click.echo(f"{outdir / SHEET_FILE}: strengths -3 to 3")
    context.exit(0 if len(learned) == len(wanted) else 1)


@click.command("classifier", cls=RelatentCommand)
@click.argument("name")
@picture_options
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the pictures kept back.")
@network_options
@click.option(
    "--out", "--output", "output", type=PATH, default=None, help="The file.  [default: classifiers/NAME.safetensors]"
)
def classifier_command(
    name: str,
    up: str | None,
    seed: int,
    network: str,
    device: str | None,
    output: Path | None,
    **pictures: Any,
) -> None:
    """Train a small classifier on labelled pictures, for `directions learn --classifier`."""
    path = output or Path("classifiers") / f"{name}.safetensors"
    require_replaceable([path])
    generator = open_network(network, device)
    trained = _train(name, generator, OwnPictures(**pictures), up, seed)
    trained.save(path)
    click.echo(f"{path}: {_facts(trained.facts)}")


def summary(direction: Direction) -> str:
    """The quality of a direction and its effects on other attributes, in one line."""
    facts = direction.facts
    layers = "all layers" if direction.layers is None else f"layers {', '.join(map(str, direction.layers))}"
    beside = {key[5:]: value for key, value in facts.items() if key.startswith("also_") and isinstance(value, float)}
    strong = sorted((key for key in beside if abs(beside[key]) >= LEAST_TOLD), key=lambda key: -abs(beside[key]))
    moved = ", ".join(f"{key} {beside[key]:+.1f}" for key in strong[:3])
    parts = [f"{key.replace('_', ' ')} {facts[key]:.2f}" for key in TOLD if isinstance(facts.get(key), float)]
    return "; ".join([*parts, layers, *([f"also moves {moved}"] if moved else [])])


def _learn_each(
    learner: Learner,
    wanted: Sequence[Attribute],
    others: Sequence[str],
    layers: Sequence[int] | None,
    outdir: Path,
) -> Iterator[Direction]:
    """Learn, write and report directions one after another; errors of one do not stop the others."""
    for one in wanted:
        try:
            with counting(one.name) as bar:
                beside = [other for other in others if other != one.name]
                direction = learner.direction(one.name, up=one.up, without=beside, layers=layers, progress=bar.show)
        except UsageError as error:
            click.echo(f"error: {error}", err=True)
            continue
        yield _written(direction, outdir)


def _learn_together(learner: Learner, wanted: Sequence[Attribute], outdir: Path) -> Iterator[Direction]:
    """Learn disentangled directions; attributes for which no axis can be fitted are left out."""
    usable = []
    for one in wanted:
        try:
            learner.axis(one.name)
            usable.append(one)
        except UsageError as error:
            click.echo(f"error: {error}", err=True)
    free = {one.name: moving_together(one.name) for one in usable}
    with counting("disentangling") as bar:
        ups = {one.name: one.up for one in usable}
        directions = disentangled(learner, list(ups), free=free, conditions=CONDITIONS, ups=ups, progress=bar.show)
    for direction in directions:
        yield _written(direction, outdir)


def _file_of(name: str, outdir: Path) -> Path:
    return outdir / f"{name}.safetensors"


def _written(direction: Direction, outdir: Path) -> Direction:
    """Write a direction to OUTDIR/NAME.safetensors, and print its summary."""
    path = _file_of(direction.name, outdir)
    direction.save(path)
    click.echo(f"{path}: {summary(direction)}")
    return direction


def _own_attribute(
    names: Sequence[str],
    network: Generator,
    pictures: OwnPictures,
    score: str | None,
    classifier: Path | None,
    up: str | None,
    outdir: Path,
) -> Attribute:
    if len(names) != 1 or sum((pictures.given, bool(score), bool(classifier))) != 1:
        raise UsageError(
            f"{len(names)} names came with one's own score; expected one NAME, "
            "and one of labelled pictures, --score and --classifier."
        )
    name = names[0].replace("-", "_").lower()
    if score:
        return Attribute(name, up or f"more {name}", imported_score(score))
    if classifier:
        trained = Classifier.load(classifier)
    else:
        path = _file_of(name, outdir / "classifiers")
        require_replaceable([path], "--outdir")
        trained = _train(name, network, pictures, up, 0)
        trained.save(path)
        click.echo(f"{path}: {_facts(trained.facts)}")
    return Attribute(name, up or trained.up, BackboneFeatures(network.alignment, trained.alignment).reader(trained))


def _train(name: str, network: Generator, pictures: OwnPictures, up: str | None, seed: int) -> Classifier:
    labelled = pictures.read(network)
    for line in labelled.skipped[:MOST_SKIPPED]:
        click.echo(f"note: skipped: {line}", err=True)
    if len(labelled.skipped) > MOST_SKIPPED:
        click.echo(f"note: {len(labelled.skipped)} files were skipped in all.", err=True)
    with counting("features", "picture") as bar:
        return labelled.train(name, network.alignment, up=up, seed=seed, progress=bar.show)


def _facts(facts: dict[str, float | str]) -> str:
    return ", ".join(
        f"{key.replace('_', ' ')} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in facts.items()
    )

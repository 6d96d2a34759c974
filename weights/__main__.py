"""The command line of `python -m weights`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from relatent.core.command import PATH, RelatentCommand
from relatent.core.errors import RelatentError, UnknownNameError, UsageError
from relatent.core.progress import ProgressBar
from weights.embedded import network_names
from weights.fetching.cache import cache_folder, place_of
from weights.fetching.fetch import fetch, verify
from weights.manifest import Entry, entries, find_entry
from weights.reproduce import carry_out, describe, read_recipe

NAMES = click.argument("names", nargs=-1, metavar="[NAME]...")
GRADES = {"published": " and as published", "published beginning": " and beginning as published"}


@click.group()
def main() -> None:
    """Fetch and check networks that others publish, and convert them."""


@main.command("fetch", cls=RelatentCommand)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--offline", is_flag=True, help="Never ask the network; fail if a file is not in the cache.")
@click.option("--yes", is_flag=True, help="Accept the licences shown.")
def fetch_command(names: tuple[str, ...], offline: bool, yes: bool) -> None:
    """Fetch weights into the cache, verified. An interrupted download goes on where it stopped."""

    def fetch_one(name: str) -> str:
        entry = find_entry(name)
        nothing_to_fetch = offline or place_of(entry).is_file() or not entry.urls
        accept = nothing_to_fetch or not entry.non_commercial or accepts_licence(entry, yes)
        with ProgressBar(desc=name, unit="B", unit_scale=True, disable=None) as bar:
            return f"{name}: {fetch(name, offline=offline, accept=accept, progress=bar.show, tell=tell)}"

    try:
        one_by_one(names, fetch_one)
    except KeyboardInterrupt:
        click.echo("interrupted; what came is kept, and the same command goes on from there.", err=True)
        raise SystemExit(130) from None


@main.command("list", cls=RelatentCommand)
def list_command() -> None:
    """List all weights: name, kind, size, whether they are here, licence."""
    rows = [("NAME", "KIND", "SIZE", "FETCHED", "LICENCE")]
    rows += [(name, "generator", "", "embedded", "") for name in network_names()]
    for entry in entries().values():
        path = place_of(entry)
        size = path.stat().st_size if path.is_file() else entry.bytes
        licence = f"{entry.licence}{' (non-commercial)' if entry.non_commercial else ''}"
        megabytes = f"{size / 1e6:,.0f} MB" if size else "unknown"
        rows.append((entry.name, entry.kind, megabytes, "yes" if path.is_file() else "no", licence))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@main.command("verify", cls=RelatentCommand)
@NAMES
def verify_command(names: tuple[str, ...]) -> None:
    """Read fetched weights again and compare their hashes; all of them without a NAME."""

    def verify_one(name: str) -> str:
        known = verify(name)
        return f"{name}: sha256 {known.sha256}, as first seen on {known.date}{GRADES.get(known.checked, '')}"

    fetched = [entry.name for entry in entries().values() if place_of(entry).is_file()]
    if not names and not fetched:
        click.echo(f"nothing has been fetched into {cache_folder()} yet.")
    one_by_one(names or fetched, verify_one)


@main.command("where", cls=RelatentCommand)
@click.argument("name", required=False)
def where_command(name: str | None) -> None:
    """Print the path of weights, fetched or not; without a NAME, the path of the cache."""
    if name is None:
        click.echo(cache_folder())
        return
    path = place_of(find_entry(name))
    click.echo(path)
    if not path.is_file():
        tell(f"not there yet; fetch it with: python -m weights fetch {name}")


@main.command("convert", cls=RelatentCommand)
@click.argument("source", metavar="IN")
@click.argument("out", type=PATH)
@click.option("--half", is_flag=True, help="Store half precision: half the size, nearly the same pictures.")
@click.option("--entry", metavar="NAME", help="Which network of the file, for example G_ema.  [default: the averaged]")
def convert_command(source: str, out: Path, half: bool, entry: str | None) -> None:
    """Write IN, a name or a network file of any readable format, to OUT in Relatent's own format."""
    from stylegan.formats.conversion import convert

    click.echo(convert(source, out, entry=entry, half=half).summary())


@main.command("reproduce", cls=RelatentCommand)
@click.argument("name")
@click.option("--data", multiple=True, metavar="KEY=FILE", help="Where a file that the recipe needs lies.")
@click.option("--outdir", default="reproduced", show_default=True, type=PATH)
@click.option("--set", "sizes", multiple=True, metavar="NAME=NUMBER", help="Another size, for a trial.")
@click.option("--other-data", is_flag=True, help="Go on with data that are not the recipe's own.")
@click.option("--dry-run", is_flag=True, help="Print data checks, commands and hours, and stop.")
def reproduce_command(
    name: str, data: tuple[str, ...], outdir: Path, sizes: tuple[str, ...], other_data: bool, dry_run: bool
) -> None:
    """Train an embedded network again from its data: run the commands of its recipe in order."""
    recipe = read_recipe(name)
    places = {key: Path(value) for key, value in pairs(data, "--data", recipe.data)}
    numbers = {key: as_number(value) for key, value in pairs(sizes, "--set", recipe.sizes)}
    work = recipe.work(places, outdir, numbers)
    if dry_run:
        click.echo(describe(recipe, work, places))
        return
    carry_out(recipe, work, places, tell=tell, same_data=not other_data)
    click.echo(f"{name}: {', '.join(str(step.makes) for step in work)}")


def pairs(texts: Iterable[str], option: str, known: Iterable[str]) -> list[tuple[str, str]]:
    """Split options of the form KEY=VALUE.

    Raises:
        UsageError: not of this form.
        UnknownNameError: a key that the recipe does not have.
    """
    split = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not value:
            raise UsageError(f"{option} is {text!r}; expected a name, = and a value.")
        if key not in known:
            raise UnknownNameError(f"name for {option}", key, known)
        split.append((key, value))
    return split


def as_number(text: str) -> float:
    """An int if ``text`` is a whole number, because some commands require one; else a float.

    Raises:
        UsageError: not a number.
    """
    try:
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError:
        raise UsageError(f"{text!r} is no number.") from None


def accepts_licence(entry: Entry, yes: bool) -> bool:
    """Show the licence, and ask whether it is accepted unless ``yes``.

    Raises:
        UsageError: not on a terminal, or the answer was no.
    """
    tell(f"{entry.name} is for non-commercial use: {entry.licence}. Its text: {entry.licence_url}")
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError(f"the licence of {entry.name} must be accepted first, and this is no terminal. Add --yes.")
    if not click.confirm("Accept?", err=True):
        raise UsageError(f"{entry.name} was not fetched: its licence was not accepted.")
    return True


def one_by_one(names: Iterable[str], work: Callable[[str], str]) -> None:
    """Print the result of ``work`` for each name. An error is printed too, and does not stop the others.

    Raises:
        SystemExit: with the largest exit code, if there was an error.
    """
    worst = 0
    for name in names:
        try:
            click.echo(work(name))
        except RelatentError as error:
            click.echo(f"error: {error}", err=True)
            worst = max(worst, error.exit_code)
    if worst:
        raise SystemExit(worst)


def tell(sentence: str) -> None:
    """Print a message to stderr, which pipes do not carry on."""
    click.echo(sentence, err=True)


if __name__ == "__main__":
    main()

"""The command `python -m editing edit`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from editing.batch.bulk import edit_folder, edit_plan
from editing.batch.edit import Edited, EditOptions, Sweep, edit_all
from editing.cli.pasting_options import pasting_options
from editing.faces import name_faces
from relatent.core.command import PATH, TRUNCATION_FLAGS, RelatentCommand, device_option
from relatent.core.errors import RelatentError, UsageError
from relatent.core.numbers import as_strength, digits_in, number_in
from relatent.core.results import MANIFEST_FILE
from relatent.core.stopping import stopped_by_interrupt
from relatent.face.regions import REGIONS

MAX_CELLS = 400  # pictures in one sweep
NO_METADATA = (
    "the pictures will not say that a network took part, and the photo's own EXIF and XMP are left out; "
    "its colour profile stays. See docs/responsible-use.md."
)


@click.command("edit", cls=RelatentCommand)
@click.argument("faces", nargs=-1, required=True)
@click.option("--set", "sets", multiple=True, metavar="NAME=STRENGTH", help="Move along a direction, name or file.")
@click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="NAME=FROM:TO:COUNT",
    help="Draw a strip of strengths to sweep.png; given twice, a grid, the first down and the second across.",
)
@click.option("--only", multiple=True, type=click.Choice(REGIONS), help="A region in which alone the edit may show.")
@click.option("--keep", multiple=True, type=click.Choice(REGIONS), help="A region that stays as it is.")
@click.option(
    "--layers", default=None, metavar="LAYERS", help="Where directions may move: coarse, middle, fine or 0-3,7."
)
@click.option(
    *TRUNCATION_FLAGS,
    "truncation",
    type=float,
    default=1.0,
    show_default=True,
    help="What stays of the way from the network's average face, before the edits; 1 for all of it.",
)
@click.option(
    "--plan",
    type=PATH,
    default=None,
    metavar="FILE",
    help="Edits in bulk: a table (.csv) or lines of JSON (.jsonl) with the columns photo, direction, strength or "
    "directions as columns. FACES is then the OUTDIR of an inversion.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=None,
    help="Processes that edit the faces of a plan or of an OUTDIR; 0: none.  [default: by the number of edits and "
    "processors]",
)
@click.option("--retry-failed", is_flag=True, help="Try edits of a plan or an OUTDIR again that have failed before.")
@pasting_options
@click.option("--outdir", type=PATH, default=None, help="Results go to OUTDIR/STEM.  [default: the inversion's folder]")
@click.option(
    "--directions",
    "folders",
    multiple=True,
    type=PATH,
    default=["directions"],
    show_default=True,
    help="A folder of further directions.",
)
@click.option(
    "--network",
    default=None,
    metavar="NAME_OR_FILE",
    help="The network, if it is no longer where it was; of other tools' latents, photos and seeds.  "
    "[default: the inversions', or the embedded one]",
)
@click.option(
    "--class", "class_number", type=click.IntRange(min=0), metavar="N", help="Of seeds, if their network has classes."
)
@device_option
@click.option(
    "--metadata/--no-metadata",
    default=True,
    show_default=True,
    help="Say in every picture that a network took part, and which; keep the photo's EXIF and XMP. "
    "--no-metadata writes pixels and colour profile alone.",
)
@click.pass_context
def edit_command(
    context: click.Context,
    /,
    faces: tuple[str, ...],
    sets: tuple[str, ...],
    sweeps: tuple[str, ...],
    outdir: Path | None,
    metadata: bool,
    plan: Path | None,
    workers: int | None,
    retry_failed: bool,
    **choices: object,
) -> None:
    """Change faces, and put them back into their photos.

    FACES are folders that `inversion.project` or this command wrote, folders of such folders, their files, latents of
    other tools (.npz, .npy, .pt; FILE:NAME for one of several), photos, which are inverted on the spot, or seeds such
    as 85,100. Each gets OUTDIR/STEM with edited.png, drawn.png, edited.safetensors, report.json, and pasted.png where
    the photo is found. The OUTDIR of an inversion keeps account of its edits: a rerun does what is missing.
    """
    options = EditOptions(
        strengths=parse_sets(sets),
        sweeps=parse_sweeps(sweeps),
        metadata=metadata,
        **choices,  # type: ignore[arg-type]
    )
    if plan is not None and (len(faces) != 1 or options.sweeps):
        raise UsageError("with --plan, expected one folder of inversions, and no --sweep.")
    if plan is None and not options.changes and not options.sweeps:
        raise UsageError("nothing to do: expected --set NAME=STRENGTH or --sweep NAME=FROM:TO:COUNT. Try --help.")
    if not metadata:
        click.echo(f"note: --no-metadata: {NO_METADATA}", err=True)
    batch = plan is not None or (len(faces) == 1 and (Path(faces[0]) / MANIFEST_FILE).is_file())
    with stopped_by_interrupt(_about_to_stop) if batch else nullcontext(lambda: False) as stop:
        how: dict[str, Any] = {"editsdir": outdir, "workers": workers, "retry_failed": retry_failed, "stop": stop}
        if plan is not None:
            outcomes = edit_plan(faces[0], plan, options, **how)
        elif batch:
            outcomes = edit_folder(faces[0], options, **how)
        else:
            outcomes = edit_all(name_faces(faces), outdir, options)
        count, errors = _told(outcomes)
    if stop():
        click.echo("stopped; run the same command again to go on.", err=True)
        context.exit(130)
    if errors and count > 1:
        click.echo(f"{len(errors)} of {count} failed.", err=True)
    codes = {error.exit_code for error in errors}
    context.exit(0 if not errors else codes.pop() if len(errors) == count and len(codes) == 1 else 1)


def _told(outcomes: Iterable[Edited]) -> tuple[int, list[RelatentError]]:
    """Print outcomes; returns their number and the errors."""
    errors, count = [], 0
    for outcome in outcomes:
        count += 1
        if outcome.note:
            click.echo(f"note: {outcome.note}", err=True)
        if outcome.error is not None:
            errors.append(outcome.error)
            click.echo(f"error: {outcome.error}", err=True)
        else:
            click.echo(str(outcome.folder))
    return count, errors


def _about_to_stop() -> None:
    click.echo("finishing the edits in hand; press Ctrl-C again to stop at once.", err=True)


def parse_sets(texts: tuple[str, ...]) -> dict[str, float]:
    """Parse options of the form ``smile=2``.

    Raises:
        UsageError: another format, or a name that occurs twice.
    """
    strengths: dict[str, float] = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        strength = number_in(value)
        if not name or strength is None:
            raise UsageError(f"--set is {text!r}; expected NAME=STRENGTH, for example smile=2 or age=-1.")
        if name in strengths:
            raise UsageError(f"--set names {name} twice. Give it one strength.")
        strengths[name] = as_strength(name, strength)
    return strengths


def parse_sweeps(texts: tuple[str, ...]) -> tuple[Sweep, ...]:
    """Parse options of the form ``smile=-3:3:7``.

    Raises:
        UsageError: another format, more than two, the same name twice, or too many pictures.
    """
    sweeps = []
    for text in texts:
        name, _, values = text.rpartition("=")
        first, last, *rest = (*values.split(":"), "", "")
        start, stop, number = number_in(first), number_in(last), digits_in(rest[0])
        if not name or start is None or stop is None or len(rest) != 3 or not number:
            raise UsageError(f"--sweep is {text!r:.80}; expected NAME=FROM:TO:COUNT, for example smile=-3:3:7.")
        sweeps.append(Sweep(name, as_strength(name, start), as_strength(name, stop), number))
    if len(sweeps) > 2 or len({sweep.name for sweep in sweeps}) < len(sweeps):
        raise UsageError(f"--sweep came {len(sweeps)} times; expected one direction, or two different ones for a grid.")
    cells = math.prod(sweep.count for sweep in sweeps)
    if cells > MAX_CELLS:
        raise UsageError(f"the sweep has {cells} pictures; expected at most {MAX_CELLS}. Lower its count.")
    return tuple(sweeps)

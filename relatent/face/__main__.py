"""The command line of `python -m relatent.face`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from relatent.core.command import PATH, RelatentCommand, config_options
from relatent.core.cpu import processors
from relatent.core.folders import passed_over
from relatent.core.progress import ProgressBar
from relatent.face.dataset.making import make_face_set, report_path
from relatent.face.dataset.options import FaceSetOptions

SHOWN = 20  # rejections printed; the report has all


@click.group()
def main() -> None:
    """Faces in photos."""


@main.command("make-dataset", cls=RelatentCommand)
@click.argument("photos", type=PATH)
@click.argument("out", type=PATH)
@config_options(FaceSetOptions)
@click.option("--processes", type=click.IntRange(1, 256), help="That read photos.  [default: one for each processor]")
@click.option("--dry-run", is_flag=True, help="Say what would become of the photos, and write nothing.")
def make_dataset_command(photos: Path, out: Path, processes: int | None, dry_run: bool, **options: Any) -> None:
    """Align the faces of all photos below the folder PHOTOS into the zip OUT, to train a generator on.

    A report beside OUT says why photos or faces were left out. An interrupted run goes on where it stopped.
    """
    with ProgressBar(unit="photo") as bar:
        made = make_face_set(
            photos,
            out,
            FaceSetOptions(**options),
            processes=processes or processors(),
            dry_run=dry_run,
            on_photo=bar.show,
        )
    for name, reasons in list(made.rejected.items())[:SHOWN]:
        click.echo(f"left out {name}: {' '.join(reasons)}", err=True)
    if len(made.rejected) > SHOWN:
        more = "" if dry_run else f"; all are in {report_path(out)}"
        click.echo(f"left out {len(made.rejected) - SHOWN} more{more}", err=True)
    if made.passed_over:
        click.echo(passed_over(made.passed_over), err=True)
    found, searched = (
        f"{count} {name}" if count == 1 else f"{count} {name}s"
        for name, count in (("face", len(made.faces)), ("photo", made.photos))
    )
    click.echo(f"{found} of {searched}")
    if not dry_run:
        click.echo(f"faces:  {out}\nreport: {report_path(out)}")


if __name__ == "__main__":
    main()

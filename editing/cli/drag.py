"""The command `python -m editing drag`."""

from __future__ import annotations

from pathlib import Path

import click

from editing.batch.drag import DragTask, drag_saved
from editing.cli.edit import NO_METADATA
from editing.cli.pasting_options import pasting_options
from editing.dragging.options import DragOptions
from editing.dragging.points import parse_landmark, parse_point
from editing.dragging.search import REASONS, DragStep
from editing.faces import find_faces, open_faces_network, opened_faces
from editing.pasting import Blend
from editing.photo_faces import At
from editing.results import Saved
from editing.seeds import seed_inversion
from relatent.core.command import PATH, RelatentCommand, config_options, device_option
from relatent.core.errors import UsageError


@click.command("drag", cls=RelatentCommand)
@click.argument("face")
@click.option("--from", "handles", multiple=True, metavar="X,Y", help="Where a point starts; may be given again.")
@click.option("--to", "targets", multiple=True, metavar="X,Y", help="Where that point is to go.")
@click.option(
    "--landmark",
    "landmarks",
    multiple=True,
    metavar="NAME=RIGHT,DOWN",
    help="Drag a landmark by name, for example mouth_left=+10,-4.",
)
@click.option("--mask", multiple=True, metavar="REGION|FILE", help="Where the face may change: a region, or a picture.")
@config_options(DragOptions)
@click.option("--save-video", is_flag=True, help="Also write drag.mp4.")
@pasting_options
@click.option("--outdir", type=PATH, default=None, help="Results go to OUTDIR/STEM.  [default: the inversion's folder]")
@click.option("--network", default=None, metavar="NAME_OR_FILE", help="The network, if it is no longer where it was.")
@device_option
@click.option(
    "--class", "number", type=click.IntRange(min=0), metavar="N", help="Of a seed, if its network has classes."
)
@click.option(
    "--metadata/--no-metadata", default=True, show_default=True, help="Say in every picture that a network took part."
)
def drag_command(
    face: str,
    handles: tuple[str, ...],
    targets: tuple[str, ...],
    landmarks: tuple[str, ...],
    mask: tuple[str, ...],
    save_video: bool,
    photos: tuple[Path, ...],
    blend: Blend,
    at: At,
    outdir: Path | None,
    network: str | None,
    device: str | None,
    number: int | None,
    metadata: bool,
    **options: object,
) -> None:
    """Drag points of a face, and put it back into its photo.

    FACE is a folder or file that `inversion.project` or `editing edit` wrote, a photo, which is inverted on the spot,
    or a seed. Points are in pixels of the photo. OUTDIR/STEM gets edited.png, drawn.png, edited.safetensors,
    report.json, and pasted.png where the photo is found.
    """
    if not handles and not landmarks:
        raise UsageError("nothing to do: expected --from X,Y --to X,Y, or --landmark NAME=RIGHT,DOWN. Try --help.")
    named = dict(parse_landmark(text) for text in landmarks)
    if len(named) < len(landmarks):
        raise UsageError("--landmark names one landmark twice. Give it one way.")
    task = DragTask(
        handles=[parse_point(text, "--from") for text in handles],
        targets=[parse_point(text, "--to") for text in targets],
        landmarks=named,
        mask=mask,
        photos=photos,
        blend=blend,
        at=at,
        save_video=save_video,
        metadata=metadata,
        options=DragOptions(**options),  # type: ignore[arg-type]
    )
    if not metadata:
        click.echo(f"note: --no-metadata: {NO_METADATA}", err=True)
    found = find_faces([face])
    generator = open_faces_network(found, network, device).of_class(number)
    opened = [one for name in found for one in opened_faces(name, generator, outdir)]
    if len(opened) != 1:
        raise UsageError(f"{face} holds {len(opened)} faces; expected one. Name one of them.")
    one = opened[0]
    if not isinstance(one, Saved):
        if outdir is None:
            raise UsageError(f"--outdir is missing; the face of seed {one} lies in no folder to write into.")
        one = Saved(outdir / f"{one}", seed_inversion(generator, one), str(one), foreign=True)

    def show(step: DragStep) -> None:
        click.echo(f"step {step.index}: {step.distances.max():.2f} px of the face to go", err=True)

    folder, result = drag_saved(one, generator, task, outdir, show)
    if result.reason != "arrived":
        click.echo(f"note: stopped, because {REASONS[result.reason]}.", err=True)
    click.echo(str(folder))

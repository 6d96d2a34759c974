"""The commands `python -m editing mix` and `python -m editing morph`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from editing.batch.mix import MixOptions, mix_faces, write_grid
from editing.cli.pasting_options import pasting_options
from editing.faces import Named, as_faces, find_faces, open_faces_network
from editing.interpolation import MOST_FRAMES, NOISES, Morph, morph, morph_seeds
from editing.photo_faces import ATS, At, shared_photo_face
from editing.seeds import SEEDS
from editing.video import write_morph
from relatent.core.command import PATH, TRUNCATION_FLAGS, RelatentCommand, device_option
from relatent.core.errors import UsageError
from relatent.core.progress import ProgressBar
from relatent.core.results import require_replaceable
from relatent.core.video import DEFAULT_FPS, require_video_name
from stylegan.networks.synthesis import NOISE_MODES

MIX_LAYERS = "coarse"
GRID_LAYERS = "coarse,middle"  # layers 0-6, the default of NVIDIA's style_mixing.py


@click.command("mix", cls=RelatentCommand)
@click.argument("faces", nargs=-1)
@click.option(
    "--layers",
    "--styles",
    multiple=True,
    metavar="coarse|middle|fine|all|0-3,7",
    help="Where the styles come in; once for each further face.  [default: coarse; in a grid coarse,middle]",
)
@click.option(
    "--strength",
    "strengths",
    multiple=True,
    type=float,
    default=(1.0,),
    show_default=True,
    help="How far to go, 0 to 1; once for all, or once for each further face.",
)
@click.option("--rows", multiple=True, metavar="FACES", help="Draw a grid: whose faces, one a row.")
@click.option("--cols", multiple=True, metavar="FACES", help="Draw a grid: whose styles, one a column.")
@click.option(
    *TRUNCATION_FLAGS,
    "psi",
    type=float,
    default=1.0,
    show_default=True,
    help="Truncation of seeds; 0 is the average face.",
)
@click.option(
    "--noise-mode",
    type=click.Choice(NOISE_MODES),
    default="const",
    show_default=True,
    help="Each face's own noise, some drawn anew, or none.",
)
@click.option("--seed", type=click.IntRange(0, SEEDS - 1), default=0, show_default=True, help="Of random noise.")
@pasting_options
@click.option("--outdir", type=PATH, help="Results go to OUTDIR/STEM, a grid's to OUTDIR.  [default: the first's own]")
@click.option(
    "--network", metavar="NAME_OR_FILE", help="Of the seeds.  [default: the inversions', or the embedded one]"
)
@click.option(
    "--class", "number", type=click.IntRange(min=0), metavar="N", help="Of seeds, if their network has classes."
)
@device_option
@click.option(
    "--metadata/--no-metadata", default=True, show_default=True, help="Say in every picture that a network took part."
)
def mix_command(
    faces: tuple[str, ...],
    layers: tuple[str, ...],
    rows: tuple[str, ...],
    cols: tuple[str, ...],
    outdir: Path | None,
    network: str | None,
    number: int | None,
    device: str | None,
    **choices: Any,
) -> None:
    """Replace a face's coarse, middle or fine styles by those of others.

    FACES are folders or files that `inversion.project` or `editing edit` wrote, latents of other tools (.npz, .npy,
    .pt; FILE:NAME for one of several), photos, or seeds such as 85,100,1500-1502. The first is changed, the styles of
    the others come in: OUTDIR/STEM gets edited.png, drawn.png, edited.safetensors, report.json, and pasted.png where
    the photo is found. With --rows and --cols instead, every row is mixed with every column: ROW-COL.png and grid.png.
    """
    if bool(rows) != bool(cols) or bool(rows) == bool(faces):
        raise UsageError("expected either faces to mix, or --rows and --cols for a grid. Try --help.")
    if faces:
        found = find_faces(faces)
        generator = open_faces_network(found, network, device).of_class(number)
        options = MixOptions(layers or (MIX_LAYERS,), **choices)
        folder, note = mix_faces(found, outdir, generator, options)
        if note:
            click.echo(f"note: {note}", err=True)
        click.echo(str(folder))
        return
    if outdir is None:
        raise UsageError("--outdir is missing; a grid needs a folder for its pictures.")
    down, across = find_faces(rows), find_faces(cols)
    generator = open_faces_network([*down, *across], network, device).of_class(number)
    options = MixOptions(layers or (GRID_LAYERS,), **choices)
    click.echo(str(write_grid(down, across, outdir, generator, options)))


@click.command("morph", cls=RelatentCommand)
@click.argument("faces", nargs=-1, required=True)
@click.option("--out", type=PATH, default="morph.mp4", show_default=True, help="The video, .mp4 or .gif.")
@click.option(
    "--frames", type=click.IntRange(2, MOST_FRAMES), default=60, show_default=True, help="In the whole video."
)
@click.option(
    "--fps", type=float, default=DEFAULT_FPS, show_default=True, help="Frames a second; at most 50 in a .gif."
)
@click.option("--loop", is_flag=True, help="Return to the first face, so that the video can repeat without a jump.")
@click.option(
    "--noise",
    type=click.Choice(NOISES),
    default="blend",
    show_default=True,
    help="Take each face's fine detail along, or leave the first one's in place.",
)
@click.option(
    "--space",
    type=click.Choice(["w", "z"]),
    default="w",
    show_default=True,
    help="Straight through W or W+, or, for seeds alone, along arcs in Z.",
)
@click.option(
    "--at",
    type=click.Choice(ATS),
    default="photo",
    show_default=True,
    help="Show edits of one photo's face at the photo's resolution, or as the network draws them.",
)
@click.option(
    *TRUNCATION_FLAGS,
    "psi",
    type=float,
    default=1.0,
    show_default=True,
    help="Truncation of seeds; 0 is the average face.",
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), help="Frames drawn together.  [default: 8, and 1 above 256 px]"
)
@click.option(
    "--network", metavar="NAME_OR_FILE", help="Of the seeds.  [default: the inversions', or the embedded one]"
)
@click.option(
    "--class", "number", type=click.IntRange(min=0), metavar="N", help="Of seeds, if their network has classes."
)
@device_option
@click.option(
    "--metadata/--no-metadata", default=True, show_default=True, help="Say in the file that a network drew it."
)
def morph_command(
    faces: tuple[str, ...],
    out: Path,
    frames: int,
    fps: float,
    loop: bool,
    noise: str,
    space: str,
    psi: float,
    at: At,
    network: str | None,
    number: int | None,
    device: str | None,
    **options: Any,  # of write_morph
) -> None:
    """Draw a morph video through faces.

    FACES are two or more of what `editing mix` takes: inversions, latents, photos, seeds.
    """
    require_video_name(out, fps)
    require_replaceable([out])
    found = find_faces(faces)
    generator = open_faces_network(found, network, device).of_class(number)
    path: Morph[Any]
    photo = None
    if space == "z":
        path = morph_seeds(_seeds_alone(found), generator, psi=psi, loop=loop)
    else:
        inversions = [face.inversion for face in as_faces(found, generator, psi)]
        path = morph(inversions, generator, loop=loop, noise=noise)
        photo = shared_photo_face(inversions, generator) if at == "photo" else None
    with ProgressBar(desc=out.name, unit="frame") as bar:
        write_morph(path, out, generator, frames=frames, fps=fps, photo=photo, progress=bar.show, **options)
    click.echo(str(out))


def _seeds_alone(found: Sequence[Named]) -> list[int]:
    seeds = [one for one in found if isinstance(one, int)]
    if len(seeds) < len(found):
        raise UsageError("--space z came with a face that has no z; expected seeds alone. Leave it out.")
    return seeds

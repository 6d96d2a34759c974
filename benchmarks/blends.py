"""How well the blends put an edited face back into its photo.

    python -m benchmarks.blends --faces fairface-128.zip --count 40 --keep inversions

Photos are the first COUNT of the zip's folder val/, enlarged into a photo's place (:mod:`benchmarks.paste_cases`), and
photographs that dependencies ship. Every direction that ships is edited in at +-1.5, and at +-1 for the identity. What
is measured says :mod:`benchmarks.paste_measures`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import click
import cv2
import numpy as np
from tqdm import tqdm

from benchmarks.machine import describe
from benchmarks.paste_cases import Case, load_cases
from benchmarks.paste_measures import PARTS, Judge, Wanted
from benchmarks.quality import FOLDER
from editing import edit, paste_back
from editing.directions.direction import direction_files
from editing.pasting import Blend, paste_drawn
from editing.photo_faces import photo_face
from inversion.pipeline import open_network
from relatent.core.files import write_bytes
from relatent.core.images import to_levels
from relatent.face.crop import pack_crop, resized_square
from relatent.face.warp import warp_of
from stylegan.formats.checkpoint import network_id
from stylegan.networks.generator import Generator
from weights.embedded import DEFAULT_NETWORK

BLENDS: tuple[Blend, ...] = ("difference", "replace", "warp")
UNEDITED = "no edit"  # the photo as it is against its drawing: what the inversion did not hit, whatever the blend
STRENGTHS = (-1.5, 1.5)
IDENTITY_AT = (-1.0, 1.0)
WORST = 0.9  # quantile that is reported beside the median
WIDTH, HEIGHT = 4000, 3000  # 12 megapixels
MEASURES = {
    **{f"motion_{part}": f"{part}: landmarks' motion, off by % of the eyes' distance" for part in PARTS},
    **{f"place_{part}": f"{part}: landmarks, off by % of the eyes' distance" for part in PARTS},
    "ghosts": "ghosts: correlation with the unmoved photo's fine structure",
    "detail": "detail: finest octave's energy in the face, share of the photo's",
    "identity": "identity distance to the photo at strength 1",
    "outside": "change outside face, hair and neck, levels",
}


@click.command()
@click.option("--faces", required=True, type=click.Path(path_type=Path, exists=True), help="Zip file with val/.")
@click.option("--count", default=40, show_default=True, help="Validation faces.")
@click.option("--network", default=DEFAULT_NETWORK, show_default=True)
@click.option(
    "--keep", type=click.Path(path_type=Path), help="A folder for the inversions, to spare making them again."
)
@click.option("--out", default="blends", show_default=True, help="Name of the result.")
def main(faces: Path, count: int, network: str, keep: Path | None, out: str) -> None:
    """Measure the blends and write results/OUT.json and OUT.md."""
    generator = open_network(network)
    cases = load_cases(faces, list(range(count)), generator, keep)
    each: dict[str, list[dict[str, object]]] = {blend: [] for blend in (*BLENDS, UNEDITED)}
    for case in tqdm(cases, desc="photos"):
        for row in measured(case, generator, sorted(direction_files(generator))):
            each[str(row["blend"])].append(row)
    summary = {blend: summarised(rows) for blend, rows in each.items()}
    result = {
        "network": network_id(generator),
        "photos": len(cases),
        "strengths": STRENGTHS,
        "machine": describe(),
        "seconds": seconds(cases[0], generator),
        "summary": summary,
        "each": {blend: _columns(rows) for blend, rows in each.items()},
    }
    write_bytes(FOLDER / f"{out}.json", (json.dumps(result) + "\n").encode())
    write_bytes(FOLDER / f"{out}.md", table(summary).encode())
    click.echo(table(summary))
    click.echo(json.dumps(result["seconds"]))


def measured(case: Case, network: Generator, names: Sequence[str]) -> Iterator[dict[str, object]]:
    """Every edit of one photo by every blend, a row each, and one without an edit."""
    before = to_levels(case.inversion.unedited().tensor(network))[0].numpy()
    judge = Judge(case, network, before)
    found = judge.landmarks(judge.photo, Wanted(judge.drawn_before, np.empty(0)))
    places = {key: round(value, 4) for key, value in found.items() if key.startswith("place")}
    yield {"photo": case.name, "blend": UNEDITED, **places}
    for name in names:
        for strength in (*STRENGTHS, *IDENTITY_AT):
            edited = edit(case.inversion, {name: strength}, network=network)
            drawn = to_levels(edited.tensor(network))[0].numpy()
            warp = warp_of(drawn, before, case.landmarks)
            wanted = judge.wanted(drawn, warp)
            for blend in BLENDS:
                pasted = paste_drawn(case.photo, edited, drawn, before, network, blend, case.landmarks, warp)
                look = judge.look(pasted)
                row: dict[str, object] = {"photo": case.name, "edit": name, "strength": strength, "blend": blend}
                if strength in IDENTITY_AT:
                    yield row | {"identity": round(judge.identity(look), 4)}
                    continue
                values = {
                    **judge.landmarks(look, wanted),
                    "ghosts": judge.ghosts(look, wanted),
                    "detail": judge.detail(look),
                    "outside": judge.outside(pasted),
                }
                yield row | {key: None if value is None else round(value, 4) for key, value in values.items()}


def _columns(rows: list[dict[str, object]]) -> dict[str, list[object]]:
    """Rows as columns, which take half of the space; None where a row lacks a value."""
    keys = dict.fromkeys(key for row in rows for key in row if key != "blend")
    return {key: [row.get(key) for row in rows] for key in keys}


def summarised(rows: Sequence[dict[str, object]]) -> dict[str, dict[str, float]]:
    """By measure that the rows have: median, and where the lowest and the highest tenth begin."""
    summary = {}
    for measure in MEASURES:
        values = np.array([row[measure] for row in rows if row.get(measure) is not None], float)
        if not len(values):
            continue
        summary[measure] = {
            "median": round(float(np.median(values)), 4),
            "low": round(float(np.quantile(values, 1 - WORST)), 4),
            "worst": round(float(np.quantile(values, WORST)), 4),
        }
    return summary


def seconds(case: Case, network: Generator) -> dict[str, float]:
    """Of a slider's move with a face of 1,000 px, drawing included, and of a photo of 12 megapixels."""
    place = case.inversion.face_to_photo
    assert place is not None
    size = network.resolution
    large = case.inversion.replace(crop=pack_crop(case.photo, place, size))
    found = photo_face(large, network)
    assert found is not None
    found = found.resized(1000)

    def move(strength: float) -> None:
        edited = edit(large, {"smile": strength}, network=network)
        found.edited(edited, to_levels(edited.tensor(network))[0].numpy())

    factor = HEIGHT / len(case.photo)
    photo = cv2.resize(case.photo, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    photo = cv2.copyMakeBorder(photo, 0, 0, 0, WIDTH - photo.shape[1], cv2.BORDER_REFLECT)
    placed = case.inversion.replace(face_to_photo=resized_square(1, factor) @ place)
    edited = edit(placed, {"smile": 1.0}, network=network)
    return {
        "slider_to_face_1000px": _median([_timed(partial(move, value)) for value in np.linspace(-1, 1, 15)]),
        "paste_12_megapixels": _median([_timed(lambda: paste_back(edited, photo, network=network)) for _ in range(3)]),
    }


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _median(values: Sequence[float]) -> float:
    return round(float(np.median(values)), 4)


def table(summary: dict[str, dict[str, dict[str, float]]]) -> str:
    """Medians and worst tenths as Markdown, a row for each measure."""
    columns = [f"`{name}`" if name in BLENDS else name for name in summary]
    lines = [f"| measure | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for measure, text in MEASURES.items():
        cells = []
        for found in (one.get(measure) for one in summary.values()):
            if found is None:
                cells.append("")
                continue
            low = f"{found['low']:.2f} to " if measure == "detail" else ""
            cells.append(f"{found['median']:.2f} ({low}{found['worst']:.2f})")
        lines.append(f"| {text} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

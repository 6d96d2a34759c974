"""What directions do to faces that were inverted: how far attributes move, what else does, and who the person stays.

    python -m benchmarks.editing --faces fairface-128.zip --work runs/editing

The first 100 pictures of the zip's folder val/, which no network was trained on, are inverted by the default preset and
moved along every direction of the network. Inversions and measured faces are kept in WORK: a cut run goes on, and
benchmarks.groups finds the inversions there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from tqdm import tqdm

from benchmarks.contact_sheet import as_jpeg
from benchmarks.edit_measures import (
    IDENTITY_AT,
    STRENGTHS,
    FaceMoves,
    add_line,
    follows,
    leak_matrix,
    measure_face,
    read_lines,
)
from benchmarks.inverting import kept_inversions
from benchmarks.machine import describe
from editing.attributes.registry import SAME_MOVEMENT, known_attributes, moving_together
from editing.attributes.scores import Score
from editing.directions.direction import Direction, direction_files
from editing.directions.sampling import sample_scores
from editing.directions.sheets import labelled_sheet
from editing.edits import moved
from inversion.inversion import Inversion
from inversion.pipeline import open_network
from relatent.core.errors import UsageError
from relatent.core.files import write_bytes
from stylegan import network_id
from stylegan.networks.generator import Generator
from weights.embedded import DEFAULT_NETWORK

FOLDER = Path(__file__).parent / "results"
TARGETS = {"follows": 0.9, "leak": 1 / 3, "median_leak": 0.2, "identity": 0.45, "same_person": 0.8}
DEVIATION_SAMPLES = 1000  # random faces, for scores without a direction
SHEET_FACES = (0, 3)  # of the inverted ones


@click.command()
@click.option("--faces", required=True, type=click.Path(path_type=Path, exists=True), help="Zip file with val/.")
@click.option("--work", required=True, type=click.Path(path_type=Path), help="Folder for inversions and lines.")
@click.option("--directions", type=click.Path(path_type=Path, exists=True), help="Folder.  [default: the network's]")
@click.option("--count", default=100, show_default=True, help="Faces.")
@click.option("--batch", default=10, show_default=True, help="Photos inverted together.")
@click.option("--network", default=DEFAULT_NETWORK, show_default=True)
@click.option("--out", default="editing", show_default=True, help="Name of the result.")
def main(faces: Path, work: Path, directions: Path | None, count: int, batch: int, network: str, out: str) -> None:
    """Measure and write results/OUT.json, OUT.md, OUT-leaks.png and OUT-sheet.jpg."""
    generator = open_network(network)
    chosen = scored_directions(generator, directions)
    scores, deviations = measured_scores(generator, chosen)
    inverted = kept_inversions(faces, count, generator, work / "inversions", batch)
    lines = work / f"{out}.jsonl"
    # lines of a run with other directions or scores are no use to this one
    done = {k: v for k, v in read_lines(lines).items() if np.shape(v.scores)[::2] == (len(chosen), len(scores))}
    for name, inversion in tqdm(inverted.items(), desc="edits"):
        if name not in done:
            done[name] = measure_face(name, inversion, generator, chosen, scores, deviations)
            add_line(lines, done[name])
    result = summary([done[name] for name in inverted], [one.name for one in chosen], list(scores))
    result |= {"network": network_id(generator), "machine": describe()}
    write_bytes(FOLDER / f"{out}.json", (json.dumps(result, indent=2) + "\n").encode())
    write_bytes(FOLDER / f"{out}.md", as_markdown(result).encode())
    write_bytes(
        FOLDER / f"{out}-leaks.png", heat_map(np.array(result["leaks"]), [one.name for one in chosen], list(scores))
    )
    shown = [list(inverted.values())[index] for index in SHEET_FACES if index < len(inverted)]
    write_bytes(FOLDER / f"{out}-sheet.jpg", as_jpeg(sheet(shown, chosen, generator)))
    click.echo(as_markdown(result))


def scored_directions(network: Generator, folder: Path | None) -> list[Direction]:
    """The network's directions whose attribute Relatent can score, or those of a folder.

    Raises:
        UsageError: none, or one that does not say its score's deviation.
    """
    known = known_attributes(network.alignment)
    paths = sorted(folder.glob("*.safetensors")) if folder else direction_files(network).values()
    found = [one for one in map(Direction.load, paths) if one.name in known and one.belongs_to(network)]
    silent = [one.name for one in found if "deviation" not in one.facts]
    if not found or silent:
        raise UsageError(
            f"{', '.join(silent) or 'no direction'} can be measured only where its file says the score's deviation; "
            "learn it again with: python -m editing directions learn"
        )
    return found


def measured_scores(network: Generator, directions: Sequence[Direction]) -> tuple[dict[str, Score], dict[str, float]]:
    """Every score there is, the directions' own first, and the deviation of each.

    A direction's file says its own score's; those of scores without a direction are taken over random faces.
    """
    known = known_attributes(network.alignment)
    own = {one.name: float(one.facts["deviation"]) for one in directions}
    rest = {name: one.score for name, one in known.items() if name not in own}
    samples = sample_scores(network, rest, DEVIATION_SAMPLES)
    scores = {**{name: known[name].score for name in own}, **rest}
    return scores, {**own, **{name: samples.deviation(name) for name in rest}}


def summary(faces: Sequence[FaceMoves], names: list[str], columns: list[str]) -> dict[str, Any]:
    """A row for each direction, the leak matrix, and what the targets say.

    Args:
        faces: what was measured.
        names: the directions.
        columns: the scores, the directions' own first.
    """
    scores = np.array([face.scores for face in faces], dtype=float)  # [faces, D, strengths, A]
    people = np.array([face.identity for face in faces], dtype=float)  # [faces, D, strengths compared]
    rest = np.array([face.outside for face in faces], dtype=float)  # [faces, D]
    leaks = leak_matrix(scores)
    rows = {}
    for index, name in enumerate(names):
        own = scores[:, index, :, index]
        others = {other: leaks[index, k] for k, other in enumerate(columns) if k != index}
        counted = {other: value for other, value in others.items() if other not in moving_together(name)}
        worst = max(counted, key=lambda other: abs(counted[other]))
        middle = own[:, [STRENGTHS.index(0)]]
        rows[name] = {
            "moved": [round(float(value), 3) for value in np.nanmean(own - middle, axis=0)],
            "follows": sum(follows(row) for row in own),
            "identity": [round(float(np.nanmedian(people[:, index, k])), 3) for k in range(len(IDENTITY_AT))],
            "same_person": int((people[:, index, 0] < TARGETS["identity"]).sum()),
            "outside": None if np.isnan(rest[:, index]).all() else round(float(np.nanmedian(rest[:, index])), 3),
            "worst_leak": [worst, round(float(counted[worst]), 3)],
        }
    pairs = [
        abs(leaks[i, k])
        for i, name in enumerate(names)
        for k, other in enumerate(columns)
        if i != k and other not in moving_together(name)
    ]
    return {
        "faces": len(faces),
        "strengths": list(STRENGTHS),
        "directions": rows,
        "names": names,
        "columns": columns,
        "leaks": [[round(float(value), 3) for value in row] for row in leaks],
        "median_leak": round(float(np.median(pairs)), 3),
        "pairs_over_a_third": int(sum(value > TARGETS["leak"] for value in pairs)),
        "pairs": len(pairs),
        "missed": missed(rows, len(faces)),
        "exempt": {" and ".join(pair): why for pair, why in SAME_MOVEMENT.items() if set(pair) <= set(columns)},
    }


def missed(rows: dict[str, dict[str, Any]], faces: int) -> dict[str, list[str]]:
    """The directions that miss each target."""
    tests = {
        "follows its strength for 90 of 100 faces": lambda row: row["follows"] >= TARGETS["follows"] * faces,
        "moves nothing else by a third of what it is meant to": lambda row: abs(row["worst_leak"][1]) < TARGETS["leak"],
        "identity distance below 0.45 at strength 1 for 80 of 100": lambda row: (
            row["same_person"] >= TARGETS["same_person"] * faces
        ),
    }
    return {text: [name for name, row in rows.items() if not test(row)] for text, test in tests.items()}


def as_markdown(result: dict[str, Any]) -> str:
    """The table, and in words what was missed."""
    faces = result["faces"]
    lines = [
        "| direction | moved at -2 / 2 | follows | identity at 1 / 2 | below 0.45 | LPIPS outside | largest leak |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in result["directions"].items():
        ends = [row["moved"][STRENGTHS.index(strength)] for strength in (-2, 2)]
        outside = "" if row["outside"] is None else f"{row['outside']:.3f}"
        lines.append(
            f"| {name} | {ends[0]:+.2f} / {ends[1]:+.2f} | {row['follows']} of {faces} | "
            f"{row['identity'][0]:.2f} / {row['identity'][1]:.2f} | {row['same_person']} of {faces} | {outside} | "
            f"{row['worst_leak'][0]} {row['worst_leak'][1]:+.2f} |"
        )
    pairs, over = result["pairs"], result["pairs_over_a_third"]
    lines += ["", f"Median leak {result['median_leak']:.2f}; {over} of {pairs} pairs leak more than a third."]
    lines += ["", "Pairs that are partly one movement are not counted:", ""]
    lines += [f"- {pair}: {why}" for pair, why in result["exempt"].items()]
    lines += ["", "What missed its target:", ""]
    lines += [f"- {text}: {', '.join(names) or 'none'}" for text, names in result["missed"].items()]
    return "\n".join(lines) + "\n"


def heat_map(leaks: np.ndarray, names: list[str], columns: list[str]) -> bytes:
    """The leak matrix as a PNG file: rows are moved, columns are what moves."""
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(2 + 0.55 * len(columns), 2 + 0.45 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(leaks, cmap="RdBu_r", vmin=-1, vmax=1)
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("what moves, as a share of what was meant to")
    axes.set_ylabel("direction, at strength 2 or -2, whichever is worse")
    for (row, column), value in np.ndenumerate(leaks):
        colour = "white" if abs(value) > 0.6 else "black"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
    figure.colorbar(picture, shrink=0.8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def sheet(shown: Sequence[Inversion], directions: Sequence[Direction], network: Generator) -> np.ndarray:
    """Inverted faces moved along each direction, a block of rows for each; uint8 [H, W, 3]."""
    pictures = [
        [moved(one, [(direction, strength)]).image(network) for strength in STRENGTHS]
        for direction in directions
        for one in shown
    ]
    cells = [[np.array(picture) for picture in row] for row in pictures]
    return labelled_sheet(cells, [one.name for one in directions], STRENGTHS)


if __name__ == "__main__":
    main()

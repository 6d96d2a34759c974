"""A sheet of a dozen faces, each in a column: the photo, and what every method made of it."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from relatent.core.errors import DatasetError

ATTRIBUTES = ("race", "age", "gender")


def read_labels(labels: Path, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """What labels.csv says of the faces, by name.

    Raises:
        DatasetError: it misses one of them.
    """
    with labels.open(newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    missing = [name for name in names if name not in rows]
    if missing:
        raise DatasetError(f"{labels} says nothing of {missing[0]} and {len(missing) - 1} others.")
    return {name: rows[name] for name in names}


def varied(labels: dict[str, dict[str, str]], count: int) -> list[str]:
    """``count`` faces of as many races, ages and genders as there are, always the same ones.

    One after the other, the face whose labels have been seen least among the chosen; of equals the first. How well a
    face comes out has no say.
    """
    chosen: list[str] = []
    seen: Counter[tuple[str, str]] = Counter()
    while len(chosen) < min(count, len(labels)):
        left = [name for name in labels if name not in chosen]
        best = min(left, key=lambda name: sum(seen[attribute, labels[name][attribute]] for attribute in ATTRIBUTES))
        chosen.append(best)
        seen.update((attribute, labels[best][attribute]) for attribute in ATTRIBUTES)
    return chosen

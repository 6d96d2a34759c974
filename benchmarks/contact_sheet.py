"""Contact sheets: which faces they show, and their files."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from relatent.core.errors import DatasetError

ATTRIBUTES = ("race", "age", "gender")


def as_jpeg(pixels: np.ndarray, quality: int = 88) -> bytes:
    """A sheet uint8 [H, W, 3] as a JPEG file with full colour resolution."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def read_labels(labels: Path, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Labels of the faces from labels.csv, by name.

    Raises:
        DatasetError: a face has no labels.
    """
    with labels.open(newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    missing = [name for name in names if name not in rows]
    if missing:
        raise DatasetError(f"{labels} says nothing of {missing[0]} and {len(missing) - 1} others.")
    return {name: rows[name] for name in names}


def varied(labels: dict[str, dict[str, str]], count: int) -> list[str]:
    """Choose ``count`` faces of many races, ages and genders, deterministically.

    Each is the face whose labels are rarest among those chosen so far, the first of several. The quality of its
    inversion is not considered.
    """
    chosen: list[str] = []
    seen: Counter[tuple[str, str]] = Counter()
    while len(chosen) < min(count, len(labels)):
        left = [name for name in labels if name not in chosen]
        best = min(left, key=lambda name: sum(seen[attribute, labels[name][attribute]] for attribute in ATTRIBUTES))
        chosen.append(best)
        seen.update((attribute, labels[best][attribute]) for attribute in ATTRIBUTES)
    return chosen

"""Plans of edits in bulk: tables and lines of JSON, read and checked before anything runs.

A row is one edited picture. Its columns, of which `photo` is required:

photo                   a folder of OUT, or the name or path of the photo that was inverted into it
direction, strength     a direction and how far to move along it
name                    of the result's folder; by default that of the inversion, with a number
layers, truncation, only, keep, blend     as the options of `editing edit` (regions separated by spaces)
anything else           a direction, whose strength the row gives; an empty cell leaves it out
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from editing.batch.edit import EditOptions
from editing.batch.inverted import InvertedFaces
from editing.directions.direction import find_direction
from editing.layers import layer_numbers
from editing.pasting import BLENDS
from relatent.core.errors import RelatentError, UnknownNameError, UsageError
from relatent.core.numbers import as_strength, as_truncation, number_in
from relatent.face.regions import check_regions

OPTIONS = ("layers", "truncation", "only", "keep", "blend")
LONGEST_LINE = 2**20  # characters

MOST_LAYERS = 18  # of a network of 1024 px

Row = Mapping[str, object]
T = TypeVar("T")


@dataclass(frozen=True)
class Planned:
    """One edited picture.

    Attributes:
        folder: of the inversion.
        options: of the edit.
        name: of the result's folder; empty for the inversion's.
    """

    folder: Path
    options: EditOptions
    name: str = ""


def read_plan(path: Path) -> Iterator[tuple[int, Row]]:
    """The rows of a plan with their numbers, as a spreadsheet or an editor shows them.

    Args:
        path: .csv with a header, or .jsonl with an object in each line.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            if path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
                yield from _json_rows(path, file)
            else:
                yield from _csv_rows(path, file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        what = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"the plan {path} cannot be read ({what}); expected a table (.csv) or lines of JSON."
        ) from error


def _csv_rows(path: Path, file: Iterable[str]) -> Iterator[tuple[int, Row]]:
    table = csv.reader(file)
    names: list[str] | None = None
    for cells in table:
        if not any(cell.strip() for cell in cells):
            continue
        if names is None:
            names = [cell.strip() for cell in cells]
            doubled = sorted({name for name in names if names.count(name) > 1})
            if "" in names or doubled:
                what = f"the column {doubled[0]!r} twice" if doubled and doubled[0] else "a column without a name"
                raise UsageError(f"the header of {path} has {what}. Give each column a name of its own.")
            continue
        if len(cells) > len(names):
            raise UsageError(f"{path}, row {table.line_num}: {len(cells)} cells, and the header has {len(names)}.")
        yield table.line_num, dict(zip(names, cells, strict=False))


def _json_rows(path: Path, file: Iterable[str]) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line) if len(line) <= LONGEST_LINE else None
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise UsageError(f'{path}, row {number}: expected an object such as {{"photo": "me", "smile": 2}}.')
        more = row.pop("set", {})
        yield number, {**row, **more} if isinstance(more, dict) else {**row, "set": more}


class PlanChecker:
    """Turns rows into edits, and says what is wrong with one.

    Args:
        faces: that may be edited.
        options: of all edits, which the rows add to.
        source: of the rows, in messages.
    """

    def __init__(self, faces: InvertedFaces, options: EditOptions, source: str = "the plan") -> None:
        self.faces, self.options, self.source = faces, options, source
        self.known: dict[tuple[str, str], str] = {}  # fingerprints of directions, by name and network

    def planned(self, number: int, row: Row) -> Planned:
        """The edit of a row.

        Raises:
            UsageError: it names row and column.
        """

        def cell(name: str) -> str:
            value = row.get(name)
            return "" if value is None else str(value).strip()

        folder = self._checked(number, "photo", lambda: self.faces.find(_required(cell("photo"), "me or me.jpg")))
        strengths: dict[str, float] = {}
        if cell("direction") or cell("strength"):
            name = self._checked(
                number, "direction", lambda: self._direction(_required(cell("direction"), "smile"), folder)
            )
            strengths[name] = self._checked(number, "strength", lambda: _strength(name, cell("strength")))
        changes: dict[str, Any] = {}
        for column in row:
            if column in ("photo", "direction", "strength", "name") or not cell(column):
                continue
            if column in OPTIONS:
                changes[column] = self._checked(number, column, lambda: _option(column, cell(column)))  # noqa: B023
                continue
            name = self._checked(number, column, lambda: self._direction(column, folder))  # noqa: B023
            if name in strengths:
                raise UsageError(f"{self.source}, row {number}, column {column}: {name} comes twice in this row.")
            strengths[name] = self._checked(number, column, lambda: _strength(column, cell(column)))  # noqa: B023
        options = dataclasses.replace(self.options, strengths={**self.options.strengths, **strengths}, **changes)
        if not options.changes:
            raise UsageError(f"{self.source}, row {number}: nothing to do; expected a direction and its strength.")
        return Planned(folder, options, self._checked(number, "name", lambda: _name(cell("name"))))

    def _direction(self, name: str, folder: Path) -> str:
        self.fingerprint(name, folder)
        return name

    def fingerprint(self, name: str, folder: Path) -> str:
        """What tells a direction from another of the same name; raises as :func:`find_direction` does."""
        known = name, self.faces.network(folder)
        if known not in self.known:
            vector = find_direction(*known, self.options.folders).vector.numpy()
            self.known[known] = hashlib.sha256(vector.tobytes()).hexdigest()[:16]
        return self.known[known]

    def _checked(self, number: int, column: str, value: Callable[[], T]) -> T:
        try:
            return value()
        except RelatentError as error:
            raise UsageError(f"{self.source}, row {number}, column {column}: {error}") from error


def _required(text: str, example: str) -> str:
    if not text:
        raise UsageError(f"the cell is empty; expected for example {example}.")
    return text


def _strength(name: str, text: str) -> float:
    value = number_in(text)
    if value is None:
        raise UsageError(f"{text!r:.60} is no number; expected for example 2 or -1.5.")
    return as_strength(name, value)


def _option(name: str, text: str) -> object:
    if name in ("only", "keep"):
        return tuple(check_regions(text.replace(",", " ").split()))
    if name == "blend":
        if text not in BLENDS:
            raise UnknownNameError("blend", text, BLENDS)
        return text
    if name == "truncation":
        return as_truncation(number_in(text))
    layer_numbers(text, MOST_LAYERS)
    return text


def _name(text: str) -> str:
    if text.startswith(".") or any(letter in text for letter in "/\\:\0") or len(text) > 100:
        raise UsageError(f"{text!r:.60} is no name for a folder; expected letters, digits, - and _.")
    return text

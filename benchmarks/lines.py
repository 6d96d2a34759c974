"""Stores rows of a long run as JSON lines, so that an interrupted run can be continued."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from relatent.core.errors import OutputError
from relatent.core.files import output_errors, write_bytes

Row = dict[str, Any]


class Lines:
    """A file whose first line says what is measured, and each other one what was found for one key.

    Args:
        path: made if needed. A line that was cut short while it was written is dropped.
        about: a description of the measurement; a file with another one is refused.

    Attributes:
        rows: finished rows, by key.

    Raises:
        OutputError: the file holds rows of something else, or cannot be written.
    """

    def __init__(self, path: Path, about: Row) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        about = json.loads(json.dumps(about))
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        text, whole = _read(path)
        if whole:
            _require(path, about, whole[0], [*about, *whole[0]])
        self.rows = {row.pop("key"): row for row in whole[1:]}
        if not whole or not text.endswith("\n"):
            kept = [about, *({"key": key, **row} for key, row in self.rows.items())]
            write_bytes(path, "".join(json.dumps(row) + "\n" for row in kept).encode())

    def add(self, key: str, row: Row) -> None:
        """Store the row of ``key``."""
        with output_errors(self.path), self.path.open("a") as file:
            file.write(json.dumps({"key": key, **row}) + "\n")
        self.rows[key] = row


def kept_rows(path: Path, about: Row) -> dict[str, Row]:
    """What another benchmark has kept, by key; nothing where there is no file.

    Raises:
        OutputError: it is of something else than ``about``; what more the file's first line says does not matter.
    """
    _, whole = _read(path)
    if whole:
        _require(path, json.loads(json.dumps(about)), whole[0], about)
    return {row.pop("key"): row for row in whole[1:]}


def _read(path: Path) -> tuple[str, list[Row]]:
    """The text and its whole lines; none where there is no file."""
    with output_errors(path):
        text = path.read_text() if path.exists() else ""
    return text, [json.loads(line) for line in text.split("\n")[:-1]]


def _require(path: Path, about: Row, found: Row, names: Iterable[str]) -> None:
    """Refuse rows that ``found`` says something else of by one of the names."""
    different = sorted({name for name in names if about.get(name) != found.get(name)})
    if different:
        raise OutputError(
            f"{path} holds rows with another {' and '.join(different)}. Remove it, or choose another place."
        )

"""Rows of a long run, one JSON object a line, so that a run that is cut goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.errors import OutputError
from core.files import output_errors, write_bytes

Row = dict[str, Any]


class Lines:
    """A file whose first line says what is measured, and each other one what was found for one key.

    Args:
        path: made if needed. A line that was cut short while it was written is dropped.
        about: what is measured; rows of anything else are refused.

    Attributes:
        rows: what is known, by key.

    Raises:
        OutputError: the file holds rows of something else, or cannot be written.
    """

    def __init__(self, path: Path, about: Row) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        about = json.loads(json.dumps(about))
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text() if path.exists() else ""
        whole = [json.loads(line) for line in text.split("\n")[:-1]]
        if whole and whole[0] != about:
            different = sorted(name for name in about.keys() | whole[0].keys() if about.get(name) != whole[0].get(name))
            raise OutputError(
                f"{path} holds rows with another {' and '.join(different)}. Remove it, or choose another place."
            )
        self.rows = {row.pop("key"): row for row in whole[1:]}
        if not whole or not text.endswith("\n"):
            kept = [about, *({"key": key, **row} for key, row in self.rows.items())]
            write_bytes(path, "".join(json.dumps(row) + "\n" for row in kept).encode())

    def add(self, key: str, row: Row) -> None:
        """Keep what was found for ``key``."""
        with output_errors(self.path), self.path.open("a") as file:
            file.write(json.dumps({"key": key, **row}) + "\n")
        self.rows[key] = row

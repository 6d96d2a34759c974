"""The figures of a run, written to disk as they come."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from relatent.core.files import write_bytes


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        part: of the command.
        what: it is.
        value: a number, or a text where there is none: what failed, or was not tried.
        unit: of the number.
        target: what was wished for, in words; empty for nothing.
        met: whether the number reaches it; None without a target or a number.
        more: further figures of the same measurement, for the JSON alone.
    """

    part: str
    what: str
    value: float | str
    unit: str = ""
    target: str = ""
    met: bool | None = None
    more: dict[str, Any] = field(default_factory=dict)

    def cells(self) -> list[str]:
        value = f"{self.value:.4g}" if isinstance(self.value, float) else str(self.value)
        verdict = "" if self.met is None else ("reached" if self.met else "missed")
        return [self.part, self.what, f"{value} {self.unit}".strip(), self.target, verdict]


class Record:
    """OUT.json and OUT.md.

    Args:
        folder: of both.
        name: of both, without the ending.
        about: the run: device, sizes, minutes.
    """

    def __init__(self, folder: Path, name: str, about: dict[str, Any]) -> None:
        self.paths = {kind: folder / f"{name}.{kind}" for kind in ("json", "md")}
        self.about, self.rows, self.notes = about, [], {}
        self.started = time.monotonic()
        self.rows: list[Row]
        self.notes: dict[str, Any]
        folder.mkdir(parents=True, exist_ok=True)
        self.write(complete=False)

    def add(self, row: Row) -> None:
        """Keep a figure."""
        self.rows.append(row)
        self.write(complete=False)

    def note(self, name: str, value: Any) -> None:
        """Keep something that is no row of a table."""
        self.notes[name] = value
        self.write(complete=False)

    def write(self, *, complete: bool) -> None:
        """Write both files anew, each whole."""
        seconds = round(time.monotonic() - self.started, 1)
        data = {**self.about, "complete": complete, "seconds": seconds, **self.notes}
        data["rows"] = [asdict(row) for row in self.rows]
        write_bytes(self.paths["json"], (json.dumps(data, indent=1) + "\n").encode())
        write_bytes(self.paths["md"], self._table(complete, seconds).encode())

    def _table(self, complete: bool, seconds: float) -> str:
        state = "complete" if complete else "cut short"
        about = ", ".join(f"{name} {value}" for name, value in self.about.items() if not isinstance(value, dict))
        lines = [f"{about}; {state} after {seconds:.0f} s.", ""]
        lines += ["| part | what | figure | target | |", "|---|---|---|---|---|"]
        lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row.cells())} |" for row in self.rows]
        return "\n".join(lines) + "\n"

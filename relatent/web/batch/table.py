"""The table of a batch, as HTML and as CSV rows."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence

from relatent.web.actions.faces import recognised
from relatent.web.batch.run import CANCELLED, DONE, FAILED, WAITING, WORKING, Row
from relatent.web.pictures import data_uri

HEADER = ("Photo", "Before and after", "Faces", "Recognised", "State", "Reason")
CSV_HEADER = ("photo", "state", "faces", "loss", "psnr", "identity_distance", "finished", "folder", "reason")
SIGNS = {WAITING: "…", WORKING: "▸", DONE: "✓", FAILED: "✗", CANCELLED: "–"}  # not everybody can tell colours apart


def table(rows: Sequence[Row]) -> str:
    """The table as HTML, with a row for each face; names and messages are escaped."""
    head = "".join(f'<th scope="col">{title}</th>' for title in HEADER)
    body = "".join(_table_row(row) for row in rows)
    caption = f"<caption>{html.escape(summary(rows))}</caption>"
    # Scrollable on narrow screens, also by keyboard.
    return (
        '<div class="relatent-table" tabindex="0" role="region" aria-label="The batch\'s photos">'
        f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def summary(rows: Sequence[Row]) -> str:
    """The number of rows in each state, in words."""
    counts = Counter(row.state for row in rows)
    parts = [f"{counts[state]} {state}" for state in (DONE, FAILED, CANCELLED, WORKING, WAITING) if counts[state]]
    return ", ".join(parts) or "no photos yet"


def csv_rows(rows: Sequence[Row]) -> list[tuple[object, ...]]:
    """The rows of results.csv, in the order of ``CSV_HEADER``."""
    return [
        (
            row.name,
            row.state,
            "" if row.faces is None else row.faces,
            *map(_or_nothing, (row.loss, row.psnr, row.identity)),
            "" if row.finished is None else row.finished.name,
            _folder(row),
            row.reason,
        )
        for row in rows
    ]


def _table_row(row: Row) -> str:
    name = html.escape(row.name)
    picture = ""
    if row.picture is not None:
        picture = f'<img src="{data_uri(row.picture)}" alt="{name}: before and after">'
    cells = [
        picture,
        "" if row.faces is None else str(row.faces),
        "" if row.state != DONE else recognised(row.identity),
        f'<span class="{row.state}">{SIGNS[row.state]} {row.state}</span>',
        html.escape(row.reason),
    ]
    return f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _or_nothing(value: float | None) -> object:
    return "" if value is None else round(value, 4)


def _folder(row: Row) -> str:
    return "" if row.folder is None else row.folder.name

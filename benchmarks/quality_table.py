"""Medians of a quality run, each method against the paper's, and the tables people read."""

from __future__ import annotations

import statistics
from typing import Any

Rows = dict[str, dict[str, Any]]  # a face's measures by its name

# How a measure is written, and whether less of it is better.
COLUMNS = {
    "lpips": ("LPIPS ({backbone})", ".4f", True),
    "lpips_fresh_noise": ("with fresh noise", ".4f", True),
    "lpips_edited_and_back": ("edited and back", ".4f", True),
    "psnr": ("PSNR dB", ".2f", False),
    "ms_ssim": ("MS-SSIM", ".4f", False),
    "identity_distance": ("identity distance", ".3f", True),
    "ws_distance": ("ws distance", ".2f", True),
    "seconds": ("seconds a photo", ".2f", True),
}
SAME_PERSON = 0.6  # dlib's threshold
YARDSTICK = "paper"


def summaries(each: dict[str, Rows]) -> dict[str, dict[str, Any]]:
    """For each method the medians, how many faces are the same person, and how it does against the paper's."""
    result = {}
    for name, rows in each.items():
        summary: dict[str, Any] = {column: _median(_known(rows, column)) for column in COLUMNS}
        distances = _known(rows, "identity_distance")
        summary["same_person"] = f"{sum(distance < SAME_PERSON for distance in distances)} of {len(distances)}"
        if YARDSTICK in each and name != YARDSTICK:
            summary["against_paper"] = against(rows, each[YARDSTICK])
        result[name] = summary
    return result


def against(rows: Rows, yardstick: Rows) -> dict[str, dict[str, float]]:
    """Face by face: the median difference of each measure, and the share of faces that came out better."""
    result = {}
    for column, (_, _, less_is_better) in COLUMNS.items():
        pairs = [(rows[face].get(column), yardstick[face].get(column)) for face in rows if face in yardstick]
        differences = [ours - theirs for ours, theirs in pairs if ours is not None and theirs is not None]
        if differences:
            better = sum(difference < 0 if less_is_better else difference > 0 for difference in differences)
            result[column] = {"difference": _median(differences), "better": round(better / len(differences), 4)}
    return result


def table(rows: dict[str, dict[str, Any]], backbone: str) -> str:
    """The medians as Markdown, and below them the share of faces that came out better than by the paper's projector."""
    titles = [title.format(backbone=backbone) for title, _, _ in COLUMNS.values()]
    lines = [_line(["method", "steps", *titles, f"below {SAME_PERSON}"]), "|---" * (len(titles) + 3) + "|"]
    for name, row in rows.items():
        values = [_shown(row[column], form) for column, (_, form, _) in COLUMNS.items()]
        lines.append(_line([name, steps(row["settings"]), *values, row["same_person"]]))
    compared = {name: row["against_paper"] for name, row in rows.items() if "against_paper" in row}
    if compared:
        lines += ["", "Faces in 100 that came out better than by the paper's projector:", ""]
        lines += [_line(["method", *titles]), "|---" * (len(titles) + 1) + "|"]
        for name, columns in compared.items():
            shares = [_shown(columns.get(column, {}).get("better"), ".0%") for column in COLUMNS]
            lines.append(_line([name, *(share.rstrip("%") for share in shares)]))
    return "\n".join(lines) + "\n"


def steps(settings: dict[str, Any]) -> str:
    """Steps of each stage, "150 + 100"."""
    stages = [settings.get(stage) for stage in ("refinement", "optimiser", "tuning")]
    return " + ".join(str(stage["num_steps"]) for stage in stages if stage) or "0"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _known(rows: Rows, column: str) -> list[float]:
    return [row[column] for row in rows.values() if row.get(column) is not None]


def _median(values: list[float]) -> float | None:
    return round(statistics.median(values), 5) if values else None

"""The figures of benchmarks/speed.py as Markdown, one table a part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Sizes = dict[str, dict[str, Any]]  # a part's record by its name, by size


def as_markdown(sizes: Sizes) -> str:
    """Tables of the parts that have been measured."""
    tables = [writer(sizes) for part, writer in WRITERS.items() if any(part in parts for parts in sizes.values())]
    return "\n".join([_machine(sizes), *tables])


def _machine(sizes: Sizes) -> str:
    """Where and by which clock the parts were measured, each kind once."""
    seen = []
    for parts in sizes.values():
        for record in parts.values():
            machine = record["machine"]
            where = (
                machine["accelerator"] or f"{machine['processor']}, {machine['threads']} of {machine['cores']} cores"
            )
            clock = " (seconds of computing)" if record["clock"] == "processor" else ""
            seen.append(f"{where}, torch {machine['versions']['torch']}{clock}")
    return f"Measured on: {'; '.join(dict.fromkeys(seen))}.\n"


def _rows(sizes: Sizes, part: str) -> list[tuple[str, str, dict[str, Any]]]:
    ordered = sorted(sizes, key=int)
    found = [(size, sizes[size][part]["found"]) for size in ordered if part in sizes[size]]
    return [(size, name, row) for size, rows in found for name, row in rows.items() if name != "peaks"]


def _table(title: str, head: list[str], rows: list[list[object]]) -> str:
    lines = [title, "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)]) + "\n"


def _step(sizes: Sizes) -> str:
    head = ["px", "form", "ms a step and photo", "times as fast"]
    rows = [[s, name, f"{r['milliseconds']:.1f}", f"{r['times_as_fast']:.2f}"] for s, name, r in _rows(sizes, "step")]
    return _table("One step of the paper's projector:", head, rows)


def _hour(sizes: Sizes) -> str:
    rows = [[s, name, f"{r['milliseconds']:.1f}", r["photos_an_hour"]] for s, name, r in _rows(sizes, "hour")]
    return _table("Photos by `balanced`:", ["px", "photos together", "ms a step and photo", "photos an hour"], rows)


def _precision(sizes: Sizes) -> str:
    found = _rows(sizes, "precision")
    rows = [[s, name, f"{r['milliseconds']:.1f}", f"{r['times_as_fast']:.2f}"] for s, name, r in found]
    return _table("Precision of the features:", ["px", "precision", "ms a step and photo", "times as fast"], rows)


def _compile(sizes: Sizes) -> str:
    head = [
        "px",
        "photos together",
        "ms a step and photo",
        "compiled",
        "times as fast",
        "s to compile",
        "made up for by",
    ]
    columns = ["plain_milliseconds", "milliseconds", "times_as_fast", "seconds_to_compile"]
    rows = [
        [s, name, *(r[c] for c in columns), f"{r['photos_to_make_up']} photos" if r["photos_to_make_up"] else "none"]
        for s, name, r in _rows(sizes, "compile")
    ]
    return _table("One step of `balanced` with torch.compile:", head, rows)


def _memory(sizes: Sizes) -> str:
    rows = [[s, name, r["peak_mb"], r["of_steps_mb"]] for s, name, r in _rows(sizes, "memory")]
    return _table("Peak memory:", ["px", "form", "MB", "of it by the steps"], rows)


def _floor(sizes: Sizes) -> str:
    head = ["px", "form", "operators", "GFLOP", "MB moved", "floor ms", "ms a step and photo", "share of the floor"]
    columns = ["operators", "gflop", "megabytes", "floor_milliseconds", "milliseconds"]
    rows = [[s, name, *(r[c] for c in columns), f"{r['share']:.0%}"] for s, name, r in _rows(sizes, "floor")]
    peaks = {
        size: parts["floor"]["found"]["peaks"]
        for size, parts in sorted(sizes.items(), key=lambda item: int(item[0]))
        if "floor" in parts
    }
    best = "; ".join(
        f"{size} px: {one['peak_gflops']} GFLOP/s, {one['peak_gb_per_second']} GB/s" for size, one in peaks.items()
    )
    return _table(f"Least time of a step's operators, by the peaks measured beside each ({best}):", head, rows)


def _until(sizes: Sizes) -> str:
    head = [
        "px",
        "photos",
        "paper's LPIPS",
        "its seconds a photo",
        "`balanced` is there after",
        "steps",
        "times as fast",
    ]
    rows = []
    for size, parts in sizes.items():
        if "until" in parts:
            r = parts["until"]["found"]
            after = "" if r["seconds"] is None else f"{r['seconds']} s, {r['reached']}"
            steps = ", ".join(str(step) for step in r["steps"])
            paper = [f"{r['paper_lpips']:.4f}", r["paper_seconds"]]
            rows.append([size, r["photos"], *paper, after, steps, r["times_as_fast"] or ""])
    return _table("Until `balanced` has the LPIPS that `paper` ends with:", head, rows)


WRITERS: dict[str, Callable[[Sizes], str]] = {
    "step": _step,
    "hour": _hour,
    "precision": _precision,
    "compile": _compile,
    "memory": _memory,
    "floor": _floor,
    "until": _until,
}

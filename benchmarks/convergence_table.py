"""Table and figure of benchmarks.convergence."""

from __future__ import annotations

import io
import statistics
from typing import Any

import torch

ADAM, LBFGS, PRECONDITIONER, BOTH = "Adam", "L-BFGS", "preconditioner", "preconditioner and L-BFGS history"
COLOURS = {ADAM: "#777777", LBFGS: "#1f77b4", PRECONDITIONER: "#ff7f0e", BOTH: "#d62728"}
TICKS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 2, 3, 5)  # of LPIPS

Curves = dict[str, list[float]]  # LPIPS after 0, 1, 2 ... steps, by face


def times_of(runs: dict[str, tuple[Curves, list[float]]]) -> dict[str, float]:
    """The time of each method's step relative to Adam's."""
    seconds = {method: statistics.median(values) for method, (_, values) in runs.items()}
    return {method: round(value / seconds[ADAM], 3) if seconds[ADAM] else 1.0 for method, value in seconds.items()}


def summary(curves_by_method: dict[str, Curves], times: dict[str, float]) -> dict[str, Any]:
    """Quartiles over the faces after each step, and when each method has the LPIPS that Adam ends with."""
    quartiles = {method: quartiles_of(curves) for method, curves in curves_by_method.items()}
    goal = quartiles[ADAM]["median"][-1]
    return {
        method: {
            **values,
            "step_time": times[method],
            "steps_to_adams_end": next((step for step, lpips in enumerate(values["median"]) if lpips <= goal), None),
        }
        for method, values in quartiles.items()
    }


def quartiles_of(curves: Curves) -> dict[str, list[float]]:
    """LPIPS over the faces after each step: the quartiles, linearly interpolated."""
    each = torch.tensor(list(curves.values()), dtype=torch.float64)  # [faces, steps + 1]
    places = each.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64), dim=0)
    names = ("lower_quartile", "median", "upper_quartile")
    return {name: [round(value, 5) for value in row.tolist()] for name, row in zip(names, places, strict=True)}


def table(result: dict[str, Any]) -> str:
    """Medians after some steps as Markdown."""
    steps = sorted({max(1, round(share * result["num_steps"])) for share in (0.1, 0.25, 0.5, 1.0)})
    columns = ["start", "method", *(f"LPIPS after {step}" for step in steps), "steps to Adam's end", "time of a step"]
    lines = [_line(columns), "|---" * len(columns) + "|"]
    for start, methods in result["starts"].items():
        for method, row in methods.items():
            reached = row["steps_to_adams_end"]
            values = [f"{row['median'][step]:.3f}" for step in steps]
            lines.append(
                _line([start, method, *values, "" if reached is None else str(reached), f"{row['step_time']:.2f}"])
            )
    return "\n".join(lines) + "\n"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def limits_of(methods: dict[str, Any]) -> tuple[float, float]:
    """The range of all curves, with a margin."""
    lowest = min(min(row["lower_quartile"]) for row in methods.values())
    highest = max(max(row["upper_quartile"]) for row in methods.values())
    return lowest / 1.15, highest * 1.15


def figure(result: dict[str, Any]) -> bytes:
    """LPIPS against steps and against time, median and quartiles, a row for each start; the bytes of a PNG."""
    from matplotlib.figure import Figure

    picture = Figure(figsize=(10, 4 * len(result["starts"]) + 0.4), layout="constrained")
    grid = picture.subplots(len(result["starts"]), 2, squeeze=False, sharey="row")
    for (start, methods), (by_step, by_time) in zip(result["starts"].items(), grid, strict=True):
        for method, row in methods.items():
            steps = range(len(row["median"]))
            times = [step * row["step_time"] / result["num_steps"] for step in steps]
            for axes, x in ((by_step, steps), (by_time, times)):
                axes.plot(x, row["median"], color=COLOURS[method], label=method)
                axes.fill_between(
                    x, row["lower_quartile"], row["upper_quartile"], color=COLOURS[method], alpha=0.15, linewidth=0
                )
        by_step.set(xlabel="steps", ylabel=f"LPIPS ({result['lpips_backbone']})", title=f"start: {start}")
        by_time.set(xlabel="CPU time relative to Adam's run", title=f"start: {start}")
        for axes in (by_step, by_time):
            axes.set_yscale("log")
            axes.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
            axes.minorticks_off()
            axes.grid(alpha=0.3)
            axes.set_ylim(*limits_of(methods))
    grid[0][0].legend()
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()

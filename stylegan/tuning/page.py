"""The page of a search, OUTDIR/index.html: recipes, their scores, and the importance of each parameter."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path
from typing import Any

from relatent.core.files import write_bytes
from relatent.core.numbers import readable
from stylegan.tuning.search import importances

PAGE_FILE = "index.html"
PARAMETERS = ("lr", "gamma", "augment", "batch")
WIDTH, HEIGHT = 260, 170  # of a scatter plot
MARGIN = 34
LEFT = 48  # of the axis: room for scores of five digits

STYLE = """
:root { color-scheme: light dark; --ink: #1d1d1f; --faint: #6b6b70; --line: #d9d9de; --page: #fff;
        --card: #f6f6f8; --bar: #2563c9 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececef; --faint: #a0a0a8; --line: #3a3a40; --page: #161618;
          --card: #212124; --bar: #7aa7f5 } }
body { margin: 0 auto; max-width: 1200px; padding: 24px; background: var(--page); color: var(--ink);
       font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.15rem; margin: 32px 0 8px } .faint { color: var(--faint) }
table { border-collapse: collapse } th, td { text-align: left; padding: 3px 18px 3px 0;
       border-bottom: 1px solid var(--line);
       font-variant-numeric: tabular-nums } tr.best td { font-weight: 600 }
.bar { height: 14px; background: var(--bar); border-radius: 2px } .bars td:nth-child(2) { width: 320px }
.plots { display: flex; flex-wrap: wrap; gap: 16px }
figure { margin: 0; background: var(--card); padding: 8px; border-radius: 6px }
svg text { font: 11px system-ui, sans-serif; fill: var(--faint) } circle { fill: var(--bar); opacity: .75 }
circle.pruned { fill: none; stroke: var(--faint) }
"""


def write_page(study: Any, outdir: Path, origin: str) -> Path:
    """Write the page of a study; returns its path."""
    trials = [trial for trial in study.trials if trial.params and trial.state.is_finished()]
    complete = [trial for trial in trials if "scores" in trial.user_attrs]
    best = min(complete, key=lambda trial: trial.value) if complete else None
    body = [
        "<h1>Search for a recipe</h1>",
        f'<p class="faint">{len(complete)} recipes trained to the end, {len(trials) - len(complete)} given up early. '
        f"Scores are 1000 x the kernel distance (KID's formula) in features of {escape(origin)} to the fold held out: "
        "lower is better.</p>",
        _reading(best, complete),
        "<h2>Importance of each parameter</h2>",
        _importance_table(importances(study)),
        "<h2>Score by parameter</h2>",
        '<p class="faint">Each dot is a recipe; circles were given up early, and show their last score.</p>',
        '<div class="plots">' + "".join(_plot(name, trials) for name in PARAMETERS) + "</div>",
        "<h2>Recipes</h2>",
        _table(trials, best),
    ]
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, '
        f'initial-scale=1"><title>Search for a recipe</title><style>{STYLE}</style>{"".join(body)}</html>'
    )
    write_bytes(outdir / PAGE_FILE, page.encode())
    return outdir / PAGE_FILE


def _reading(best: Any, complete: list[Any]) -> str:
    if best is None:
        return "<p>No recipe was trained to its end yet.</p>"
    spread = best.user_attrs["spread"]
    near = [trial for trial in complete if trial is not best and trial.value - best.value < spread]
    text = (
        f"The best is recipe {best.number}: {readable(best.value)} on average over the folds, "
        f"with a spread of {readable(spread, 2)}."
    )
    if near:
        text += (
            f" {len(near)} other{'s are' if len(near) > 1 else ' is'} within that spread: that may be chance, "
            "and more folds or longer runs would tell."
        )
    own = next((trial for trial in complete if trial.number == 0), None)
    if own is not None and own is not best:
        text += f" The settings that the search started from scored {readable(own.value)}."
    return f"<p>{text}</p>"


def _importance_table(shares: dict[str, float]) -> str:
    if not shares:
        return '<p class="faint">Known once four recipes were trained to the end.</p>'
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td><div class="bar" style="width:{100 * share:.1f}%"></div></td>'
        f"<td>{share:.0%}</td></tr>"
        for name, share in shares.items()
    )
    return f'<table class="bars">{rows}</table><p class="faint">Share of the scores\' variance, by fANOVA.</p>'


def _score(trial: Any) -> float | None:
    """A trial's score: its value, or the last one before it was given up."""
    if trial.value is not None:
        return float(trial.value)
    last = list(trial.intermediate_values.values())
    return float(last[-1]) if last else None


def _plot(name: str, trials: list[Any]) -> str:
    """A scatter plot of scores against a parameter; scores on a logarithmic scale."""
    points = [
        (float(t.params[name]), score, t) for t in trials if (score := _score(t)) is not None and name in t.params
    ]
    if not points:
        return ""
    logarithmic = name in ("lr", "gamma", "batch")
    xs = [math.log(x) if logarithmic else x for x, _, _ in points]
    ys = [math.log10(max(y, 1e-3)) for _, y, _ in points]
    x0, x1, y0, y1 = min(xs), max(xs), min(ys), max(ys)

    def place(value: float, low: float, high: float, start: float, end: float) -> float:
        return start + (value - low) / (high - low or 1) * (end - start)

    dots = "".join(
        f'<circle r="4" cx="{place(x, x0, x1, LEFT + 6, WIDTH - 10):.1f}" '
        f'cy="{place(y, y0, y1, HEIGHT - MARGIN - 6, 12):.1f}"{"" if "scores" in t.user_attrs else " class=pruned"}>'
        f"<title>recipe {t.number}: {readable(value)}, score {readable(score)}</title></circle>"
        for x, y, (value, score, t) in zip(xs, ys, points, strict=True)
    )
    low, high = min(p[0] for p in points), max(p[0] for p in points)
    least, most = min(p[1] for p in points), max(p[1] for p in points)
    return (
        f'<figure><svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="score by {name}">'
        f'<path d="M{LEFT},8V{HEIGHT - MARGIN}H{WIDTH - 4}" fill="none" stroke="var(--line)"/>{dots}'
        f'<text x="{LEFT}" y="{HEIGHT - 18}">{readable(low, 2)}</text>'
        f'<text x="{WIDTH - 6}" y="{HEIGHT - 18}" text-anchor="end">{readable(high, 2)}</text>'
        f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 4}" text-anchor="middle">'
        f"{name}{', log' if logarithmic else ''}</text>"
        f'<text x="{LEFT - 5}" y="16" text-anchor="end">{readable(most)}</text>'
        f'<text x="{LEFT - 5}" y="{HEIGHT - MARGIN}" text-anchor="end">'
        f"{readable(least)}</text></svg></figure>"
    )


def _table(trials: list[Any], best: Any) -> str:
    heads = ["recipe", *PARAMETERS, "mean", "spread", "folds"]
    rows = []
    for trial in sorted(
        trials, key=lambda one: (one.value is None or "scores" not in one.user_attrs, _score(one) or 0)
    ):
        cells = [str(trial.number), *(readable(trial.params[name]) for name in PARAMETERS)]
        scores = trial.user_attrs.get("scores")
        if scores:
            folds = ", ".join(readable(score) for score in scores)
            cells += [readable(trial.value), readable(trial.user_attrs["spread"], 2), folds]
        else:
            cells += ["diverged" if trial.user_attrs.get("diverged") else "given up early", "", ""]
        mark = ' class="best"' if best is not None and trial.number == best.number else ""
        rows.append(f"<tr{mark}>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    return f"<table><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>{''.join(rows)}</table>"

"""The page of a training run, OUTDIR/index.html: samples, curves, settings and what the curves say. Opens offline."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from relatent.core.errors import DatasetError
from relatent.core.files import write_bytes
from relatent.core.numbers import readable
from relatent.core.results import read_json
from stylegan.training.metrics import NAMES
from stylegan.training.report.diagnosis import Log, is_number, readings

PAGE_FILE = "index.html"
LOG_FILE = "log.jsonl"
SETTINGS_FILE = "settings.json"
VIDEO_FILE = "interpolation.mp4"
METRICS_SUFFIX = ".metrics.json"  # after the name of the network that was measured
SAMPLES = re.compile(r"samples-([0-9]{6,12})\.png")  # TensorBoard's steps are numbers of 64 bits
MEASURED = re.compile(r"network-(\d+)\.metrics\.json")
COMPARED = ("generated", "generated_half", "floor")  # what is known of each measure
DAMAGED = "is not what python -m stylegan metrics writes, and was left out. Measure this network again."
MOST_POINTS = 800  # of a curve; more cannot be told apart

# What each chart shows: title, what to look for, range, level of a dotted line, and the columns of the log.
CHARTS: list[tuple[str, str, list[float] | None, float | None, dict[str, str]]] = [
    (
        "Losses",
        "They measure two opponents against each other: level curves mean balance, not standstill. They say nothing "
        "about the pictures' quality.",
        None,
        None,
        {"loss_g": "generator", "loss_d": "discriminator"},
    ),
    (
        "Discriminator's accuracy",
        "Share of pictures told right. Both near 1: it wins, the generator learns little. Both near 0.5: it guesses.",
        [0, 1],
        0.5,
        {"real_accuracy": "real pictures", "fake_accuracy": "generated pictures"},
    ),
    (
        "Distance to real pictures",
        "Of each snapshot to the validation pictures: lower is better. This curve, not the losses, shows progress.",
        None,
        None,
        {"distance": "Frechet distance (backbone)"},
    ),
    (
        "Variety",
        "How much pictures of a batch differ. Generated far below real: the generator has collapsed onto few pictures.",
        None,
        None,
        {"pairwise_real": "real pictures", "pairwise_fake": "generated pictures"},
    ),
    (
        "R1 penalty",
        "Squared gradient of the discriminator at real pictures. A steep rise announces trouble: raise --gamma.",
        None,
        None,
        {"r1": "R1"},
    ),
    (
        "Augmentation strength",
        "Adaptive augmentation (--ada) rises while the discriminator overfits. Rising without end: too few pictures.",
        [0, 1],
        None,
        {"augment": "probability"},
    ),
    (
        "Path length",
        "Levels off when equal steps in w change the picture equally.",
        None,
        None,
        {"path_length": "mean"},
    ),
]


def is_run(folder: Path) -> bool:
    """Whether a folder holds a training run."""
    return (folder / LOG_FILE).is_file() and (folder / SETTINGS_FILE).is_file()


def write_report(outdir: Path) -> Path:
    """Write OUTDIR/index.html from the run's files as they are now; returns its path.

    The page refers to the sample grids and the video beside it, and to nothing else.

    Raises:
        DatasetError: the folder holds no training run.
        OutputError: it cannot be written.
    """
    page = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    write_bytes(outdir / PAGE_FILE, page.replace("__DATA__", as_script_data(report_data(outdir))).encode())
    return outdir / PAGE_FILE


def report_data(outdir: Path) -> dict[str, Any]:
    """Everything the page shows."""
    log = Log.read(outdir / LOG_FILE)
    settings = _read_json(outdir / SETTINGS_FILE)
    last = log.lines[-1]
    spent = _duration(last.get("seconds", 0))
    measured = _measured(outdir)
    return {
        "title": f"Training of {settings.get('name', outdir.name)}",
        "summary": f"{last['kimg']:g} thousand pictures in {spent}; data: {settings.get('data', 'unknown')}",
        "readings": readings(log),
        "samples": _samples(outdir),
        "video": VIDEO_FILE if (outdir / VIDEO_FILE).is_file() else None,
        "charts": _charts(log) + _measured_charts([(kimg, found) for kimg, _, found in measured if found]),
        "measures": [
            {"title": f"After {kimg:g} thousand pictures", "rows": _rows(found) if found else [[f"{name} {DAMAGED}"]]}
            for kimg, name, found in measured
        ],
        "settings": sorted(_flat(settings)),
    }


def as_script_data(values: Any) -> str:
    """JSON that may stand inside a script element, whatever its texts contain."""
    return json.dumps(values).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def thinned(points: list[list[float]]) -> list[list[float]]:
    """At most about MOST_POINTS of a curve's points, the last among them."""
    step = -(-len(points) // MOST_POINTS)
    return points[::-1][:: max(step, 1)][::-1]


def _charts(log: Log) -> list[dict[str, Any]]:
    charts = []
    for title, text, limits, level, columns in CHARTS:
        lines = []
        for key, name in columns.items():
            points = log.points(key)
            if any(value for _, value in points):  # a column of zeros is of something that is off
                lines.append({"name": name, "points": thinned(points)})
        if lines:
            charts.append({"title": title, "text": text, "range": limits, "level": level, "lines": lines})
    return charts


def _measured(outdir: Path) -> list[tuple[float, str, dict[str, Any] | None]]:
    """What `python -m stylegan metrics` has measured of this run's networks, in order; None for damaged files."""
    found = [(MEASURED.fullmatch(file.name), file) for file in sorted(outdir.glob(f"network-*{METRICS_SUFFIX}"))]
    read = [(float(match[1]), file.name, read_json(file)) for match, file in found if match]
    return [(kimg, name, values if values and _is_measured(values) else None) for kimg, name, values in read]


def _is_measured(values: dict[str, Any]) -> bool:
    """Whether a file's values are those of :meth:`stylegan.measuring.measure.Measures.to_json`."""
    try:
        compared = [one[key] for kind in values["measures"].values() for one in kind.values() for key in COMPARED]
        numbers = [*compared, *values.get("latent", {}).values(), *values.get("counts", {}).values()]
    except (AttributeError, LookupError, TypeError):
        return False
    return all(isinstance(one, float) or is_number(one) for one in numbers)  # also infinite, as measured


def _measured_charts(measured: list[tuple[float, dict[str, Any]]]) -> list[dict[str, Any]]:
    """A chart for each kind of features whose Frechet distance is known of two snapshots or more."""
    charts = []
    for kind, names in NAMES.items():
        values = [(kimg, found.get("measures", {}).get(kind, {}).get("frechet")) for kimg, found in measured]
        known = [(kimg, one) for kimg, one in values if one and is_number(one["generated_half"] + one["floor"])]
        if len(known) > 1:
            lines = [
                {"name": "generated", "points": [[kimg, one["generated_half"]] for kimg, one in known]},
                {"name": "real against real", "points": [[kimg, one["floor"]] for kimg, one in known]},
            ]
            text = "As measured by python -m stylegan metrics, of equally many pictures."
            charts.append({"title": names["frechet"], "text": text, "range": None, "level": None, "lines": lines})
    return charts


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _rows(found: dict[str, Any]) -> list[list[str]]:
    half = found.get("counts", {}).get("half", "half")
    rows = [["", "generated", f"generated, n={half}", f"real against real, n={half}"]]
    for kind, measures in found.get("measures", {}).items():
        for name, one in measures.items():
            shown = NAMES.get(kind, {}).get(name, f"{name} ({kind})")
            rows.append([shown, *(readable(one[key], 4) for key in COMPARED)])
    rows += [[name, readable(value, 4), "", ""] for name, value in found.get("latent", {}).items()]
    return rows


def _samples(outdir: Path) -> list[tuple[float, str, int]]:
    """Thousands of pictures, file name and width of each sample grid, in order; without those that are damaged."""
    found = []
    for file in outdir.glob("samples-*.png"):
        match = SAMPLES.fullmatch(file.name)
        if match:
            with suppress(Exception), Image.open(file) as picture:  # Pillow raises many kinds for damaged files
                found.append((float(match[1]), file.name, picture.width))
    return sorted(found)


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as rows of dotted names and texts."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, "none" if value in (None, "") else str(value)))
    return rows


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(
            f"{path} cannot be read ({type(error).__name__}); expected a training run's file."
        ) from error
    if not isinstance(values, dict):
        raise DatasetError(f"{path} does not hold a table; expected a training run's file.")
    return values

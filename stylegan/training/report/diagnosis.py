"""Reads training logs, plots their curves, and describes the state of the run in words."""

from __future__ import annotations

import io
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from relatent.core.errors import DatasetError, MissingPackageError
from relatent.core.files import write_bytes
from relatent.core.provenance import software_tag
from relatent.core.results import read_json, require_replaceable
from relatent.core.wording import listed

RECENT = 0.25  # the last part of a log, over which values are averaged
CONFIDENT = 0.9  # accuracy on real and generated pictures above which the discriminator is too strong
COLLAPSED = 0.5  # pairwise distance of samples relative to real pictures below which the generator has collapsed
REQUIRED = {"kimg", "loss_g", "loss_d"}  # of a line of a log
LARGEST = 1e300  # of the numbers of a log; matplotlib multiplies what it draws
STRONG = 0.8  # probability of adaptive augmentation above which it shows in the generated pictures


@dataclass(frozen=True)
class Log:
    """The lines of a run's log.jsonl, oldest first; see :class:`stylegan.training.tick.Tick` for the keys."""

    lines: list[dict[str, float]]

    @classmethod
    def read(cls, path: Path) -> Log:
        """Read a log, skipping whatever a run does not write: half a line of a killed one, bytes that are no text.

        Raises:
            DatasetError: missing, empty, or not a training log.
        """
        try:
            text = path.read_bytes().decode(errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            raise DatasetError(f"{path} does not exist; expected the log.jsonl of a training run.") from None
        except OSError as error:
            raise DatasetError(f"{path} cannot be read ({error.strerror}); expected a training run's log.") from error
        lines = []
        for written in text.splitlines():
            try:
                line = json.loads(written)
            except (ValueError, RecursionError):
                continue
            numbers = {name: one for name, one in line.items() if is_number(one)} if isinstance(line, dict) else {}
            if numbers.keys() >= REQUIRED:
                lines.append(numbers)
        if not lines:
            raise DatasetError(
                f"{path} holds no line of a training log; expected JSON with the numbers {listed(sorted(REQUIRED))}."
            )
        return cls(lines)

    def column(self, name: str) -> list[float]:
        """The values of a key over the whole run, without lines that lack it."""
        return [value for _, value in self.points(name)]

    def points(self, name: str) -> list[list[float]]:
        """The curve of a key: thousands of pictures and value, without lines that lack it."""
        return [[float(line["kimg"]), float(line[name])] for line in self.lines if line.get(name) is not None]

    def recent(self, name: str) -> float | None:
        """The median of a key over the last quarter of the log; None if no line has it."""
        values = self.column(name)
        return statistics.median(values[-max(1, int(len(values) * RECENT)) :]) if values else None


def is_number(value: Any) -> bool:
    """Whether a value out of a JSON file is a finite number, and small enough to be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


def describe_run(log: Log) -> str:
    """A paragraph on the state of a run, with advice."""
    kimg = log.lines[-1]["kimg"]
    return " ".join([f"After {kimg:g} thousand pictures:", _balance(log), _variety(log), _progress(log)])


def readings(log: Log) -> list[tuple[str, str]]:
    """What the curves say: a heading and sentences on each question that they answer."""
    found = [("Balance", _balance(log)), ("Variety", _variety(log)), ("Progress", _progress(log))]
    found.append(("Augmentation", _augmentation(log)))
    return [(heading, text[0].upper() + text[1:]) for heading, text in found if text]


def draw_curves(log: Log, name: str) -> bytes:
    """Plot losses and the discriminator's accuracy against pictures seen; returns the bytes of a PNG.

    It says that it is of Relatent and of the network ``name``.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingPackageError("matplotlib", "train", "drawing curves") from None
    figure = Figure(figsize=(9, 7), layout="constrained")
    losses, accuracy = figure.subplots(2, 1, sharex=True)
    for key, label in (("loss_g", "generator"), ("loss_d", "discriminator")):
        losses.plot(*np.array(log.points(key)).reshape(-1, 2).T, label=label)
    losses.set_ylabel("loss")
    for key, label in (("real_accuracy", "real pictures"), ("fake_accuracy", "generated pictures")):
        accuracy.plot(*np.array(log.points(key)).reshape(-1, 2).T, label=label)
    accuracy.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
    accuracy.set(ylabel="discriminator's accuracy", ylim=(0, 1.02), xlabel="thousand pictures")
    for axes in (losses, accuracy):
        axes.grid(alpha=0.3)
        axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, format="png", metadata={"Software": software_tag(name)})
    return buffer.getvalue()


def write_curves(outdir: Path) -> tuple[Path, str]:
    """Write OUTDIR/curves.png from OUTDIR/log.jsonl; returns its path and the description of the run.

    Raises:
        DatasetError: the folder holds no training run.
        UsageError: there is a curves.png of somebody else.
        OutputError: it cannot be written.
    """
    log, path = Log.read(outdir / "log.jsonl"), outdir / "curves.png"
    require_replaceable([path], "OUTDIR")
    settings = read_json(outdir / "settings.json") or {}
    write_bytes(path, draw_curves(log, str(settings.get("name", outdir.absolute().name))))
    return path, describe_run(log)


def _balance(log: Log) -> str:
    real, fake = log.recent("real_accuracy"), log.recent("fake_accuracy")
    if real is None or fake is None:
        return "the log does not say how often the discriminator is right."
    shares = f"the discriminator is right about {real:.0%} of the real and {fake:.0%} of the generated pictures"
    if min(real, fake) > CONFIDENT:
        return (
            f"{shares}: it is winning, and the generator learns little from it. "
            "Raise --augment or use --ada, raise --gamma, or bring more pictures."
        )
    if max(real, fake) < 0.55:
        return f"{shares}, little better than by chance: it is too weak. Lower --gamma or --augment, or widen it."
    return f"{shares}: the two networks are balanced."


def _variety(log: Log) -> str:
    samples, real = log.recent("pairwise_fake"), log.recent("pairwise_real")
    if not samples or not real:
        return ""
    share = samples / real
    if share < COLLAPSED:
        return (
            f"Samples differ only {share:.0%} as much as real pictures do: the generator has collapsed onto few. "
            "Go back to an earlier state, raise --gamma, or lower --lr."
        )
    return f"Samples differ {share:.0%} as much as real pictures do, so there is no collapse."


def _progress(log: Log) -> str:
    distances = log.column("distance")
    if len(distances) < 4:
        return "Whether it still improves, the losses cannot say; look at the sample grids."
    half = len(distances) // 2
    before, after = min(distances[:half]), min(distances[half:])
    if after < before * 0.98:
        return f"The distance to real pictures is still falling ({before:.4g} to {after:.4g}): go on."
    return (
        f"The distance to real pictures has stopped falling ({before:.4g}, now {after:.4g}): "
        "go on with --lr at a third. If it does not fall then either, more time will not help."
    )


def _augmentation(log: Log) -> str:
    strength = log.recent("augment")
    if not strength:
        return ""
    if strength > STRONG:
        return (
            f"Adaptive augmentation has reached {strength:.0%}: the discriminator knows the pictures by heart. "
            "Bring more pictures, or start from a trained network."
        )
    return f"Adaptive augmentation holds the discriminator's overfitting back at {strength:.0%}, which is usual."

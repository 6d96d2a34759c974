"""How far a batch is, in words: `python -m inversion status OUT`."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

from inversion.batch.database import DONE, FAILED, PENDING, Database
from inversion.batch.overview import LastRun, counts, last_run, reasons
from relatent.core.wording import printable

MOST_REASONS = 5  # failures that are named


def status(outdir: Path) -> str:
    """What is done, failed and pending in OUT, how fast it goes, and the latest failures.

    Raises:
        OutputError: OUT has no manifest, or it cannot be read.
    """
    manifest = Database(outdir, read_only=True)
    try:
        lines, pending = [], 0
        for table in ("photos", "edits"):
            found = counts(manifest, table)
            if not found and table == "edits":
                continue
            states = ", ".join(f"{found.get(state, 0):,} {state}" for state in (DONE, FAILED, PENDING))
            lines.append(f"{table}: {states}")
            pending += found.get(PENDING, 0)
        run = last_run(manifest)
        if run is not None:
            lines.append(_about(run, pending))
        for table in ("photos", "edits"):
            lines += [f"failed: {printable(reason)}" for _, reason in reasons(manifest, MOST_REASONS, table)]
        return "\n".join(lines)
    finally:
        manifest.close()


def _about(run: LastRun, pending: int) -> str:
    where = "" if run.host == platform.node() else f" on {run.host}"
    if run.ended is not None:
        again = "; run the same command again to go on" if pending else ""
        return f"The last run has ended{again}."
    if not where and not _is_running(run.process):
        return "The last run was cut off; run the same command again to go on."
    seconds = time.time() - run.started
    text = f"Process {run.process}{where} has been at work for {_duration(seconds)}"
    if run.done:
        rate = run.done / seconds
        text += f", {rate * 3600:,.0f} an hour" if rate < 1 else f", {rate:,.1f} a second"
        text += f"; about {_duration(pending / rate)} left" if pending else ""
    return f"{text}."


def _is_running(process: int) -> bool:
    if os.name == "nt":
        return True  # there is no harmless signal
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"

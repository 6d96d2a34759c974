"""Times the README's demo as a process, from the command to its last line.

python -m benchmarks.demo
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from benchmarks.machine import describe
from relatent.core.files import write_bytes

ROOT = Path(__file__).parents[1]


@click.command()
@click.option("--runs", type=click.IntRange(min=1), default=5, show_default=True, help="After one that is not counted.")
def main(runs: int) -> None:
    """Time the demo and write results/demo.json."""
    seconds, report = [], {}
    for _ in range(runs + 1):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            command = [sys.executable, "-m", "inversion.project", "--demo", "--outdir", folder]
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
            seconds.append(time.perf_counter() - started)
            report = json.loads((Path(folder) / "astronaut" / "report.json").read_text())
    counted = sorted(round(value, 1) for value in seconds[1:])
    measures = {name: report[name] for name in ("lpips", "lpips_trunk", "psnr", "ms_ssim", "identity_distance")}
    result = {"seconds": {"median": statistics.median(counted), "all": counted}, **measures, "machine": describe()}
    write_bytes(Path(__file__).parent / "results" / "demo.json", (json.dumps(result, indent=2) + "\n").encode())
    click.echo(f"{result['seconds']}, {measures}")


if __name__ == "__main__":
    main()

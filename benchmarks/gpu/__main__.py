"""The command: python -m benchmarks.gpu --minutes 4"""

from __future__ import annotations

import time
from pathlib import Path

import click
import torch

from benchmarks.gpu.parts import FAILURES, PARTS, Bench
from benchmarks.gpu.record import Record, Row
from benchmarks.machine import describe
from relatent.core import cpu
from relatent.core.command import RelatentCommand
from relatent.core.device import pick_device

FOLDER = Path(__file__).parents[1] / "results"


@click.command(cls=RelatentCommand)
@click.option("--minutes", default=4.0, show_default=True, help="For all of it together.")
@click.option("--device", default=None, help="cuda, xpu, mps, cpu.  [default: the best there is]")
@click.option("--tiny", is_flag=True, help="Rehearse in sizes of no use but to see that it runs.")
@click.option("--parts", multiple=True, type=click.Choice(list(PARTS)), default=tuple(PARTS), help="Only these.")
@click.option("--out", default="gpu", show_default=True, help="Name of the result.")
@click.option("--folder", default=FOLDER, type=click.Path(path_type=Path), help="Where results go.")
def main(minutes: float, device: str | None, tiny: bool, parts: tuple[str, ...], out: str, folder: Path) -> None:
    """Measure what a GPU does, and write OUT.json and OUT.md as it goes."""
    begun = time.monotonic()
    where = pick_device(device)
    cpu.prepare(where)
    torch.manual_seed(0)
    about = {"device": str(where), "minutes": minutes, "tiny": tiny, "machine": describe()}
    record = Record(folder, out, about)
    bench = Bench(where, tiny, 0.0, record.note)
    chosen = [name for name in PARTS if name in parts]
    whole = sum(PARTS[name][0] for name in chosen)
    share = 0.0
    for name in chosen:
        part_share, part = PARTS[name]
        share += part_share / whole
        bench.until = begun + share * minutes * 60
        if time.monotonic() > begun + minutes * 60:
            record.add(Row(name, "all", "not begun: the time was over"))
            continue
        try:
            for row in part(bench):
                record.add(row)
                click.echo("  ".join(cell for cell in row.cells() if cell))
        except FAILURES as error:
            record.add(Row(name, "the rest", f"failed: {type(error).__name__}: {str(error).splitlines()[:1]}"))
    record.write(complete=True)


if __name__ == "__main__":
    main()

"""How fast inversion is, part by part, on the same networks and photos in one run.

    python -m benchmarks.speed --faces fairface-128.zip

step       one step of the paper's projector as published projectors write it (grouped per-sample convolution, float32,
           NCHW, LPIPS on the same backbone, the loss read every step) against one of ours, for one photo and
           several; the published one as it comes, in a process of its own, and once more with the memory that Relatent
           keeps
hour       photos an hour by `balanced`, for batches
precision  one step of `balanced` in float32, bfloat16 and, where there is TF32, in that
compile    one step of `balanced` as it is and with torch.compile, and how long that takes; the embedded network alone
memory     peak memory of a few steps, each in a process of its own
floor      operations and bytes of a step against this machine's measured peaks: benchmarks/floor.py
until      seconds until `balanced` reaches the LPIPS that `paper` has after its last step; the embedded network alone

128 px is the embedded network; larger ones have random weights, which do not change the time. Implementations are timed
alternately, and medians reported. Each part is written as soon as it is measured, so an interrupted run continues. On a
CPU, batches of more than 2^18 pixels are left out. On a shared machine use `--clock processor`, which counts the CPU
time of the process, with one thread.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import click
import torch

from benchmarks.floor import floor_of, measured_peaks
from benchmarks.machine import describe
from benchmarks.peak_memory import in_a_new_process
from benchmarks.speed_table import as_markdown
from benchmarks.steps import EMBEDDED_SIZE, Form, network_of, ours, photos_of, published
from benchmarks.timing import CLOCKS, Here, PublishedElsewhere, Timed, timed
from benchmarks.until import photos, until
from inversion.presets import PAPER, OptimiserSettings
from inversion.stages import presets_of
from relatent.core import cpu
from relatent.core.device import pick_device
from relatent.core.errors import UsageError
from relatent.core.execution import COMPILE, EAGER
from relatent.core.files import write_bytes
from relatent.core.precision import PRECISIONS, check_precision
from stylegan import Generator

FOLDER = Path(__file__).parent / "results"
PARTS = ("step", "hour", "precision", "compile", "memory", "floor", "until")
LARGEST_BATCH = 2**18  # pixels, on a processor
KEPT = "published, memory kept"
COMPILED = "TORCHINDUCTOR_CACHE_DIR"  # where PyTorch keeps what it has compiled

Forms = dict[str, tuple[int, Form]]  # photos of a step, and what does it, by name


@click.command()
@click.option("--sizes", multiple=True, type=int, default=(128, 256, 1024), show_default=True, help="Pixels.")
@click.option("--parts", multiple=True, type=click.Choice(PARTS), default=PARTS, show_default=True)
@click.option("--steps", default=10, show_default=True, help="Timed in a row.")
@click.option("--rounds", default=5, show_default=True, help="Timed, after one to warm up.")
@click.option("--batches", multiple=True, type=int, default=(1, 4, 16), show_default=True, help="Photos together.")
@click.option("--faces", default=None, type=click.Path(path_type=Path, exists=True), help="Zip with val/, for until.")
@click.option("--clock", type=click.Choice(list(CLOCKS)), default="wall", show_default=True, help="What seconds are.")
@click.option("--device", default=None)
@click.option("--overwrite", is_flag=True, help="Measure parts again that are there.")
@click.option("--out", default="speed", show_default=True, help="Name of the result.")
@click.option("--folder", default=FOLDER, type=click.Path(path_type=Path), help="Where results go.")
def main(
    sizes: tuple[int, ...],
    parts: tuple[str, ...],
    steps: int,
    rounds: int,
    batches: tuple[int, ...],
    faces: Path | None,
    clock: str,
    device: str | None,
    overwrite: bool,
    out: str,
    folder: Path,
) -> None:
    """Measure and write OUT.json and OUT.md."""
    where = pick_device(device)
    path = folder / f"{out}.json"
    result: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"sizes": {}}
    for size in sizes:
        known = result["sizes"].setdefault(str(size), {})
        wanted = [part for part in parts if overwrite or part not in known]
        if not wanted:
            continue
        network = network_of(size, where)
        bench = Bench(network, where, steps, rounds, _fitting(batches, size, where), faces, clock)
        for part in wanted:
            found = bench.measure(part)
            if found is not None:
                about = {"steps": steps, "rounds": rounds, "clock": clock, "machine": describe()}
                known[part] = {"found": found, **about}
                write_bytes(path, (json.dumps(result, indent=1) + "\n").encode())
                write_bytes(folder / f"{out}.md", as_markdown(result["sizes"]).encode())
    click.echo(as_markdown(result["sizes"]))


def _fitting(batches: tuple[int, ...], size: int, device: torch.device) -> list[int]:
    return [count for count in batches if device.type != "cpu" or count == 1 or count * size**2 <= LARGEST_BATCH]


class Bench:
    """One network on one device, and the parts that can be measured of it.

    Args:
        network: frozen, on the device.
        device: where.
        steps: in a row.
        rounds: that are counted.
        batches: photos together.
        faces: zip file with val/, or None.
        clock: name of one of ``CLOCKS``.
    """

    def __init__(
        self,
        network: Generator,
        device: torch.device,
        steps: int,
        rounds: int,
        batches: list[int],
        faces: Path | None,
        clock: str,
    ) -> None:
        self.network, self.device, self.batches, self.faces = network, device, batches, faces
        self.steps, self.rounds, self.clock = steps, rounds, clock
        cpu.prepare(device)  # as whatever inverts does
        self.size = network.resolution
        network.w_std()  # computed once for a network, by whoever comes first

    def measure(self, part: str) -> dict[str, Any] | None:
        """A part's figures; None where it does not apply to this network."""
        found: dict[str, Any] | None = getattr(self, f"_{part}")()
        return found

    def _step(self) -> dict[str, Any]:
        with PublishedElsewhere(self.size, self.device, self.clock) as as_it_comes:
            rows = self._timed(self._paper_steps(), published=as_it_comes)
        for row in rows.values():
            row["times_as_fast"] = round(rows["published"]["milliseconds"] / row["milliseconds"], 2)
        return rows

    def _paper_steps(self) -> Forms:
        """The paper's step in the published form and in ours, all in this process."""
        forms: Forms = {KEPT: (1, published(self.network, photos_of(self.size, 1, self.device)))}
        return forms | {f"ours, {count} together": self._ours(count, PAPER) for count in self.batches}

    def _ours(self, count: int, settings: OptimiserSettings, precision: str = "float32") -> tuple[int, Form]:
        return count, ours(self.network, photos_of(self.size, count, self.device), settings, precision)

    def _hour(self) -> dict[str, Any]:
        settings = self._balanced()
        rows = self._timed({str(count): self._ours(count, settings) for count in self.batches})
        for row in rows.values():
            row["photos_an_hour"] = round(3_600_000 / (row["milliseconds"] * settings.num_steps), 1)
        return rows

    def _precision(self) -> dict[str, Any]:
        forms = {}
        count = min(self.batches[-1], 4)
        for name in PRECISIONS:
            try:
                check_precision(name, self.device)
            except UsageError:
                continue
            forms[name] = self._ours(count, self._balanced(), name)
        rows = self._timed(forms)
        for row in rows.values():
            row["times_as_fast"] = round(rows["float32"]["milliseconds"] / row["milliseconds"], 2)
        return rows

    def _compile(self) -> dict[str, Any] | None:
        if self.size != EMBEDDED_SIZE:
            return None
        settings = self._balanced()
        rows: dict[str, Any] = {}
        for count in self.batches:
            plain, quick = (
                ours(self.network, photos_of(self.size, count, self.device), settings, execution=execution)
                for execution in (EAGER, COMPILE)
            )
            seconds = self._to_compile(quick)
            both = self._timed({"plain": (count, plain), "compiled": (count, quick)})
            before, after = (both[name]["milliseconds"] for name in ("plain", "compiled"))
            saved = (before - after) * settings.num_steps / 1000
            rows[str(count)] = {
                "plain_milliseconds": before,
                "milliseconds": after,
                "times_as_fast": round(before / after, 2),
                "seconds_to_compile": round(seconds, 1),
                "photos_to_make_up": math.ceil(seconds / saved) if saved > 0 else None,
            }
        return rows

    def _to_compile(self, form: Form) -> float:
        """Seconds of the first two steps, the second of which compiles what the end of the first one asks for."""
        with tempfile.TemporaryDirectory() as nothing_yet, mock.patch.dict(os.environ, {COMPILED: nothing_yet}):
            return Here(form, self.device).seconds(2)

    def _memory(self) -> dict[str, Any]:
        wanted = [("published", 1), *(("ours", count) for count in self.batches)]
        return {
            kind if kind == "published" else f"{kind}, {count} together": in_a_new_process(
                self.size, kind, count, str(self.device)
            )
            for kind, count in wanted
        }

    def _floor(self) -> dict[str, Any]:
        peaks = measured_peaks(self.device, CLOCKS[self.clock])
        forms = self._paper_steps()
        times = self._timed(forms)
        rows = {
            name: floor_of(form, times[name]["milliseconds"], count, peaks) for name, (count, form) in forms.items()
        }
        best = {"peak_gflops": round(peaks.flops / 1e9, 1), "peak_gb_per_second": round(peaks.bandwidth / 1e9, 1)}
        return {**rows, "peaks": best}

    def _until(self) -> dict[str, Any] | None:
        if self.size != EMBEDDED_SIZE:
            return None
        images = photos(self.network, self.faces)
        presets = presets_of(self.network)
        return until(self.network, images, presets["paper"], presets["balanced"], CLOCKS[self.clock])

    def _balanced(self) -> OptimiserSettings:
        settings = presets_of(self.network)["balanced"].optimiser
        assert settings is not None
        return settings

    def _timed(self, forms: Forms, **others: Timed) -> dict[str, dict[str, float]]:
        """Forms in this process and ``others`` elsewhere, one photo a step, alternately."""
        here = {name: (count, Here(form, self.device, CLOCKS[self.clock])) for name, (count, form) in forms.items()}
        return timed({**{name: (1, other) for name, other in others.items()}, **here}, self.steps, self.rounds)


if __name__ == "__main__":
    main()

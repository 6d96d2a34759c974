"""Many visitors of the page at once, each inverting a photo: none lost, memory bounded.

    python -m benchmarks.visitors                       16 visitors, preset balanced with 50 steps
    python -m benchmarks.visitors --visitors 4 --steps 300

A real server in a process of its own; each visitor is a client of its API with a session of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.machine import describe
from inversion import Inversion
from inversion.project import demo_photo
from relatent.core.files import write_bytes

RESULTS = Path(__file__).parent / "results" / "visitors.json"
SERVE = """
import sys, time
from relatent.web import Settings, build_page
page = build_page(Settings(max_queue=int(sys.argv[1])))
print(page.launch(wait=False), flush=True)
sys.stdin.read()
page.close()
"""


@click.command()
@click.option("--visitors", default=16, show_default=True)
@click.option("--steps", default=50, show_default=True, help="Of the optimiser.")
def main(visitors: int, steps: int) -> None:
    """Measure a page under load."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(visitors)],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        address = server.stdout.readline().strip()
        result = measured(address, server.pid, visitors, steps)
    finally:
        server.stdin.close()
        server.wait(60)
    write_bytes(RESULTS, (json.dumps(result, indent=2) + "\n").encode())
    click.echo(json.dumps(result, indent=2))


def measured(address: str, process: int, visitors: int, steps: int) -> dict[str, Any]:
    """One warm-up, then everybody at once."""
    warm = session(address, steps=3)
    at_rest = resident(process)
    memory = Peak(process)
    load = os.getloadavg()[0]
    started = time.perf_counter()
    with memory, ThreadPoolExecutor(visitors) as crowd:
        outcomes = list(crowd.map(lambda _: session(address, steps), range(visitors)))
    seconds = time.perf_counter() - started
    done = [one for one in outcomes if "error" not in one]
    waits = [one["seconds"] for one in done]
    return {
        "visitors": visitors,
        "preset": "balanced",
        "steps": steps,
        "done": len(done),
        "lost": visitors - len(done),
        "errors": [one["error"] for one in outcomes if "error" in one],
        "same_latent_for_all": len({one["latent"] for one in done}) == 1,
        "seconds": {
            "all": round(seconds, 1),
            "first": round(min(waits), 1),
            "median": round(float(np.median(waits)), 1),
            "last": round(max(waits), 1),
            "alone_with_3_steps": round(warm["seconds"], 1),
        },
        "memory_mb": {"at_rest": at_rest, "most": memory.most, "after": resident(process)},
        "load_average_before": round(load, 1),
        "machine": describe(),
    }


def session(address: str, steps: int) -> dict[str, Any]:
    """One visitor with a session of its own: uploads the astronaut, inverts it, reads what comes back."""
    from gradio_client import Client, handle_file

    started = time.perf_counter()
    try:
        client = Client(address, verbose=False)
        result = client.predict(handle_file(demo_photo()), num_steps=steps, api_name="/invert")
        latent = Inversion.load(Path(result[1])).ws.numpy().tobytes().hex()[:64]
    except Exception as error:  # whatever happened to this visitor, it is counted as lost and told
        return {"error": f"{type(error).__name__}: {error}"[:300]}
    return {"seconds": time.perf_counter() - started, "latent": latent}


def resident(process: int) -> int:
    """Megabytes of memory that a process holds."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) // 1000


class Peak:
    """The most memory that a process holds during a ``with`` block, looked at four times a second."""

    def __init__(self, process: int) -> None:
        self.process, self.most = process, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.25):
            self.most = max(self.most, resident(self.process))


if __name__ == "__main__":
    main()

"""What training/on_gpu.sh does, in order, each part in a process of its own.

A part that fails or takes too long is stopped, and the next one goes on.

Everything is written into OUT as soon as there is any of it, so that a run that is cut short still counts:

parts.txt             what the tests and the measuring of times said
times.json, times.md  the device, and seconds of training and inversion steps, by benchmarks.gpu
train.txt, log.jsonl  what the training said, and its log
samples.png           faces of the averaged generator
network.safetensors   the averaged generator, in half precision
state.safetensors     what the training goes on from, in half precision
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
import torch

from relatent.core.command import PATH, RelatentCommand
from relatent.core.errors import CheckpointError, UsageError
from stylegan.formats.checkpoint import read_provenance, save_generator
from stylegan.formats.loading import load
from stylegan.training.run import LOG_FILE, STATE_FILE
from stylegan.training.state import compact_state, images_seen, read_settings
from training import rehearsal

FOLDER = Path(__file__).parent
WRITING = 45.0  # seconds kept back for the last snapshot
PART = 60.0  # seconds each part before the training may take
POLL = 2.0  # seconds between looks for a new snapshot
TIMED = ("facts", "training", "step")  # of the parts of benchmarks.gpu; these need no embedded network
TESTS = "tests/cuda/test_against_the_cpu.py tests/cuda/test_training_and_inverting.py"  # nor do these
# What a run that trains need not take along, of what git tracks: 24.4 MiB of weights, and pictures.
LEFT_OUT = (
    "weights/faces-128/encoder.safetensors",
    "weights/faces-128/preconditioner.safetensors",
    "weights/faces-128/generator.safetensors",
    "docs/images",
    "benchmarks/results",
)


@dataclass(frozen=True)
class Plan:
    """How large everything is."""

    device: str = "cuda"
    resolution: int = 128
    options: str = "--batch 64 --precision bfloat16 --compile --kimg 100000 --tick 10 --snap 6 --fade-kimg 100"


TINY = Plan("cpu", rehearsal.RESOLUTION, "--batch 8 --kimg 0.2 --tick 0.05 --snap 100")


@click.command(cls=RelatentCommand)
@click.option("--data", type=PATH, help="Zip file or folder of training pictures.")
@click.option("--data-folder", default="train", show_default=True, help="Only the pictures below this folder of it.")
@click.option("--validation-folder", default="val", show_default=True, help="Pictures kept back; '' for none.")
@click.option("--out", required=True, type=PATH, help="Folder for what comes of it.")
@click.option("--minutes", default=9.5, show_default=True, help="For all of it together.")
@click.option("--states", default=FOLDER, type=PATH, help="Folder of states to choose from.")
@click.option("--tests", default=TESTS, show_default=True, help="What pytest is given.")
@click.option("--train-options", default="", help="More options of `python -m stylegan train`, '--lr 0.003' for one.")
@click.option("--rehearse", is_flag=True, help="At a tiny size on the CPU, with pictures and a state made up for it.")
def main(
    data: Path | None,
    data_folder: str,
    validation_folder: str,
    out: Path,
    minutes: float,
    states: Path,
    tests: str,
    train_options: str,
    rehearse: bool,
) -> None:
    """Test, time and train on a GPU for a few minutes."""
    end = time.monotonic() + minutes * 60
    plan = TINY if rehearse else Plan()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if rehearse:
            data, states = rehearsal.make(Path(folder))
        if data is None:
            raise UsageError("--data is missing; expected a zip file or folder of pictures, or --rehearse.")
        state, flag = newest_state(states, plan.resolution)  # before anything else, as nothing is of use without
        click.echo(f"goes on from {state} after {images_seen(state)} pictures")
        log = out / "parts.txt"
        log.unlink(missing_ok=True)
        pytest = ["-m", "pytest", "-o", "addopts=", "-q", "-m", "cuda", "-W", "default", "-p", "no:cacheprovider"]
        run_part("tests", [*pytest, *shlex.split(tests), "--device", plan.device], log, PART)
        times = ["-m", "benchmarks.gpu", "--device", plan.device, "--folder", str(out), "--out", "times"]
        times += ["--minutes", f"{(PART - 5) / 60:.3f}", *(word for part in TIMED for word in ("--parts", part))]
        run_part("times", [*times, *(["--tiny"] if rehearse else [])], log, PART)
        where = ["--data", str(data), "--data-folder", data_folder, "--device", plan.device]
        if validation_folder:
            where += ["--validation-folder", validation_folder]
        options = [*shlex.split(plan.options), *shlex.split(train_options)]
        train([flag, str(state), *where, *options], Path(folder), out, end)


def newest_state(folder: Path, resolution: int) -> tuple[Path, str]:
    """The state in ``folder`` that has seen most pictures at this size, or half of it, and the option to begin with it.

    Raises:
        UsageError: there is none.
    """
    found = []
    for file in sorted(folder.glob("*.safetensors")):
        try:
            found.append((read_settings(file).generator.resolution, images_seen(file), file))
        except CheckpointError:
            continue  # a network, or something else
    for side, flag in ((resolution, "--resume"), (resolution // 2, "--grow-from")):
        fitting = [entry for entry in found if entry[0] == side]
        if fitting:
            return max(fitting)[2], flag
    raise UsageError(f"{folder} holds no training state of {resolution} px or half of it. Put one there.")


def run_part(name: str, arguments: list[str], log: Path, seconds: float) -> int | None:
    """Run Python with ``arguments`` and add what it says to ``log``; its exit status, or None if it took too long."""
    started = time.monotonic()
    with log.open("a") as file:
        try:
            status = subprocess.run(
                [sys.executable, *arguments], stdout=file, stderr=subprocess.STDOUT, timeout=seconds, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            status = None
    lines = log.read_text().splitlines()
    click.echo(
        f"{name}: {status_in_words(status)} after {time.monotonic() - started:.0f} s. {lines[-1] if lines else ''}"
    )
    return status


def status_in_words(status: int | None) -> str:
    return "stopped" if status is None else f"status {status}"


def train(arguments: list[str], folder: Path, out: Path, end: float) -> None:
    """Train until ``end``, a moment of time.monotonic(), and keep every snapshot; without torch.compile if it fails.

    Raises:
        UsageError: no snapshot came of it.
    """
    attempts = [arguments]
    if "--compile" in arguments:
        attempts.append([*(argument for argument in arguments if argument != "--compile"), "--no-compile"])
    for number, attempt in enumerate(attempts):
        run, left = folder / f"run-{number}", end - time.monotonic() - WRITING
        if left <= 0:
            break
        command = ["-m", "stylegan", "train", "--outdir", str(run), "--minutes", f"{left / 60:.3f}", *attempt]
        if watch([sys.executable, *command], run, out, end) == 0:
            return
        click.echo((out / "train.txt").read_text()[-2000:])
        if (out / "state.safetensors").exists():
            return  # it had begun well; better keep that than begin again
    if not (out / "state.safetensors").exists():
        raise UsageError(f"no snapshot came of the training; {out / 'train.txt'} says why. Give it more --minutes.")


def watch(command: list[str], run: Path, out: Path, end: float) -> int | None:
    """Run a training in the folder ``run`` and bring each snapshot to ``out``; None if it had to be stopped."""
    seen = 0.0
    with (out / "train.txt").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        while True:
            try:
                process.wait(POLL)
            except subprocess.TimeoutExpired:
                if time.monotonic() > end:
                    process.kill()
            state = run / STATE_FILE
            if state.exists() and state.stat().st_mtime > seen:
                seen = state.stat().st_mtime
                keep_snapshot(run, out)
            if process.returncode is not None:
                return process.returncode


def keep_snapshot(run: Path, out: Path) -> None:
    """The newest snapshot of a run, in half precision."""
    network = max(run.glob("network-*.safetensors"))
    generator = load(network)
    save_generator(generator, out / "network.safetensors", provenance=read_provenance(network), dtype=torch.float16)
    compact_state(run / STATE_FILE, out / "state.safetensors")
    shutil.copyfile(max(run.glob("samples-*.png")), out / "samples.png")
    shutil.copyfile(run / LOG_FILE, out / LOG_FILE)
    click.echo(
        f"after {images_seen(out / 'state.safetensors')} pictures: {(out / LOG_FILE).read_text().splitlines()[-1]}"
    )


if __name__ == "__main__":
    main()

"""The parts of the command. Each yields figures, the most telling ones first."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.floor import Peaks, floor_of, measured_peaks
from benchmarks.gpu.record import Row
from benchmarks.steps import EMBEDDED_SIZE, Form, network_of, ours, photos_of, published
from benchmarks.until import until
from editing.directions.direction import Direction
from editing.edits import moved
from inversion.config import InvertConfig
from inversion.inversion import Inversion
from inversion.losses.loss import Target
from inversion.losses.perceptual import load_perceptual
from inversion.optim.projector import Step, forget_captured_steps, optimise
from inversion.pipeline import Pipeline
from inversion.presets import PAPER, PRESET_NAMES, OptimiserSettings
from inversion.stages import presets_of
from relatent.core import device as devices
from relatent.core.device import synchronize
from relatent.core.errors import Cancelled, RelatentError
from relatent.core.execution import COMPILE, EAGER, GRAPH
from relatent.core.images import from_uint8, read_photo, to_pixels
from relatent.core.precision import check_precision, computing_in
from relatent.web.pictures import data_uri
from stylegan import Generator, GeneratorConfig, network_id
from stylegan.networks.discriminator import DiscriminatorConfig
from stylegan.training.loss import GanLossWeights
from stylegan.training.settings import TrainingSettings
from stylegan.training.trainer import Trainer
from weights.embedded import DEFAULT_NETWORK

ROOT = Path(__file__).parents[2]
ASTRONAUT = ROOT / "tests" / "cuda" / "astronaut.png"  # aligned for the embedded network, NASA's, public domain
R1_INTERVAL = 16
FAILURES = Exception  # whatever fails costs one figure: nobody may get such a device a second time


@dataclass
class Bench:
    """Where and how large.

    Attributes:
        device: where.
        tiny: sizes of no use but to see that all of it runs.
        until: moment of ``time.monotonic()`` at which the present part should end.
        note: keeps what is no figure, by name.
    """

    device: torch.device
    tiny: bool
    until: float
    note: Callable[[str, Any], None]

    @property
    def sizes(self) -> tuple[int, ...]:
        return (16, 32) if self.tiny else (1024, 256, 512)

    @property
    def batches(self) -> tuple[int, ...]:
        return (1, 2) if self.tiny else (1, 4, 16)

    @property
    def left(self) -> float:
        """Seconds that the present part has left."""
        return self.until - time.monotonic()

    def network(self, size: int) -> Generator:
        """The embedded network at its size; else a random one of published width, or a narrow one."""
        if size == EMBEDDED_SIZE or not self.tiny:
            return network_of(size, self.device)
        torch.manual_seed(0)
        config = GeneratorConfig(
            resolution=size, z_dim=8, w_dim=12, mapping_layers=2, channel_base=64, channel_max=8, conv_clamp=None
        )
        return Generator(config, name=f"random-{size}").to(self.device).eval().requires_grad_(False)

    def step_seconds(self, form: Form) -> float:
        """Seconds of one step: the best of some rounds of half a second, after one to warm up."""
        self.timed(form, 4)  # captures too
        count = max(2, min(200, int(0.5 / max(self.timed(form, 4) / 4, 1e-6))))
        rounds = 1 if self.tiny else 3
        return min(self.timed(form, count) / count for _ in range(rounds))

    def timed(self, form: Form, count: int) -> float:
        """Seconds of so many steps together."""
        synchronize(self.device)
        started = time.perf_counter()
        form(count)
        synchronize(self.device)
        return time.perf_counter() - started


Part = Callable[[Bench], Iterator[Row]]


def attempted(part: str, what: str, measure: Callable[[], Row]) -> Row:
    """A figure, or what was said instead of it."""
    try:
        return measure()
    except FAILURES as error:
        text = str(error).splitlines()[0] if str(error) else ""
        return Row(part, what, f"failed: {type(error).__name__}: {text:.200}")


def facts(bench: Bench) -> Iterator[Row]:
    """What the device is and can do at its best."""
    device = bench.device
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        yield Row("facts", "device", f"{found.name}, {found.multi_processor_count} multiprocessors")
        yield Row("facts", "memory", found.total_memory / 2**30, "GiB")
        yield Row("facts", "CUDA, cuDNN", f"{torch.version.cuda}, {torch.backends.cudnn.version()}")
    else:
        yield Row("facts", "device", str(device))
    yield Row("facts", "torch, Python", f"{torch.__version__}, {sys.version.split()[0]}")
    for precision in precisions(device):
        what = f"peak in {precision}"
        yield attempted("facts", what, lambda p=precision, w=what: _peak_row(bench, p, w))  # type: ignore[misc]


def precisions(device: torch.device) -> list[str]:
    """The precisions that a device has."""
    found = []
    for name in ("float32", "tf32", "bfloat16"):
        try:
            check_precision(name, device)
        except RelatentError:
            continue
        found.append(name)
    return found


def _peak_row(bench: Bench, precision: str, what: str) -> Row:
    peaks = _peaks(bench.device, precision)
    return Row("facts", what, peaks.flops / 1e12, "TFLOP/s", more={"gb_per_second": round(peaks.bandwidth / 1e9, 1)})


def _peaks(device: torch.device, precision: str) -> Peaks:
    if precision not in _known_peaks:
        with computing_in(precision, device) as dtype:
            _known_peaks[precision] = measured_peaks(device, dtype=dtype)
    return _known_peaks[precision]


_known_peaks: dict[str, Peaks] = {}


def without_places(text: str) -> str:
    """``text`` without the machine's own paths, which say nothing to others."""
    for place, name in ((sys.prefix, "PYTHON"), (str(ROOT), "RELATENT"), (tempfile.gettempdir(), "TEMPORARY")):
        text = text.replace(place, name)
    return text


def tests(bench: Bench) -> Iterator[Row]:
    """tests/cuda in a process of its own."""
    if importlib.util.find_spec("pytest") is None:
        yield Row("tests", "tests/cuda", "not run: there is no pytest")
        return
    command = [sys.executable, "-m", "pytest", "-v", "-m", "cuda", "-W", "default", "-p", "no:cacheprovider"]
    where = os.environ.get("RELATENT_CUDA_TESTS", "tests/cuda")
    try:
        done = subprocess.run(
            [*command, where, "--device", str(bench.device)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=max(5.0, bench.left),
            check=False,
        )
        text, ended = done.stdout + done.stderr, {0: "passed", 1: "failed"}.get(done.returncode, "not run")
    except subprocess.TimeoutExpired as error:
        text, ended = (error.stdout or b"").decode(errors="replace"), "cut short"
    lines = without_places(text).splitlines()
    bench.note("tests", lines[-60:])
    yield Row("tests", where, f"{ended}: {lines[-1] if lines else 'nothing said'}")


def step(bench: Bench) -> Iterator[Row]:
    """The paper's step, for each size: published form, ours in all ways; then more photos together."""
    for size in bench.sizes:
        if bench.left <= 0:
            return
        network = bench.network(size)
        baseline: list[float] = []
        for name, precision, form in _forms(bench, network, 1):
            if bench.left <= 0:
                return
            measure = partial(_step_row, bench, size, name, precision, form, 1, baseline)
            yield attempted("step", f"{size} px, {name}", measure)
        for count in bench.batches[1:]:
            for name, precision, form in _forms(bench, network, count, brief=True):
                if bench.left <= 0:
                    return
                name = f"{count} photos, {name}"
                measure = partial(_step_row, bench, size, name, precision, form, count, baseline)
                yield attempted("step", f"{size} px, {name}", measure)
        forget_captured_steps()
        del network
        devices.return_memory(bench.device)


def _forms(
    bench: Bench, network: Generator, count: int, brief: bool = False
) -> Iterator[tuple[str, str, Callable[[], Form]]]:
    """Name, precision and maker of each way to do the step."""
    photos = photos_of(network.resolution, count, bench.device)
    device = bench.device
    if not brief:
        yield "published form", "float32", lambda: published(network, photos)
    for precision in precisions(device):
        yield f"graph, {precision}", precision, lambda p=precision: ours(network, photos, PAPER, p, execution=GRAPH)  # type: ignore[misc]
    if not brief:
        yield "eager, float32", "float32", lambda: ours(network, photos, PAPER, execution=EAGER)


def _step_row(
    bench: Bench, size: int, name: str, precision: str, make: Callable[[], Form], count: int, baseline: list[float]
) -> Row:
    forget_captured_steps()
    devices.return_memory(bench.device)
    devices.forget_peak_memory(bench.device)
    form = make()
    seconds = bench.step_seconds(form) / count
    peak = devices.peak_memory(bench.device)
    more: dict[str, Any] = {"photos": count, "precision": precision}
    if peak is not None:
        more["peak_mib"] = round(peak / 2**20)
    target, met = "", None
    if name == "published form":
        baseline.append(seconds)
    elif baseline:
        more["times_as_fast"] = round(baseline[0] / seconds, 2)
        if size == 1024:
            target, met = "6x the published form", more["times_as_fast"] >= 6
    if "graph" in name and count == 1:  # operators are counted eagerly: a graph launches the same ones unseen
        floor = floor_of(_eager(bench, size, precision), seconds * 1000, 1, _peaks(bench.device, precision))
        more["floor"] = floor
        more["share_of_roofline"] = floor["share"]
    text = f"{size} px, {name}"
    if "times_as_fast" in more:
        text += f" ({more['times_as_fast']} x the published form"
        text += f", {more['share_of_roofline']:.0%} of the roofline)" if "share_of_roofline" in more else ")"
    return Row("step", text, seconds * 1000, "ms a photo", target, met, more)


def _eager(bench: Bench, size: int, precision: str) -> Form:
    """Our step for one photo, to be counted."""
    return ours(bench.network(size), photos_of(size, 1, bench.device), PAPER, precision, execution=EAGER)


def presets(bench: Bench) -> Iterator[Row]:
    """Seconds of each preset for one photo with the embedded network; then at 1024 px with random weights."""
    pipeline_network = bench.network(EMBEDDED_SIZE)
    photo = astronaut(EMBEDDED_SIZE)
    for name in PRESET_NAMES:
        yield attempted(
            "presets",
            f"{DEFAULT_NETWORK}, {name}",
            lambda n=name: _preset_row(bench, pipeline_network, photo, n, DEFAULT_NETWORK),  # type: ignore[misc]
        )
    yield attempted("presets", "balanced against paper", lambda: _until_row(bench, pipeline_network))
    size = bench.sizes[0]
    network, large = bench.network(size), astronaut(size)
    for name, share in (("balanced", 1.0), ("paper", 0.1), ("best", 1.0)):
        if bench.left <= 0:
            return
        yield attempted(
            "presets",
            f"{size} px, {name}",
            lambda n=name, s=share: _preset_row(bench, network, large, n, f"{size} px, random weights", s),  # type: ignore[misc]
        )
    yield attempted("presets", "cancelling", lambda: _cancel_row(bench, network, large))
    forget_captured_steps()


def astronaut(size: int) -> Tensor:
    """The astronaut's aligned face, float32 [1, 3, size, size] in [-1, 1]."""
    pixels = torch.from_numpy(read_photo(ASTRONAUT).pixels.copy()).permute(2, 0, 1)[None]
    image = from_uint8(pixels)
    side = image.shape[-1]
    if size == side:
        return image
    if size < side:
        return F.interpolate(image, size=(size, size), mode="area")
    return F.interpolate(image, size=(size, size), mode="bicubic", align_corners=False).clamp(-1, 1)


def _preset_row(bench: Bench, network: Generator, photo: Tensor, preset: str, label: str, share: float = 1.0) -> Row:
    """Seconds of a preset; of a ``share`` of its steps, times what is missing, where all would take too long."""
    steps = None
    plan = presets_of(network)[preset]
    if plan.optimiser is not None and (share < 1 or bench.tiny):
        steps = 4 if bench.tiny else int(plan.optimiser.num_steps * share)
    pipeline = Pipeline(network, InvertConfig(preset=preset, num_steps=steps), device=str(network.w_avg.device))
    seconds: dict[str, float] = {}
    pipeline.optimise(photo)  # warms up and captures
    synchronize(bench.device)
    pipeline.optimise(photo, seconds=seconds)
    whole = sum(seconds.values())
    scaled = ""
    if steps is not None and plan.optimiser is not None:
        factor = plan.optimiser.num_steps / steps
        whole += seconds.get("optimise", 0.0) * (factor - 1)
        scaled = f", from {steps} of {plan.optimiser.num_steps} steps"
    stages = {name: round(value, 4) for name, value in seconds.items()}
    return Row("presets", f"{label}, {preset}{scaled}", whole, "s a photo", more={"stages": stages})


def _until_row(bench: Bench, network: Generator) -> Row:
    plans = presets_of(network)
    paper, balanced = plans["paper"], plans["balanced"]
    if bench.tiny:
        paper, balanced = (
            dataclasses.replace(plan, optimiser=dataclasses.replace(plan.optimiser, num_steps=4))  # type: ignore[type-var]
            for plan in (paper, balanced)
        )
    execution = GRAPH if bench.device.type == "cuda" else EAGER
    found = until(network, astronaut(EMBEDDED_SIZE).to(bench.device), paper, balanced, execution=execution)
    times = found["times_as_fast"]
    value = float(times) if isinstance(times, int | float) else "not reached"
    met = value >= 50 if isinstance(value, float) else False
    what = f"{DEFAULT_NETWORK}, balanced reaches paper's loss"
    return Row("presets", what, value, "x as fast", "1/50 of paper's time", met, {"found": found})


def _cancel_row(bench: Bench, network: Generator, photo: Tensor) -> Row:
    """Seconds from the callback's False to the end of all work."""
    target = Target(photo.to(bench.device), load_perceptual("embedded", bench.device))
    said: list[float] = []

    def stop(step: Step) -> bool:
        if step.index < 6:
            return True
        said.append(time.perf_counter())
        return False

    execution = GRAPH if bench.device.type == "cuda" else EAGER
    try:
        optimise(network, target, dataclasses.replace(PAPER, num_steps=100), seed=0, progress=stop, execution=execution)
    except Cancelled:
        synchronize(bench.device)
    seconds = time.perf_counter() - said[0]
    return Row("presets", f"{network.resolution} px, cancelling", seconds, "s", "0.2 s", seconds <= 0.2)


def slider(bench: Bench) -> Iterator[Row]:
    """From a moved slider to the JPEG that the browser shows."""
    for size in (bench.sizes[0], EMBEDDED_SIZE):
        network = bench.network(size)
        yield attempted("slider", f"{size} px", lambda n=network: _slider_row(bench, n))  # type: ignore[misc]


def _slider_row(bench: Bench, network: Generator) -> Row:
    ws = network.mapping.truncate(network.sample_w(1, 0), 0.7).cpu()
    noise = tuple(level.cpu().clone() for level in network.synthesis.noise_buffers)  # as an inversion has its own
    face = Inversion(ws=ws, noise=noise, network=network_id(network))
    direction = Direction(
        vector=torch.ones(network.w_dim) / network.w_dim**0.5, name="one", network=network_id(network), source="none"
    )
    seconds = []
    for move in range(4 if bench.tiny else 25):
        started = time.perf_counter()
        edited = moved(face, [(direction, move / 10)])
        data_uri(to_pixels(edited.tensor(network))[0])
        seconds.append(time.perf_counter() - started)
    middle = statistics.median(seconds[len(seconds) // 4 :])
    target, met = ("50 ms", middle <= 0.05) if network.resolution == 1024 else ("", None)
    more = {"fastest_ms": round(min(seconds) * 1000, 2), "slowest_ms": round(max(seconds[1:]) * 1000, 2)}
    return Row("slider", f"{network.resolution} px, a move to its JPEG", middle * 1000, "ms", target, met, more)


def hour(bench: Bench) -> Iterator[Row]:
    """Photos an hour by `balanced`."""
    for size in (EMBEDDED_SIZE, bench.sizes[0]):
        network = bench.network(size)
        settings = presets_of(network)["balanced"].optimiser
        assert settings is not None
        for count in bench.batches:
            if bench.left <= 0:
                return
            yield attempted(
                "hour",
                f"{size} px, {count} together",
                lambda n=network, s=settings, c=count: _hour_row(bench, n, s, c),  # type: ignore[misc]
            )
        forget_captured_steps()
        devices.return_memory(bench.device)


def _hour_row(bench: Bench, network: Generator, settings: OptimiserSettings, count: int) -> Row:
    photos = photos_of(network.resolution, count, bench.device)
    execution = GRAPH if bench.device.type == "cuda" else EAGER
    seconds = bench.step_seconds(ours(network, photos, settings, execution=execution))
    what = f"{network.resolution} px, balanced, {count} together"
    return Row("hour", what, 3600 * count / (seconds * settings.num_steps), "photos an hour")


def training(bench: Bench) -> Iterator[Row]:
    """Seconds for 1,000 pictures, the fastest precision first."""
    for side in (32,) if bench.tiny else (128, 256):
        for precision in ("bfloat16", "float32"):
            if bench.left <= 0:
                return
            yield attempted(
                "training",
                f"{side} px, {precision}",
                lambda s=side, p=precision: _training_row(bench, s, p),  # type: ignore[misc]
            )


def _training_row(bench: Bench, side: int, precision: str, part: str = "training") -> Row:
    compiled = part == "compile"
    batch = 4 if bench.tiny else 64 if side <= 128 else 32
    sizes = {"resolution": side, "channel_base": 64 if bench.tiny else 4096 * side // 128, "channel_max": 128}
    settings = TrainingSettings(
        data="",
        data_folder=None,
        name="",
        generator=GeneratorConfig(z_dim=256, w_dim=256, mapping_layers=2, conv_clamp=None, **sizes),  # type: ignore[arg-type]
        discriminator=DiscriminatorConfig(conv_clamp=None, **sizes),  # type: ignore[arg-type]
        loss_weights=GanLossWeights(r1_gamma=0.05, r1_interval=R1_INTERVAL),
        batch=batch,
        precision=precision,
        compile=compiled,
    )
    images = torch.randint(0, 256, (4 * batch, 3, side, side), dtype=torch.uint8)
    devices.forget_peak_memory(bench.device)
    trainer = Trainer(settings, images, None, bench.device)
    count = (2 if bench.tiny else R1_INTERVAL) * batch  # of those steps, one has R1
    fastest = min(trainer.run_tick(count).seconds_per_kimg for _ in range(2 if bench.tiny else 3))
    peak = devices.peak_memory(bench.device)
    more: dict[str, Any] = {"batch": batch, "precision": precision, "compiled": compiled}
    if peak is not None:
        more["peak_mib"] = round(peak / 2**20)
    target, met = ("1.5 s", fastest <= 1.5) if side == 128 else ("", None)
    how = ", compiled" if compiled else ""
    what = f"training, {side} px, batch {batch}, {precision}{how}"
    return Row(part, what, float(fastest), "s for 1,000 pictures", target, met, more)


def profile(bench: Bench) -> Iterator[Row]:
    """Where a step's time goes."""
    network = bench.network(bench.sizes[0])
    photos = photos_of(network.resolution, 1, bench.device)
    for execution in (GRAPH, EAGER):
        what = f"{network.resolution} px, {execution}"
        yield attempted("profile", what, lambda e=execution, w=what: _profile_row(bench, network, photos, e, w))  # type: ignore[misc]
    forget_captured_steps()


def _profile_row(bench: Bench, network: Generator, photos: Tensor, execution: str, what: str) -> Row:
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    form, count = ours(network, photos, PAPER, execution=execution), 4
    form(6)
    plain = bench.timed(form, count) / count
    on_gpu = bench.device.type == "cuda"
    activities = [ProfilerActivity.CUDA] if on_gpu else [ProfilerActivity.CPU]
    with profiled(activities=activities) as found:
        bench.timed(form, count)
    attribute = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    kernels = sorted(((getattr(e, attribute), e.key, e.count) for e in found.key_averages()), reverse=True)
    busy = sum(time for time, _, _ in kernels) / 1e6 / count
    top = [
        {"kernel": name[:120], "share": round(time / 1e6 / count / max(busy, 1e-12), 4), "calls_a_step": calls / count}
        for time, name, calls in kernels[:10]
    ]
    bench.note(f"profile, {what}", top)
    idle = max(0.0, 1 - busy / plain)
    more = {"milliseconds": round(plain * 1000, 3), "busy_milliseconds": round(busy * 1000, 3), "kernels": len(kernels)}
    return Row("profile", f"{what}, idle share of a step", round(idle, 4), more=more)


def compiled(bench: Bench) -> Iterator[Row]:
    """Steps by torch.compile, and how long that takes."""
    if bench.tiny:
        yield Row("compile", "all", "left out of a rehearsal, of which it would take minutes")
        return
    for size in (256, 1024):
        if bench.left <= 0:
            return
        yield attempted("compile", f"{size} px", lambda s=size: _compiled_row(bench, s))  # type: ignore[misc]
    yield attempted("compile", "training", lambda: _training_row(bench, 128, "bfloat16", "compile"))


def _compiled_row(bench: Bench, size: int) -> Row:
    form = ours(bench.network(size), photos_of(size, 1, bench.device), PAPER, execution=COMPILE)
    first = bench.timed(form, 2)  # the second compiles what the end of the first one asks for
    seconds = bench.step_seconds(form)
    forget_captured_steps()
    more = {"seconds_to_compile": round(first, 1)}
    return Row("compile", f"{size} px, float32, after {first:.0f} s", seconds * 1000, "ms a photo", more=more)


PARTS: dict[str, tuple[float, Part]] = {
    "facts": (0.03, facts),
    "tests": (0.27, tests),
    "step": (0.25, step),
    "presets": (0.15, presets),
    "slider": (0.03, slider),
    "hour": (0.07, hour),
    "training": (0.12, training),
    "profile": (0.06, profile),
    "compile": (0.02, compiled),  # whatever is left
}

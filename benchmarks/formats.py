"""Foreign network files: do they load, how well do they agree with their own implementation, how fast, in what memory.

    python -m benchmarks.formats --formats ../shared/formats

Agreement is the largest difference from the reference arrays beside the small files there, relative to an array's
largest value. Seconds and peak memory (beyond what imports take) are of files as large as published ones, made here
with random weights and read in a process of its own, which has imported everything before its clock starts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.foreign import nvidia_network, rosinality_tensors, write_nvidia
from benchmarks.machine import describe
from inversion.encoders.loading import load_encoder
from relatent.core.files import write_bytes
from stylegan import Generator, GeneratorConfig, load, save_generator

FOLDER = Path(__file__).parent / "results"
RUNS = 3
NVIDIA = {
    "nvidia-sg2": "StyleGAN2-ADA pickle",
    "nvidia-sg2deep": "the same, 8 mapping layers",
    "nvidia-sg2cond": "the same, with classes",
    "nvidia-sg3t": "StyleGAN3-T pickle",
    "nvidia-sg3r": "StyleGAN3-R pickle",
}
MEASURE = """
import sys, time
from pathlib import Path
from {module} import {function} as read

def memory(key):  # megabytes; the usual getrusage would count the parent's, too
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024

Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
before = memory("VmRSS:")
started = time.perf_counter()
network = read(sys.argv[1])
print(time.perf_counter() - started, memory("VmHWM:") - before)
"""


@click.command()
@click.option("--formats", required=True, type=click.Path(path_type=Path, exists=True), help="Folder of small files.")
@click.option("--out", default="formats", show_default=True, help="Name of the result.")
def main(formats: Path, out: str) -> None:
    """Measure and write results/OUT.json and OUT.md."""
    rows = {kind: {"agreement": agreement_of_generator(formats, name)} for name, kind in NVIDIA.items()}
    rows["rosinality .pt"] = {"agreement": agreement_of_rosinality(formats)}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, kind in (("e4e", "e4e .pt, encoder"), ("psp", "pSp .pt, encoder")):
            rows[kind] = {"agreement": agreement_of_encoder(formats, name, folder)}
        for kind, (path, reader) in large_files(formats, folder).items():
            rows.setdefault(kind, {}).update(cost(path, *reader))
    result = {"formats": rows, "machine": describe()}
    write_bytes(FOLDER / f"{out}.json", (json.dumps(result, indent=2) + "\n").encode())
    text = as_markdown(rows)
    write_bytes(FOLDER / f"{out}.md", text.encode())
    click.echo(text)


def relative(ours: Tensor, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest value expected."""
    wanted = torch.from_numpy(expected)
    return float((ours - wanted).abs().max() / wanted.abs().max())


@torch.no_grad()
def agreement_of_generator(formats: Path, name: str) -> float:
    """Over every reference array of one of NVIDIA's files."""
    network = load(formats / f"{name}.pkl")
    with np.load(formats / f"{name}-reference.npz") as reference:
        z = torch.from_numpy(reference["z"])
        c = torch.from_numpy(reference["c"]).float() if "c" in reference else None
        ws, ws07 = network.mapping(z, c), network.mapping(z, c, truncation_psi=0.7)
        ours = {
            "ws": ws,
            "ws_psi07": ws07,
            "img_const": network.synthesis(ws),
            "img_psi07": network.synthesis(ws07),
            "img_plus": network.synthesis(torch.from_numpy(reference["ws_plus"])),
            "img_none": network.synthesis(ws, "none"),
        }
        return max(relative(value, reference[key]) for key, value in ours.items() if key in reference)


@torch.no_grad()
def agreement_of_rosinality(formats: Path) -> float:
    """Over every reference array of the .pt."""
    network = load(formats / "rosinality-8px.pt")
    with np.load(formats / "rosinality-8px-reference.npz") as reference:
        z = torch.from_numpy(reference["z"])
        ours = {
            "w": network.mapping(z)[:, 0],
            "img": network(z),
            "img_psi07": network(z, truncation_psi=0.7),
            "img_plus": network.synthesis(torch.from_numpy(reference["ws_plus"])),
        }
        return max(relative(value, reference[key]) for key, value in ours.items())


@torch.no_grad()
def agreement_of_encoder(formats: Path, name: str, folder: Path) -> float:
    """Codes of a checkpoint whose tensors follow the rule of the formats' README."""
    path = write_encoder(formats, name, folder / f"{name}.pt")
    with np.load(formats / f"{name}-reference.npz") as reference:
        return relative(load_encoder(path)(torch.from_numpy(reference["image"])), reference["codes"])


def write_encoder(formats: Path, name: str, path: Path) -> Path:
    """A whole checkpoint: encoder by the rule, a decoder with random weights, average and options."""
    shapes = json.loads((formats / f"{name}-keys.json").read_text())
    state = {f"encoder.{key}": by_rule(key, shape) for key, shape in shapes.items()}
    size = 1024 if name == "e4e" else 256
    state |= {f"decoder.{key}": tensor for key, tensor in rosinality_tensors(large_network(size)).items()}
    kind = {"e4e": "Encoder4Editing", "psp": "GradualStyleEncoder"}[name]
    options = {"encoder_type": kind, "start_from_latent_avg": True, "output_size": size, "learn_in_w": False}
    torch.save({"state_dict": state, "latent_avg": torch.zeros(512), "opts": options}, path)
    return path


def by_rule(name: str, shape: list[int]) -> Tensor:
    """A tensor as the formats' README has it."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if name.endswith("running_var"):
        return 0.5 + x.abs()
    if name.endswith(("running_mean", "bias")):
        return 0.1 * x
    return 1 + 0.1 * x if x.ndim == 1 else x / float(np.prod(shape[1:])) ** 0.5


def large_network(size: int = 1024) -> Generator:
    """A StyleGAN2 of published size with random weights."""
    torch.manual_seed(0)
    return Generator(GeneratorConfig(resolution=size), name="large").eval().requires_grad_(False)


def large_files(formats: Path, folder: Path) -> dict[str, tuple[Path, tuple[str, str]]]:
    """Files as large as published ones, by kind, each with the module and function that reads it."""
    network = large_network()
    stylegan, encoder = ("stylegan", "load"), ("inversion.encoders.loading", "load_encoder")
    files = {name: folder / name for name in ("own.safetensors", "half.safetensors", "sg2.pkl", "zip.pt", "legacy.pt")}
    save_generator(network, files["own.safetensors"])
    save_generator(network, files["half.safetensors"], dtype=torch.float16)
    write_nvidia(files["sg2.pkl"], G_ema=nvidia_network(network))
    checkpoint = {"g_ema": rosinality_tensors(network), "latent_avg": torch.zeros(512)}
    torch.save(checkpoint, files["zip.pt"])
    torch.save(checkpoint, files["legacy.pt"], _use_new_zipfile_serialization=False)
    return {
        "Relatent .safetensors": (files["own.safetensors"], stylegan),
        "the same, half precision": (files["half.safetensors"], stylegan),
        "StyleGAN2-ADA pickle": (files["sg2.pkl"], stylegan),
        "rosinality .pt": (files["zip.pt"], stylegan),
        "the same, before torch 1.6": (files["legacy.pt"], stylegan),
        "e4e .pt, encoder": (folder / "e4e.pt", encoder),
        "pSp .pt, encoder": (folder / "psp.pt", encoder),
        "StyleGAN3-T pickle": (formats / "nvidia-sg3t.pkl", stylegan),
        "StyleGAN3-R pickle": (formats / "nvidia-sg3r.pkl", stylegan),
    }


def cost(path: Path, module: str, function: str) -> dict[str, float]:
    """Median seconds and peak memory beyond the imports, of processes that do nothing else."""
    figures = []
    for _ in range(RUNS):
        code = MEASURE.format(module=module, function=function)
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
        figures.append([float(word) for word in done.stdout.split()])
    seconds, memory = np.median(np.array(figures), axis=0)
    return {
        "file_mb": round(path.stat().st_size / 1e6, 1),
        "seconds": round(float(seconds), 2),
        "peak_mb": round(float(memory)),
    }


def as_markdown(rows: dict[str, dict[str, float]]) -> str:
    """One line a kind."""
    lines = ["| file | loads | agreement | size MB | seconds | peak memory MB |", "|---|---|---|---|---|---|"]
    for kind, row in rows.items():
        agreement = f"{row['agreement']:.0e}" if "agreement" in row else ""
        figures = " | ".join(str(row.get(key, "")) for key in ("file_mb", "seconds", "peak_mb"))
        lines.append(f"| {kind} | yes | {agreement} | {figures} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

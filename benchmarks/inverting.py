"""Inverts faces by a plan, draws and measures them, for the benchmarks of quality."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.lines import Lines
from inversion.encoders.encoder import Encoder
from inversion.inversion import Inversion
from inversion.inverting import invert_images
from inversion.losses.loss import Target
from inversion.losses.perceptual import PerceptualDistance, load_perceptual
from inversion.metrics import measure
from inversion.optim.low_rank import Tuned, draw
from inversion.optim.preconditioner import Preconditioner
from inversion.optim.preconditioner_file import preconditioner_for
from inversion.optim.projector import split
from inversion.percentiles import digests, settings_of
from inversion.photos import crop_faces
from inversion.presets import DEFAULT_PRESET, Plan
from inversion.project import demo_photo
from inversion.stages import encoder_for, presets_of, run_plan
from relatent.core.images import from_uint8, read_photo, to_pixels, to_tensor
from relatent.core.precision import computing_in
from stylegan import Generator, network_id
from stylegan.training.data.dataset import ImageDataset

SEED = 303
ASTRONAUT = "astronaut"


@dataclass(frozen=True)
class Task:
    """A plan with all it needs.

    Attributes:
        plan: the stages.
        network: a frozen generator.
        encoder: of the plan; None for none.
        preconditioner: the network's; None for none.
        perceptual: the distance that is optimised and measured.
    """

    plan: Plan
    network: Generator
    encoder: Encoder | None
    preconditioner: Preconditioner | None
    perceptual: PerceptualDistance


@dataclass(frozen=True)
class Companions:
    """Files that go with a network; None for those that ship beside it."""

    encoder: Path | None = None
    preconditioner: Path | None = None

    def named(self, name: str) -> str | None:
        """As what reads them is told."""
        path: Path | None = getattr(self, name)
        return None if path is None else str(path)


SHIPPED = Companions()


def task_of(plan: Plan, network: Generator, files: Companions = SHIPPED) -> Task:
    """A plan with what goes with the network, and the embedded backbone."""
    encoder = encoder_for(network, plan, files.named("encoder"))
    preconditioner = preconditioner_for(network, files.named("preconditioner"))
    return Task(plan, network, encoder, preconditioner, load_perceptual("embedded", network.w_avg.device))


@dataclass(frozen=True)
class Latent:
    """One photo's: ws [1, L, w_dim], noise maps [1, 1, r, r], and the additions to the weights, all on the CPU.

    ``seconds`` is the photo's share of its batch's, ``tuning`` what of it went into tuning.
    """

    ws: Tensor
    noise: tuple[Tensor, ...]
    tuned: Tuned | None
    seconds: float
    tuning: float = 0.0

    def pivot(self) -> Latent:
        """Where tuning began: what the plan without it finds."""
        return dataclasses.replace(self, tuned=None, seconds=self.seconds - self.tuning, tuning=0.0)


def validation_faces(data: Path, folder: str, names: Sequence[str], resolution: int) -> Tensor:
    """Aligned faces of a zip file's folder by name, float32 [N, 3, R, R]."""
    dataset = ImageDataset(data, resolution, folder)
    places = {name: index for index, name in enumerate(dataset.names)}
    return torch.cat([to_tensor(dataset.picture(places[name])) for name in names])


def astronaut(network: Generator) -> Tensor:
    """The demo's face as the network needs it, float32 [1, 3, R, R]."""
    return to_tensor(crop_faces(read_photo(demo_photo()), network, align=True)[0].image)


def inverted(task: Task, images: Tensor, seed: int = SEED) -> list[Latent]:
    """What the plan finds for a batch of photos [N, 3, R, R]."""
    device = task.network.w_avg.device
    with computing_in(task.plan.precision, device) as dtype:
        target = Target(images.to(device), task.perceptual, dtype=dtype)
        result = run_plan(task.plan, task.network, task.encoder, target, preconditioner=task.preconditioner, seed=seed)
    seconds = sum(result.seconds.values()) / len(images)
    tuning = result.seconds.get("tune", 0.0) / len(images)
    tuned = result.tuned or [None] * len(images)
    pairs = zip(split(result.latents, task.network.num_ws), tuned, strict=True)
    return [Latent(ws, noise, own, seconds, tuning) for (ws, noise), own in pairs]


def kept_inversions(
    faces: Path, count: int | None, network: Generator, folder: Path, batch: int
) -> dict[str, Inversion]:
    """The first ``count`` validation faces by name, inverted by the default preset and kept in ``folder``.

    What lies there is not done again, but refused if another network, encoder or other settings made it. None for all
    faces.
    """
    dataset = ImageDataset(faces, network.resolution, "val")
    names = [Path(name).stem for name in dataset.names[:count]]
    files = {name: folder / f"{name}.safetensors" for name in names}
    lines = _lines_of(folder, network)
    waiting = [index for index, name in enumerate(names) if name not in lines.rows or not files[name].exists()]
    with tqdm(total=len(names), initial=len(names) - len(waiting), desc="inversions") as bar:
        for first in range(0, len(waiting), batch):
            part = waiting[first : first + batch]
            images = torch.cat([to_tensor(dataset.picture(index)) for index in part])
            for index, inversion in zip(part, invert_images(images, network, seed=SEED), strict=True):
                inversion.replace(photo=names[index]).save(files[names[index]])
                lines.add(names[index], inversion.losses)
            bar.update(len(part))
    return {name: Inversion.load(file) for name, file in files.items()}


def known_inversions(faces: Path, network: Generator, folder: Path) -> dict[str, Inversion]:
    """What :func:`kept_inversions` has kept in ``folder`` so far, by the faces' names in the zip file."""
    names = ImageDataset(faces, network.resolution, "val").names
    known = _lines_of(folder, network).rows
    return {
        name: Inversion.load(folder / f"{Path(name).stem}.safetensors") for name in names if Path(name).stem in known
    }


def _lines_of(folder: Path, network: Generator) -> Lines:
    """The file of finished faces in the folder; its first line says how they were inverted."""
    return Lines(folder / "inversions.jsonl", made_by(network, presets_of(network)[DEFAULT_PRESET]))


def made_by(network: Generator, plan: Plan, files: Companions = SHIPPED) -> dict[str, Any]:
    """Everything that an inversion by ``plan`` depends on, except its photo."""
    sums = digests(network.name, plan, encoder=files.encoder, preconditioner=files.preconditioner)
    return {"network": network_id(network), **sums, "settings": settings_of(plan), "seed": SEED}


@torch.no_grad()
def drawn(network: Generator, latent: Latent) -> Tensor:
    """Its picture, float32 [1, 3, R, R] on the CPU."""
    device = network.w_avg.device
    tuned = {name: (left.to(device), right.to(device)) for name, (left, right) in (latent.tuned or {}).items()}
    return draw(network, latent.ws.to(device), [level.to(device) for level in latent.noise], tuned).cpu()


def basic_measures(task: Task, latent: Latent, picture: Tensor, photo: Tensor) -> dict[str, float | None]:
    """LPIPS, PSNR, MS-SSIM and identity distance of a drawn picture, and the seconds it took."""
    quality = dataclasses.asdict(measure(picture, photo, task.perceptual, task.network.alignment))
    quality.pop("lpips_trunk")
    return {**quality, "seconds": round(latent.seconds, 3)}


@torch.no_grad()
def distance(perceptual: PerceptualDistance, picture: Tensor, photo: Tensor) -> float:
    """LPIPS of two pictures [1, 3, R, R] as they would be written, in 8 bits."""
    device = next(perceptual.parameters()).device
    seen, wanted = (as_written(image).to(device) for image in (picture, photo))
    return round(float(perceptual(seen, wanted)), 5)


def as_written(images: Tensor) -> Tensor:
    """Round pictures [N, 3, R, R] to 8 bits."""
    return from_uint8(torch.from_numpy(to_pixels(images)).permute(0, 3, 1, 2))

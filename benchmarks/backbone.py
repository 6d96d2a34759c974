"""Compares how the embedded perceptual backbone and its teacher rank pairs of faces.

    python -m benchmarks.backbone --faces fairface-128.zip --teacher squeezenet11-imagenet.safetensors --out backbone

2,000 pairs of held-out faces (val/, which the backbone never saw): a face against itself blurred, with noise or
shifted, each by a random amount, and against another face; half at 64 px, half at 128. Both backbones have uniform
heads. The agreement is Spearman's rank correlation of the distances. Beside it, as floors: plain pixels (mean squared
difference) and a SqueezeNet with random weights. A second table has crops of scikit-image's photographs, no faces.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import click
import skimage
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.machine import describe
from relatent.core.files import write_bytes
from relatent.core.images import from_uint8, read_photo, to_tensor
from stylegan.networks.backbone import Backbone, load_backbone
from stylegan.training.data.dataset import ImageDataset
from weights.embedded import backbone_path

FOLDER = Path(__file__).parent / "results"
SIZES = (64, 128)
PAIRS = 250  # of each kind at each size
SEED = 2024
PHOTOGRAPHS = [
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "brick.png",
    "gravel.png",
    "grass.png",
    "retina.jpg",
    "hubble_deep_field.jpg",
    "ihc.png",
    "camera.png",
    "page.png",
]


@click.command()
@click.option("--faces", required=True, type=click.Path(path_type=Path, exists=True), help="Zip with train/ and val/.")
@click.option("--teacher", required=True, type=click.Path(path_type=Path, exists=True), help="ImageNet backbone.")
@click.option(
    "--backbone", default=None, type=click.Path(path_type=Path, exists=True), help="[default: the embedded one]"
)
@click.option("--out", default=None, help="Write results/OUT.json; else only print.")
def main(faces: Path, teacher: Path, backbone: Path | None, out: str | None) -> None:
    """Print the agreement of a backbone's distances with its teacher's."""
    started = time.perf_counter()
    judges: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "teacher": load_backbone(teacher).distance,
        "backbone": load_backbone(backbone or backbone_path()).distance,
        "random backbone": random_backbone().distance,
        "pixels": lambda a, b: (a - b).square().mean(dim=(1, 2, 3)),
    }
    pictures = {size: from_uint8(ImageDataset(faces, size, "val").load()) for size in SIZES}
    distances = {name: measure(pictures, judge) for name, judge in judges.items()}
    theirs = distances.pop("teacher")
    result = {name: agreement(ours, theirs) for name, ours in distances.items()}
    elsewhere = {size: photographs(size) for size in SIZES}
    general = {name: measure(elsewhere, judges[name]) for name in ("teacher", "backbone")}
    on_photographs = agreement(general["backbone"], general["teacher"])
    for name, row in {**result, "backbone, on other photographs": on_photographs}.items():
        click.echo(f"{name}: {row}")
    if out:
        figures = {
            "pairs": sum(map(len, theirs.values())),
            "spearman_with_teacher": result,
            "spearman_on_other_photographs": on_photographs,
            "mean_distance": {
                name: {"/".join(map(str, key)): round(float(v.mean()), 4) for key, v in d.items()}
                for name, d in {"teacher": theirs, "backbone": distances["backbone"]}.items()
            },
            "seconds": round(time.perf_counter() - started),
            "machine": describe(),
        }
        write_bytes(FOLDER / f"{out}.json", (json.dumps(figures, indent=2) + "\n").encode())


def agreement(ours: dict[tuple[str, int], Tensor], theirs: dict[tuple[str, int], Tensor]) -> dict[str, float]:
    """Rank correlation over all pairs, of each kind, at each size, and of each kind at each size."""
    groups: dict[str, list[tuple[str, int]]] = {"overall": list(theirs)}
    for key in theirs:
        kind, size = key
        groups.setdefault(kind, []).append(key)
        groups.setdefault(f"{size} px", []).append(key)
    for kind, size in theirs:
        groups[f"{kind}, {size} px"] = [(kind, size)]
    return {
        name: round(spearman(torch.cat([ours[k] for k in keys]), torch.cat([theirs[k] for k in keys])), 4)
        for name, keys in groups.items()
    }


@torch.no_grad()
def measure(pictures: dict[int, Tensor], judge: Callable[[Tensor, Tensor], Tensor]) -> dict[tuple[str, int], Tensor]:
    """Distances of the same pairs under a judge, by kind and size, PAIRS each."""
    distances: dict[tuple[str, int], Tensor] = {}
    for size, images in pictures.items():
        for number, (kind, change) in enumerate(KINDS.items()):
            generator = torch.Generator().manual_seed(SEED + 10 * size + number)
            chosen = images[torch.randperm(len(images), generator=generator)[:PAIRS]]
            changed = change(chosen, generator)
            pairs = zip(chosen.split(25), changed.split(25), strict=True)
            bar = tqdm(pairs, desc=f"{kind}, {size} px", total=PAIRS // 25, leave=False)
            distances[kind, size] = torch.cat([judge(a, b) for a, b in bar])
    return distances


def photographs(size: int) -> Tensor:
    """Random square crops of the photographs that scikit-image ships, [PAIRS, 3, size, size]."""
    files = [Path(skimage.__file__).parent / "data" / name for name in PHOTOGRAPHS]
    whole = [to_tensor(read_photo(file).pixels) for file in files]
    generator = torch.Generator().manual_seed(SEED)
    crops = []
    for index in range(PAIRS):
        photo = whole[index % len(whole)]
        height, width = photo.shape[2:]
        side = int(min(height, width) * (0.2 + 0.7 * float(torch.rand((), generator=generator))))
        top = int(torch.randint(0, height - side + 1, (), generator=generator))
        left = int(torch.randint(0, width - side + 1, (), generator=generator))
        crop = photo[:, :, top : top + side, left : left + side]
        crops.append(F.interpolate(crop, size=(size, size), mode="area"))
    return torch.cat(crops)


def spearman(a: Tensor, b: Tensor) -> float:
    """Rank correlation of two vectors without ties."""
    ranks = torch.stack([x.argsort().argsort().double() for x in (a, b)])
    return float(torch.corrcoef(ranks)[0, 1])


def random_backbone() -> Backbone:
    """An untrained SqueezeNet."""
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        backbone = Backbone("random")
        for module in backbone.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return backbone.eval().requires_grad_(False)


def blurred(images: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian blur of 0.3 to 3 pixels at 64 px, twice that at 128."""
    return torch.cat([_blur(image[None], _strength(generator, 0.3, 3) * len(image[0]) / 64) for image in images])


def noisy(images: Tensor, generator: torch.Generator) -> Tensor:
    """White noise of deviation 0.01 to 0.4."""
    strengths = torch.tensor([_strength(generator, 0.01, 0.4) for _ in images]).view(-1, 1, 1, 1)
    return (images + torch.randn(images.shape, generator=generator) * strengths).clamp(-1, 1)


def shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Moved by 0.25 to 8 pixels at 64 px, twice that at 128, in any direction; the edge is repeated."""
    n, side = len(images), images.shape[2]
    angle = torch.rand(n, generator=generator) * 2 * torch.pi
    way = torch.tensor([_strength(generator, 0.25, 8) for _ in images]) / 64 * 2  # of the side, which spans 2
    matrix = torch.eye(2, 3).repeat(n, 1, 1)
    matrix[:, :, 2] = torch.stack([way * angle.cos(), way * angle.sin()], dim=1)
    grid = F.affine_grid(matrix, [n, 3, side, side], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def another(images: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG001 - one signature for all kinds
    """The next face."""
    return images.roll(1, 0)


KINDS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "blur": blurred,
    "noise": noisy,
    "shift": shifted,
    "other face": another,
}


def _strength(generator: torch.Generator, low: float, high: float) -> float:
    """Between ``low`` and ``high``, every ratio as likely as any other."""
    return low * (high / low) ** float(torch.rand((), generator=generator))


def _blur(image: Tensor, sigma: float) -> Tensor:
    radius = max(1, round(3 * sigma))
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = (weights / weights.sum()).repeat(3, 1, 1)
    padded = F.pad(image, (radius,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel[:, :, None], groups=3), kernel[:, :, :, None], groups=3)


if __name__ == "__main__":
    main()

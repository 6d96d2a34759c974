"""The distance of generated pictures to validation pictures, measured during training."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from relatent.core.errors import DatasetError
from relatent.core.images import from_uint8
from stylegan.networks.backbone import Backbone, enlarge_small, load_backbone
from stylegan.networks.generator import Generator
from stylegan.training.metrics import frechet_distance

SAMPLES = 2000  # enough to compare snapshots, because the bias of a small set is the same for all of them
SEED = 2024  # of the faces drawn
CHUNK = 50  # faces drawn together

Bar = Callable[[Iterable[Tensor]], Iterable[Tensor]]


class Validation:
    """Measures the distance of a generator's pictures to validation pictures.

    It is the Frechet distance (Heusel et al. 2017, eq. 6) of the embedded backbone's last features, averaged over
    space. It serves to compare snapshots, and is not comparable with published FID.

    Args:
        images: the validation pictures, uint8 [N, 3, R, R].
        device: where to compute.
        samples: number of pictures to generate; None for 2,000.

    Raises:
        DatasetError: fewer than two pictures.
    """

    def __init__(self, images: Tensor, device: torch.device, *, samples: int | None = None) -> None:
        if len(images) < 2:
            raise DatasetError(f"{len(images)} picture is too few to validate with; expected two or more.")
        self.device, self.samples = device, samples or SAMPLES
        self.backbone = load_backbone().to(device)
        self.features = deep_features(self.backbone, from_uint8(images), device)

    def distance(self, generator: Generator) -> float:
        """Distance of ``samples`` pictures of a generator, always from the same latents."""
        images = draw_samples(generator, self.samples)
        return frechet_distance(deep_features(self.backbone, images, self.device), self.features)


@torch.no_grad()
def draw_samples(generator: Generator, count: int, psi: float = 1.0, seed: int = SEED, bar: Bar = iter) -> Tensor:
    """Uncurated pictures, float32 [count, 3, R, R] on the CPU, clamped to [-1, 1].

    Args:
        generator: the generator.
        count: number of pictures.
        psi: truncation.
        seed: of z.
        bar: wraps the iteration over chunks, for example in a progress bar.
    """
    ws = generator.mapping.truncate(generator.sample_w(count, seed), psi)
    return torch.cat([generator.synthesis(chunk).clamp(-1, 1).cpu() for chunk in bar(ws.split(CHUNK))])


@torch.no_grad()
def deep_features(backbone: Backbone, images: Tensor, device: torch.device | None = None, bar: Bar = iter) -> Tensor:
    """The backbone's last layer averaged over space: images [N, 3, R, R] in [-1, 1] to [N, 512] on the CPU."""
    where = device or torch.device("cpu")
    return torch.cat(
        [backbone(enlarge_small(chunk.to(where)))[-1].mean(dim=(2, 3)).cpu() for chunk in bar(images.split(CHUNK))]
    )

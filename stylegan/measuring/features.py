"""Features of pictures: of the embedded perceptual backbone, and of Inception where its weights were fetched."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from relatent.core.errors import CheckpointError, MissingPackageError, MissingWeightsError, ShapeError
from relatent.core.images import from_uint8
from stylegan.networks.backbone import load_backbone
from stylegan.training.validation import deep_features
from weights.fetching.fetch import locate
from weights.reading.pickles import read_torch

INCEPTION = "inception-v3"  # in the manifest
POOLED, LOGITS = "2048", "logits_unbiased"  # torch-fidelity's names of the layers that the published scores use

Bar = Callable[[Iterable[Tensor]], Iterable[Tensor]]


class Features(Protocol):
    """Turns pictures into features.

    Attributes:
        name: what the measures are called after, "backbone" or "inception".
        origin: the network's own name.
        kernel_scale: factor on the features before the kernel distance, whose kernel (x.y / D + 1)^3 has no unit.
    """

    name: str
    origin: str
    kernel_scale: float

    def of(self, images: Tensor, bar: Bar = iter) -> tuple[Tensor, Tensor | None]:
        """Pictures uint8 [N, 1 or 3, R, R] to features [N, D] and the logits [N, C] of its own classes, if any."""
        ...


class BackboneFeatures:
    """The last layer of the embedded perceptual backbone, averaged over space: 512 features and no classes."""

    name = "backbone"
    kernel_scale = 1 / 8.5  # the features' root mean square on 300 faces of 64 px

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.backbone = load_backbone().to(device)
        self.origin = self.backbone.name

    def of(self, images: Tensor, bar: Bar = iter) -> tuple[Tensor, Tensor | None]:
        parts = [
            deep_features(self.backbone, from_uint8(in_colour(part)), self.device) for part in _chunks(images, bar)
        ]
        return torch.cat(parts), None


class InceptionFeatures:
    """The Inception network of the published FID, as torch-fidelity computes it: 2,048 features and 1,008 classes.

    Args:
        device: where to compute.
        path: the weights; None for those that ``python -m weights fetch inception-v3`` has fetched.

    Raises:
        MissingPackageError: torch-fidelity is not installed.
        MissingWeightsError: the weights have not been fetched.
        WeightsError: they are not the published ones.
        CheckpointError: ``path`` holds something else.
    """

    name = "inception"
    kernel_scale = 1.0  # as published

    def __init__(self, device: torch.device, path: Path | None = None) -> None:
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError:
            raise MissingPackageError("torch-fidelity", "train", "measuring with Inception") from None
        path = path or locate(INCEPTION)
        self.device, self.origin = device, path.name
        # torch-fidelity unpickles what it is given. The file is read as plain data first, and written again for it.
        with tempfile.TemporaryDirectory(prefix="relatent-") as folder:
            plain = Path(folder, "inception.pth")
            torch.save(_tensors(path), plain)
            try:
                network: Any = FeatureExtractorInceptionV3("inception", [POOLED, LOGITS], str(plain))
            except RuntimeError as error:
                raise CheckpointError(
                    f"{path} does not hold the weights of FID's Inception network: {error!s:.200}. "
                    f"Fetch them with: python -m weights fetch {INCEPTION}"
                ) from error
        self.network = network.to(device)

    @torch.no_grad()
    def of(self, images: Tensor, bar: Bar = iter) -> tuple[Tensor, Tensor | None]:
        pooled, logits = [], []
        for part in _chunks(images, bar):
            found = self.network(in_colour(part).to(self.device))
            pooled.append(found[0].cpu())
            logits.append(found[1].cpu())
        return torch.cat(pooled), torch.cat(logits)


def open_features(choice: str, device: torch.device) -> list[Features]:
    """The networks to measure with.

    Args:
        choice: "backbone", "inception" (both), or "available": Inception only where its weights have been fetched.
        device: where to compute.

    Raises:
        as InceptionFeatures, with "inception".
    """
    found: list[Features] = [BackboneFeatures(device)]
    if choice == "inception":
        found.append(InceptionFeatures(device))
    elif choice == "available":
        with suppress(MissingWeightsError, MissingPackageError):
            found.append(InceptionFeatures(device))
    return found


def in_colour(images: Tensor) -> Tensor:
    """uint8 [N, 1 or 3, R, R] as [N, 3, R, R]; grey as three equal channels."""
    if images.ndim != 4 or images.dtype != torch.uint8 or images.shape[1] not in (1, 3):
        raise ShapeError(f"pictures are {images.dtype} {list(images.shape)}; expected uint8 [N, 1 or 3, R, R].")
    return images.expand(-1, 3, -1, -1)


def _tensors(path: Path) -> dict[str, Tensor]:
    content = read_torch(path)
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path} does not hold a table of weights; expected those of FID's Inception network.")
    return dict(content)


def _chunks(images: Tensor, bar: Bar, size: int = 50) -> Iterable[Tensor]:
    return bar(images.split(size))

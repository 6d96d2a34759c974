"""Differentiable augmentations (DiffAugment), applied to real and generated pictures alike.

They keep the discriminator from memorising a small data set. As both kinds of pictures are augmented, they do not leak
into the generated ones (Zhao et al. 2020, "Differentiable Augmentation", sec. 3.2).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan.training.shard import draw


def diff_augment(image: Tensor, strength: float = 1.0) -> Tensor:
    """Random colour, translation and cutout for each sample; [N, 3, H, W] to the same shape.

    Args:
        image: pictures in [-1, 1].
        strength: probability of each of the three augmentations, independently for each sample.
    """
    if strength <= 0:
        return image
    where = image.device
    for change in (_colour, _translate, _cutout):
        applied = change(image)
        if strength < 1:
            chosen = draw(lambda n: torch.rand(n, 1, 1, 1, device=where), len(image)) < strength
            applied = torch.where(chosen, applied, image)
        image = applied
    return image


def random_flip(image: Tensor) -> Tensor:
    """Mirror half of the pictures left to right."""
    chosen = draw(lambda n: torch.rand(n, 1, 1, 1, device=image.device), len(image)) < 0.5
    return torch.where(chosen, image.flip(3), image)


def _uniform(image: Tensor) -> Tensor:
    return draw(lambda n: torch.rand(n, 1, 1, 1, device=image.device, dtype=image.dtype), len(image))


def _whole(low: int, high: int, image: Tensor) -> Tensor:
    return draw(lambda n: torch.randint(low, high, (n, 1, 1), device=image.device), len(image))


def _colour(image: Tensor) -> Tensor:
    image = image + (_uniform(image) - 0.5)  # brightness
    grey = image.mean(dim=1, keepdim=True)
    image = grey + (image - grey) * (_uniform(image) * 2)  # saturation
    mean = image.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (image - mean) * (_uniform(image) + 0.5)  # contrast


def _translate(image: Tensor, share: float = 0.125) -> Tensor:
    """Shift by an integer number of pixels, at most ``share`` of the side, with zero padding."""
    n, _, height, width = image.shape
    reach_y, reach_x = int(height * share + 0.5), int(width * share + 0.5)
    shift_y = _whole(-reach_y, reach_y + 1, image)
    shift_x = _whole(-reach_x, reach_x + 1, image)
    padded = F.pad(image, (reach_x, reach_x, reach_y, reach_y))
    rows = torch.arange(height, device=image.device)[None, :, None] + shift_y + reach_y
    columns = torch.arange(width, device=image.device)[None, None, :] + shift_x + reach_x
    batch = torch.arange(n, device=image.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[batch, rows, columns].permute(0, 3, 1, 2)


def _cutout(image: Tensor, share: float = 0.5) -> Tensor:
    """Set a square of ``share`` of the side to zero, centred anywhere in the picture."""
    _, _, height, width = image.shape
    half_y, half_x = int(height * share + 0.5) // 2, int(width * share + 0.5) // 2
    centre_y = _whole(0, height, image)
    centre_x = _whole(0, width, image)
    rows = torch.arange(height, device=image.device)[None, :, None] - centre_y  # [N, H, 1]
    columns = torch.arange(width, device=image.device)[None, None, :] - centre_x  # [N, 1, W]
    inside = (rows >= -half_y) & (rows < half_y) & (columns >= -half_x) & (columns < half_x)
    return image * (~inside)[:, None].to(image.dtype)

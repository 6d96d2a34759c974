"""Training pictures of the backbone: random crops of faces, with degradations typical of generators and photos."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur


def random_crops(image: Tensor, size: int) -> Tensor:
    """Random crops, rotated, mirrored and stretched; [N, 3, R, R] to [N, 3, size, size].

    Half of them show the whole picture or nearly so, half are crops down to a quarter of its side.
    """
    n, device = len(image), image.device
    # Drawn on the CPU, which has to know what is shrunk.
    whole = torch.rand(n) < 0.5
    zoom = torch.where(whole, _between(n, 0.85, 1.05), _between(n, 0.25, 1.0))
    angle = _between(n, -0.25, 0.25)  # radians
    stretch = _between(n, 0.9, 1.1)
    mirror = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    reach = (1 - zoom).clamp(min=0.05)
    rows = [
        torch.stack([zoom * angle.cos() * mirror, -zoom * angle.sin(), reach * _between(n, -1, 1)], dim=1),
        torch.stack([zoom * angle.sin() * stretch, zoom * angle.cos(), reach * _between(n, -1, 1)], dim=1),
    ]
    theta = torch.stack(rows, dim=1).to(device, non_blocking=True)
    grid = F.affine_grid(theta, [n, 3, size, size], align_corners=False)
    # Where a crop is reduced by more than a factor of 1.4, sampling would alias: halve the picture first.
    shrunk = _places(zoom * image.shape[2] / size > 1.4, device)
    crops = F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)
    if len(shrunk):
        halved = F.avg_pool2d(image[shrunk], 2)
        crops[shrunk] = F.grid_sample(halved, grid[shrunk], padding_mode="reflection", align_corners=False)
    return crops


def degrade(image: Tensor) -> Tensor:
    """Apply each of CHANGES to a random part of the batch; same shape.

    Trained on clean faces only, the student matches its teacher on clean faces only.
    """
    for change, share in CHANGES:
        chosen = _places(torch.rand(len(image)) < share, image.device)  # drawn on the CPU, which has to know the number
        if len(chosen):
            image[chosen] = change(image[chosen])
    inside = torch.rand(len(image), 1, 1, 1, device=image.device) < 0.7
    return torch.where(inside, image.clamp(-1, 1), image)  # a generator's picture is not clamped


def _places(flags: Tensor, device: torch.device) -> Tensor:
    """Where flags on the CPU are True, on ``device``."""
    return flags.nonzero()[:, 0].to(device, non_blocking=True)


def _between(n: int, low: float, high: float, device: torch.device | None = None) -> Tensor:
    return torch.rand(n, device=device) * (high - low) + low


def _per_sample(image: Tensor, low: float, high: float) -> Tensor:
    return _between(len(image), low, high, image.device).view(-1, 1, 1, 1)


def _mosaic(image: Tensor) -> Tensor:
    """Replace a rectangle of each picture by that of another picture."""
    side = image.shape[2]
    top, left = (int(x) for x in torch.randint(0, side // 2, (2,)))
    height, width = (int(x) for x in torch.randint(side // 4, side, (2,)))
    mixed = image.clone()
    mixed[:, :, top : top + height, left : left + width] = image.roll(1, 0)[
        :, :, top : top + height, left : left + width
    ]
    return mixed


def _texture(image: Tensor) -> Tensor:
    """Blend with random colours of a random cell size."""
    cells = int(2 ** float(torch.rand(()) * 5 + 1))
    noise = torch.randn(len(image), 3, cells, cells, device=image.device) * 0.6
    noise = F.interpolate(noise, size=image.shape[2:], mode="bicubic" if cells < 16 else "nearest")
    return torch.lerp(image, noise, _per_sample(image, 0, 1))


def _blobs(image: Tensor) -> Tensor:
    """Reduce to 3 to 24 pixels and enlarge again, similar to the output of a generator early in training."""
    cells = int(torch.randint(3, 25, ()))
    coarse = F.interpolate(image, size=(cells, cells), mode="area")
    return F.interpolate(coarse, size=image.shape[2:], mode="bicubic" if torch.rand(()) < 0.7 else "nearest")


def _blur(image: Tensor) -> Tensor:
    """Gaussian blur, sigma 0.4 to 4 pixels, the same for all pictures."""
    sigma = 0.4 * 10 ** float(torch.rand(()))
    radius = min(math.ceil(2.5 * sigma), image.shape[2] - 1)
    return gaussian_blur(image, [2 * radius + 1] * 2, [sigma] * 2)


def _blocks(image: Tensor) -> Tensor:
    """JPEG artefacts: quantise the cosine transform of each 8 x 8 block."""
    n, c, h, w = image.shape
    k = torch.arange(8, device=image.device)
    basis = (
        torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) * torch.where(k == 0, 0.5, 0.5**0.5)[:, None] / 2**0.5
    )
    tiles = image.view(n, c, h // 8, 8, w // 8, 8).transpose(3, 4)  # N C h w 8 8
    step = (0.02 + 0.02 * (k[:, None] + k[None])) * _per_sample(image, 1, 6)[..., None, None]
    rounded = torch.round(basis @ tiles @ basis.T / step) * step
    return (basis.T @ rounded @ basis).transpose(3, 4).reshape(n, c, h, w)


def _noise(image: Tensor) -> Tensor:
    return image + torch.randn_like(image) * 0.3 * _per_sample(image, 0, 1).square()


def _colour(image: Tensor) -> Tensor:
    """Random brightness, contrast, saturation and white point."""
    grey = image.mean(dim=1, keepdim=True)
    image = torch.lerp(grey, image, _per_sample(image, 0, 1.6))
    gain = torch.rand(len(image), 3, 1, 1, device=image.device) * 0.3 + 0.85
    return image * gain * _per_sample(image, 0.6, 1.3) + _per_sample(image, -0.4, 0.4)


CHANGES = (
    (_mosaic, 0.1),
    (_texture, 0.15),
    (_blobs, 0.12),
    (_blur, 0.25),
    (_blocks, 0.12),
    (_colour, 0.5),
    (_noise, 0.3),
)

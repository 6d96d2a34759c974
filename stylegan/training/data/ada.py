"""Adaptive discriminator augmentation (Karras et al. 2020, "Training GANs with limited data").

Every augmentation is applied to each picture with the same probability p. p rises while the discriminator overfits to
the real pictures, and falls otherwise. Up to about 0.8 the augmentations do not leak into the generated pictures.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan.networks import ops
from stylegan.training.shard import draw

TARGET = 0.6  # of the mean sign of D at real pictures (sec. 3.1)
ADJUSTMENT_KIMG = 500.0  # thousands of pictures in which p can rise from 0 to 1
LOG_SCALE = 0.2 * math.log(2)  # standard deviation of the logarithm of scales (appendix B)
SHIFT = 0.125  # standard deviation of fractional shifts, and largest integer shift, relative to the side


@dataclass
class AugmentationStrength:
    """The probability p, controlled by the discriminator's overfitting.

    Attributes:
        p: probability of each augmentation, 0 to 1.
    """

    p: float = 0.0

    def update(self, mean_sign: float, images: int) -> None:
        """Adjust p after ``images`` pictures; ``mean_sign`` is the mean sign of D at the real ones, -1 to 1."""
        step = images / (ADJUSTMENT_KIMG * 1000)
        self.p = min(1.0, max(0.0, self.p + math.copysign(step, mean_sign - TARGET)))


def ada_augment(image: Tensor, p: float) -> Tensor:
    """Pixel blitting, geometric and colour augmentation, each with probability ``p`` for each picture; [N, 3, R, R]."""
    if p <= 0:
        return image
    n, device = len(image), image.device
    geometry = _blits(n, p, image.shape[2], device) @ _geometry(n, p, device)
    return _apply_colour(_sample(image, geometry), _colour(n, p, device))


def _blits(n: int, p: float, side: int, device: torch.device) -> Tensor:
    """Flips, rotations by 90 degrees and integer shifts as matrices on [-1, 1] coordinates, [N, 3, 3]."""
    mirror = torch.where(_chosen(n, p / 2, device), -1.0, 1.0)
    matrix = _scaling(mirror, torch.ones_like(mirror))
    quarters = draw(lambda count: torch.randint(4, (count,), device=device), n) * _chosen(n, p, device)
    matrix = matrix @ _rotation(quarters * (math.pi / 2))
    reach = int(side * SHIFT)
    pixels = draw(lambda count: torch.randint(-reach, reach + 1, (2, count), device=device), n, dim=1)
    pixels = pixels * _chosen(n, p, device)
    return matrix @ _translation(pixels[0] * (2 / side), pixels[1] * (2 / side))


def _geometry(n: int, p: float, device: torch.device) -> Tensor:
    """Isotropic scale, rotations before and after an anisotropic scale, and fractional shifts, [N, 3, 3]."""
    # Each of the two rotations has the probability with which at least one happens with probability p (appendix B).
    half = 1 - math.sqrt(1 - p)

    def scale() -> Tensor:
        return torch.exp(_normal(n, device) * LOG_SCALE * _chosen(n, p, device))

    def rotation() -> Tensor:
        return _rotation((_uniform(n, device) * 2 - 1) * math.pi * _chosen(n, half, device))

    even, uneven = scale(), scale()
    shift = draw(lambda count: torch.randn(2, count, device=device), n, dim=1) * SHIFT * 2 * _chosen(n, p, device)
    matrix = _scaling(even, even) @ rotation() @ _scaling(uneven, 1 / uneven) @ rotation()
    return matrix @ _translation(shift[0], shift[1])


def _colour(n: int, p: float, device: torch.device) -> Tensor:
    """Brightness, contrast, luma flip, hue and saturation as affine maps of RGB, [N, 4, 4]."""

    def normal(deviation: float) -> Tensor:
        return _normal(n, device) * deviation * _chosen(n, p, device)

    eye, (along, _) = torch.eye(4, device=device), _grey_axis(device, torch.get_default_dtype())
    matrix = eye.repeat(n, 1, 1)
    matrix[:, :3, 3] = normal(0.2)[:, None]
    contrast = torch.exp(normal(0.5 * math.log(2)))[:, None]
    matrix = torch.diag_embed(torch.cat([contrast.expand(-1, 3), torch.ones_like(contrast)], dim=1)) @ matrix
    flip = _chosen(n, p / 2, device).float()[:, None, None]
    matrix = (eye - 2 * along * flip) @ matrix
    matrix = _hue_rotation((_uniform(n, device) * 2 - 1) * math.pi * _chosen(n, p, device)) @ matrix
    saturation = torch.exp(normal(math.log(2)))[:, None, None]
    return (along + (eye - along) * _keep_last_row(saturation)) @ matrix


def _keep_last_row(factor: Tensor) -> Tensor:
    """``factor`` [N, 1, 1] for the rows of the three colours and 1 for the homogeneous row: [N, 4, 1]."""
    return torch.cat([factor.expand(-1, 3, 1), torch.ones_like(factor)], dim=1)


def _hue_rotation(angle: Tensor) -> Tensor:
    """Rotation of RGB about the grey axis (Rodrigues), [N, 4, 4]."""
    _, cross = _grey_axis(angle.device, angle.dtype)
    sine, cosine = angle.sin()[:, None, None], angle.cos()[:, None, None]
    turned = cosine * torch.eye(3, device=angle.device) + sine * cross + (1 - cosine) / 3
    matrix = torch.eye(4, device=angle.device).repeat(len(angle), 1, 1)
    matrix[:, :3, :3] = turned
    return matrix


@functools.cache  # copying constants to a GPU would synchronise at every call
def _grey_axis(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The projection onto the grey axis, [4, 4], and the cross product with it, [3, 3]."""
    x = 1 / math.sqrt(3)
    with torch.inference_mode(False):  # the first call may be in inference mode, whose tensors autograd refuses
        grey = torch.tensor([1.0, 1.0, 1.0, 0.0], device=device, dtype=dtype) / math.sqrt(3)
        cross = torch.tensor([[0, -x, x], [x, 0, -x], [-x, x, 0]], device=device, dtype=dtype)
        return torch.outer(grey, grey), cross


def _apply_colour(image: Tensor, matrix: Tensor) -> Tensor:
    matrix = matrix.to(image.dtype)
    return torch.einsum("ncd,ndhw->nchw", matrix[:, :3, :3], image) + matrix[:, :3, 3, None, None]


def _sample(image: Tensor, matrix: Tensor) -> Tensor:
    """Resample by output-to-input matrices on [-1, 1] coordinates, at twice the resolution to avoid aliasing.

    The picture is padded by reflection, as in the paper.
    """
    n, c, height, width = image.shape
    large = ops.upsample2d(image)
    theta = matrix[:, :2].to(image.dtype)
    grid = F.affine_grid(theta, [n, c, 2 * height, 2 * width], align_corners=False)
    return ops.downsample2d(_Resample.apply(large, grid))


class _Resample(torch.autograd.Function):
    """Bilinear sampling at fixed positions, twice differentiable.

    R1 needs second derivatives, which PyTorch's grid_sample does not support. Sampling is linear in the picture, so the
    derivative of its transpose is the sampling itself.
    """

    @staticmethod
    def forward(ctx, image: Tensor, grid: Tensor) -> Tensor:  # type: ignore[no-untyped-def, override]
        ctx.save_for_backward(grid)
        ctx.size = image.shape
        return F.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def, override]
        (grid,) = ctx.saved_tensors
        return _ResampleTransposed.apply(gradient, grid, ctx.size), None


class _ResampleTransposed(torch.autograd.Function):
    """The transpose of :class:`_Resample`, which adds each sample to the pixels it was interpolated from."""

    @staticmethod
    def forward(ctx, gradient: Tensor, grid: Tensor, size: torch.Size) -> Tensor:  # type: ignore[no-untyped-def, override]
        ctx.save_for_backward(grid)
        with torch.enable_grad():
            image = gradient.new_zeros(size).requires_grad_()
            drawn = F.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
            (spread,) = torch.autograd.grad(drawn, image, gradient)
        return spread

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[no-untyped-def, override]
        (grid,) = ctx.saved_tensors
        return _Resample.apply(gradient, grid), None, None


def _chosen(n: int, p: float, device: torch.device) -> Tensor:
    return _uniform(n, device) < p


def _uniform(n: int, device: torch.device) -> Tensor:
    return draw(lambda count: torch.rand(count, device=device), n)


def _normal(n: int, device: torch.device) -> Tensor:
    return draw(lambda count: torch.randn(count, device=device), n)


def _matrices(n: int, entries: dict[tuple[int, int], Tensor], device: torch.device) -> Tensor:
    matrix = torch.eye(3, device=device).repeat(n, 1, 1)
    for (row, column), value in entries.items():
        matrix[:, row, column] = value
    return matrix


def _translation(x: Tensor, y: Tensor) -> Tensor:
    return _matrices(len(x), {(0, 2): x, (1, 2): y}, x.device)


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    return _matrices(len(x), {(0, 0): x, (1, 1): y}, x.device)


def _rotation(angle: Tensor) -> Tensor:
    sine, cosine = angle.sin(), angle.cos()
    return _matrices(len(angle), {(0, 0): cosine, (0, 1): -sine, (1, 0): sine, (1, 1): cosine}, angle.device)

"""Measures of an inverted face against its photo: LPIPS, PSNR, MS-SSIM and identity distance.

Only LPIPS is optimised. Pictures under 256 px are enlarged bicubically to 256 for MS-SSIM, whose five scales need more
than 160 px; LPIPS and the identity distance enlarge pictures by their own rules.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from inversion.losses.perceptual import PerceptualDistance
from relatent.core.alignment import Alignment
from relatent.core.images import from_uint8, to_pixels
from relatent.face import identity_distance

MS_SSIM_SIZE = 256  # px; five scales with a window of 11 need more than 160


@dataclass(frozen=True)
class Quality:
    """Measures of one face against its photo.

    Attributes:
        lpips: perceptual distance with the backbone ``lpips_trunk``; smaller is better.
        lpips_trunk: name of the backbone; values of different backbones cannot be compared.
        psnr: decibels, of 8-bit pictures; larger is better.
        ms_ssim: 0 to 1; larger is better.
        identity_distance: of dlib's face recognition; below 0.6 for the same person. None if no face was found.
    """

    lpips: float
    lpips_trunk: str
    psnr: float
    ms_ssim: float
    identity_distance: float | None

    def as_dict(self) -> dict[str, object]:
        return dataclasses.asdict(self)

    def numbers(self) -> dict[str, float]:
        """The numeric measures by name, without those that are None."""
        return {name: value for name, value in dataclasses.asdict(self).items() if isinstance(value, float)}


@torch.no_grad()
def measure(
    drawn: Tensor, photo: Tensor, perceptual: PerceptualDistance, alignment: Alignment | None = None
) -> Quality:
    """Measure one drawn face [1, 3, R, R] against the aligned photo [1, 3, R, R], both in [-1, 1].

    ``alignment`` gives the position of the face if dlib detects none in one of the pictures. Without it, the identity
    distance is None then.
    """
    drawn_pixels, photo_pixels = to_pixels(drawn)[0], to_pixels(photo)[0]
    # Both pictures are rounded to 8 bits first, so that the measures belong to the files that are written.
    rounded, wanted = (from_uint8(torch.from_numpy(p).permute(2, 0, 1)[None]) for p in (drawn_pixels, photo_pixels))
    identity = identity_distance(drawn_pixels, photo_pixels, alignment=alignment)
    device = next(perceptual.parameters()).device
    return Quality(
        lpips=round(float(perceptual(rounded.to(device), wanted.to(device))), 5),
        lpips_trunk=perceptual.backbone,
        psnr=round(psnr(rounded, wanted), 3),
        ms_ssim=round(ms_ssim(rounded, wanted), 5),
        identity_distance=None if identity is None else round(identity, 4),
    )


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in decibels of pictures in [-1, 1]; at most 100."""
    error = (a - b).square().mean().clamp(min=4e-10)
    return float(10 * torch.log10(4 / error))


def ms_ssim(a: Tensor, b: Tensor) -> float:
    """Multi-scale structural similarity of pictures in [-1, 1] (Wang et al. 2003)."""
    import pytorch_msssim

    pair = [_enlarge((x + 1) / 2) for x in (a, b)]
    return float(pytorch_msssim.ms_ssim(pair[0], pair[1], data_range=1.0))


def _enlarge(x: Tensor) -> Tensor:
    if x.shape[-1] < MS_SSIM_SIZE:
        x = F.interpolate(x, size=(MS_SSIM_SIZE, MS_SSIM_SIZE), mode="bicubic", align_corners=False).clamp(0, 1)
    return x.contiguous(memory_format=torch.channels_last)  # halves the time of the filters

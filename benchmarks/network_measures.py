"""What generated faces are judged by beside real ones: face embeddings, detected faces, and power by octave."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from relatent.core.alignment import Alignment
from relatent.core.images import to_pixels
from relatent.face.identity import aligned_box
from relatent.face.landmarks import describe, find_faces, predict_landmarks

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def at_size(images: Tensor, size: int) -> Tensor:
    """Pictures [N, 3, R, R] resampled to ``size`` by an antialiased bicubic filter, clamped to [-1, 1]."""
    if images.shape[-1] == size:
        return images
    chunks = [
        F.interpolate(chunk, (size, size), mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
        for chunk in images.split(100)
    ]
    return torch.cat(chunks)


def face_embeddings(images: Tensor, alignment: Alignment) -> Tensor:
    """dlib's descriptors of aligned faces, at the position that the alignment implies: float64 [N, 128].

    Nothing here was trained on this network, and no face has to be detected, so that broken faces count too.
    """
    rows = []
    for pixels in _pictures(images, "embedding"):
        box = aligned_box(alignment, pixels.shape[:2])
        rows.append(torch.from_numpy(describe(pixels, predict_landmarks(pixels, box))))
    return torch.stack(rows)


def share_with_face(images: Tensor) -> float:
    """The share of pictures in which dlib detects an upright face."""
    found = [bool(find_faces(pixels, tilted=False)) for pixels in _pictures(images, "detecting")]
    return sum(found) / len(found)


def octave_power(images: Tensor) -> Tensor:
    """Mean power of the luminance in octaves of spatial frequency, finest first: float64 [log2(R) - 1].

    Octave k covers radial frequencies from 2^-(k + 2) to 2^-(k + 1) cycles per pixel. The mean of each picture, and
    the corners of the spectrum above half a cycle per pixel, are in no octave. A Hann window keeps the jump between
    opposite edges out of the spectrum.
    """
    size = images.shape[-1]
    window = torch.hann_window(size, periodic=False, dtype=torch.float64)
    weights = torch.tensor(LUMA, dtype=torch.float64).view(3, 1, 1)
    total = torch.zeros(size, size // 2 + 1, dtype=torch.float64)
    for chunk in images.split(100):
        luma = (chunk.double() * weights).sum(dim=1)
        luma = (luma - luma.mean(dim=(1, 2), keepdim=True)) * window * window[:, None]
        total += torch.fft.rfft2(luma, norm="ortho").abs().square().sum(dim=0)
    radius = torch.hypot(torch.fft.fftfreq(size).double()[:, None], torch.fft.rfftfreq(size).double()[None, :])
    # A real picture's spectrum is symmetric: rfft2 leaves out half of it, except the first and the last column.
    total[:, 1 : size // 2] *= 2
    octaves = [
        total[(radius > 2.0 ** -(k + 2)) & (radius <= 2.0 ** -(k + 1))].sum() for k in range(size.bit_length() - 2)
    ]
    return torch.stack(octaves) / len(images)


def _pictures(images: Tensor, what: str) -> Iterable[np.ndarray]:
    return (to_pixels(image)[0] for image in tqdm(images.split(1), desc=what, leave=False))

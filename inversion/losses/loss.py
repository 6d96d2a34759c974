"""The loss of the optimiser; every term has one value for each photo, [N]."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from inversion.losses.perceptual import PerceptualDistance


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of the loss.

    Attributes:
        lpips: perceptual distance.
        pixels: mean squared error of pixels in [-1, 1].
        noise: noise regularisation, the autocorrelation of the noise maps (Karras et al. 2020, appendix D).
        delta: delta regularisation, which keeps ws close to a single w and so editable (Tov et al. 2021, sec. 3.2).
        styles: style norm regularisation, which keeps edits at their nominal strength (losses/style_norm.py).
    """

    lpips: float = 1.0
    pixels: float = 0.0
    noise: float = 1e5
    delta: float = 0.0
    styles: float = 0.0


class Target:
    """Photos to be matched; their features are computed once.

    Args:
        images: [N, 3, R, R] in [-1, 1].
        perceptual: the distance to use.
        masks: [N, 1, R, R], the weight of each pixel in the loss, 0 or 1; None for 1 everywhere.
        dtype: of the features of the backbone, and of the generator where it draws pictures for this target. Photos and
            drawn pictures use the same, so that equal pictures have the distance 0.
    """

    def __init__(
        self,
        images: Tensor,
        perceptual: PerceptualDistance,
        masks: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.images = images
        self.perceptual = perceptual
        self.masks = None if masks is None else masks.to(images)
        self.dtype = dtype
        with torch.no_grad():
            self.features = perceptual.features(images, dtype)
            self.layer_weights = (
                None if self.masks is None else [_spatial_weights(self.masks, feature) for feature in self.features]
            )

    def each(self) -> Iterator[Target]:
        """A target for each single photo; shares the computed features."""
        for index in range(len(self.images)):
            yield self[index : index + 1]

    def __getitem__(self, photos: slice) -> Target:
        """Some of the photos; shares the computed features."""
        some = copy.copy(self)
        some.images = self.images[photos]
        some.features = [feature[photos] for feature in self.features]
        if self.masks is not None and self.layer_weights is not None:
            some.masks = self.masks[photos]
            some.layer_weights = [weights[photos] for weights in self.layer_weights]
        return some

    def copy(self) -> Target:
        """The same in tensors of its own, which :meth:`load` can change."""
        one = copy.copy(self)
        one.images, one.masks = self.images.clone(), None if self.masks is None else self.masks.clone()
        one.features = [feature.clone() for feature in self.features]
        one.layer_weights = None if self.layer_weights is None else [part.clone() for part in self.layer_weights]
        return one

    def is_like(self, other: Target) -> bool:
        """Whether the other one has the same distance, shapes and dtype."""
        shapes = [one.shape for one in self._tensors()] == [one.shape for one in other._tensors()]
        return shapes and self.perceptual is other.perceptual and self.dtype == other.dtype

    def load(self, other: Target) -> None:
        """Take over the photos of another one that is like this, in the same tensors."""
        for mine, theirs in zip(self._tensors(), other._tensors(), strict=True):
            mine.copy_(theirs)

    def _tensors(self) -> list[Tensor]:
        masks = [] if self.masks is None else [self.masks, *(self.layer_weights or [])]
        return [self.images, *self.features, *masks]

    def perceptual_distance(self, drawn: Tensor) -> Tensor:
        """Perceptual distance of drawn pictures [N, 3, R, R] to the photos, [N]."""
        return self.perceptual.between(self.perceptual.features(drawn, self.dtype), self.features, self.layer_weights)

    def terms(self, drawn: Tensor, weights: LossWeights) -> Tensor:
        """Weighted distance of drawn pictures [N, 3, R, R] to the photos, [N]."""
        total = weights.lpips * self.perceptual_distance(drawn)
        if weights.pixels:
            squares = (drawn - self.images).square().mean(dim=1)  # [N, R, R]
            if self.masks is not None:
                squares = squares * _spatial_weights(self.masks, self.masks)
            total = total + weights.pixels * squares.mean(dim=(1, 2))
        return total


def _spatial_weights(masks: Tensor, feature: Tensor) -> Tensor:
    """The masks at the resolution of a feature [N, C, h, w], scaled to a mean of 1; [N, h, w]."""
    small = F.adaptive_avg_pool2d(masks, (feature.shape[2], feature.shape[3]))[:, 0]
    return small / small.mean(dim=(1, 2), keepdim=True).clamp(min=1e-6)


def noise_regularisation(noise: Sequence[Tensor], gain: float = 2.0) -> Tensor:
    """Squared autocorrelation of each map with itself shifted by one pixel, at all sizes down to 8; [N].

    Karras et al. 2020, appendix D: otherwise the noise maps store the photo itself. Of no maps, 0 for whatever N.

    Args:
        noise: [N, 1, r, r] each.
        gain: factor on a map when it is halved. The paper says 2, which keeps white noise's variance; the projectors
            that NVIDIA published leave it out, which is 1 and counts each halving 16 times less. With 1 the maps store
            more of the picture (docs/development/presets.md).
    """
    total = noise[0].new_zeros(len(noise[0])) if noise else torch.zeros([])
    by_size: dict[int, list[Tensor]] = {}
    for level in noise:
        by_size.setdefault(level.shape[2], []).append(level)
    while by_size:  # all maps of a size together: on a GPU every operation costs a kernel launch
        size = max(by_size)
        level = torch.cat(by_size.pop(size), dim=1)  # [N, maps, size, size]
        for axis in (2, 3):
            total = total + (level * level.roll(1, dims=axis)).mean(dim=(2, 3)).square().sum(dim=1)
        if size > 8:
            smaller = F.avg_pool2d(level, 2) * gain  # 2 keeps the variance of white noise at 1
            by_size.setdefault(smaller.shape[2], []).append(smaller)
    return total


def delta_regularisation(ws: Tensor) -> Tensor:
    """Mean squared distance of the layers' latents from their mean; ws [N, L, w_dim] to [N]."""
    return (ws - ws.mean(dim=1, keepdim=True)).square().mean(dim=(1, 2))


@torch.no_grad()
def renormalise(noise: Sequence[Tensor]) -> None:
    """Set each map to zero mean and unit variance, in place."""
    for level in noise:
        variance, mean = torch.var_mean(level, dim=(1, 2, 3), keepdim=True, correction=0)
        level.sub_(mean).mul_((variance + 1e-8).rsqrt())

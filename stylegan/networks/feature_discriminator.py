"""A second discriminator, which sees features of a frozen network instead of pictures.

Features of a network trained on many pictures show defects that a discriminator trained on few pictures takes long to
find (Sauer et al. 2021, "Projected GANs Converge Faster"). Alone it lets faces fall apart; beside the trained one, with
a small weight, it removes dots and scratches.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from stylegan.networks.backbone import WIDTHS, Backbone, enlarge_small

FEATURES = (1, 3, 6)  # of the backbone's seven: at 1/4, 1/16 and 1/16 of the picture's side
MIXED = 64  # channels after the random mix


class FeatureDiscriminator(nn.Module):
    """Small heads on three features of a frozen backbone.

    Channels are mixed by a fixed random matrix (sec. 3.2), so that a head cannot rely on a few of them. Heads have
    spectral normalisation (Miyato et al. 2018) in place of R1.

    Args:
        backbone: frozen here; its features, in full precision.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self.heads = nn.ModuleList(_head(WIDTHS[index]) for index in FEATURES).to(backbone.shift.dtype)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Pictures [N, 1 or 3, R, R] in [-1, 1] to logits at each position of the three features, [N, 1, h, w]."""
        features = self.backbone(enlarge_small(image.float().expand(-1, 3, -1, -1)))
        return [head(_unit_power(features[index])) for index, head in zip(FEATURES, self.heads, strict=True)]

    def trained_parameters(self) -> list[nn.Parameter]:
        """Those of the heads, without the random mix."""
        return [parameter for parameter in self.heads.parameters() if parameter.requires_grad]


def mean_over_features(losses: list[Tensor]) -> Tensor:
    """The mean of each feature's map of losses, averaged over the features: a number."""
    return torch.stack([loss.mean() for loss in losses]).mean()


def _head(channels: int) -> nn.Sequential:
    mix = nn.Conv2d(channels, MIXED, 1, bias=False).requires_grad_(False)
    nn.init.normal_(mix.weight, std=channels**-0.5)
    return nn.Sequential(
        mix,
        spectral_norm(nn.Conv2d(MIXED, MIXED, 3, padding=1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(MIXED, 1, 1)),
    )


def _unit_power(feature: Tensor) -> Tensor:
    return feature / (feature.square().mean(dim=(1, 2, 3), keepdim=True) + 1e-12).sqrt()

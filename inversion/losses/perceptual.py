"""The perceptual distance (LPIPS, Zhang et al. 2018), split so that the target's features are computed once.

"vgg", "alex" and "squeeze" are the published distances, the networks of the ``lpips`` package: torchvision's backbones,
fetched by name (``python -m weights fetch lpips-vgg``), under the heads that the package brings. The embedded backbone
is our own, under uniform heads, and needs no such package; its distances are not comparable with published LPIPS
figures, so every result names its backbone. Nothing here ever downloads.
"""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relatent.core.device import lay_out
from relatent.core.errors import CheckpointError, ShapeError, UnknownNameError
from relatent.core.precision import autocast
from stylegan.formats.checkpoint import load_strictly
from stylegan.networks.backbone import enlarge_small, load_backbone, sum_over_layers, unit_length
from weights.fetching.fetch import locate
from weights.reading.pickles import read_torch

BACKBONES = ("embedded", "vgg", "alex", "squeeze")
LARGEST = 256  # pixels; larger pictures are reduced, as the published projectors do


class PerceptualDistance(nn.Module):
    """Distances between pictures, one number for each photo.

    Args:
        net: pictures [N, 3, R, R] to the features of each layer, [N, C, h, w].
        backbone: its name in reports, for example "faces-backbone".
        scaling: what pictures in [-1, 1] go through before it; None for nothing.
        heads: a weight for each channel of each layer, [1, C, 1, 1], not negative; None for 1.
    """

    def __init__(
        self, net: nn.Module, backbone: str, *, scaling: nn.Module | None = None, heads: list[Tensor] | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.scaling = scaling or nn.Identity()
        self.net = net
        # sum(w (a - b)^2) = sum((sqrt(w) a - sqrt(w) b)^2): with the heads inside the features, a
        # distance is one difference.
        self.roots = nn.ParameterList(nn.Parameter(head.sqrt(), requires_grad=False) for head in heads or [])

    def features(self, image: Tensor, dtype: torch.dtype = torch.float32) -> list[Tensor]:
        """image [N, 3, R, R] in [-1, 1] to normalised, weighted features, one [N, C, h, w] for each layer.

        The backbone computes in ``dtype``; the features are float32 in any case.
        """
        if image.ndim != 4 or image.shape[1] != 3:
            raise ShapeError(f"the image has shape {list(image.shape)}; expected [N, 3, R, R].")
        scaled = self.scaling(fit_size(image))
        with autocast(image.device, dtype):
            features = self.net(scaled)
        features = [unit_length(feature) for feature in features]
        if not self.roots:
            return features
        return [feature * root for feature, root in zip(features, self.roots, strict=True)]

    def between(self, first: list[Tensor], second: list[Tensor], weights: list[Tensor] | None = None) -> Tensor:
        """Distance of two sets of features, [N]: a mean over positions and a sum over layers.

        ``weights`` are the spatial weights of each layer, [N, h, w] with a mean of 1; None for uniform ones.
        """
        return sum_over_layers([(a - b).square() for a, b in zip(first, second, strict=True)], weights)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distance of two batches of pictures in [-1, 1], [N]."""
        return self.between(self.features(a), self.features(b))


def fit_size(image: Tensor) -> Tensor:
    """Enlarge pictures under 64 px bilinearly, reduce pictures over 256 px by area."""
    if image.shape[-1] > LARGEST:
        return F.interpolate(image, size=(LARGEST, LARGEST), mode="area")
    return enlarge_small(image)


def load_perceptual(name: str = "embedded", device: torch.device | None = None) -> PerceptualDistance:
    """The distance called ``name``, frozen and ready on ``device``; loaded once for each device.

    Raises:
        UnknownNameError: none of "embedded", "vgg", "alex", "squeeze".
        MissingWeightsError: a published backbone that has not been fetched; the message names the command.
        WeightsError: a fetched backbone that is not what was published.
        CheckpointError: a backbone's file without the backbone's weights.
    """
    if name not in BACKBONES:
        raise UnknownNameError("LPIPS backbone", name, BACKBONES)
    return _load(name, str(device or "cpu"))


@functools.lru_cache(maxsize=4)
def _load(name: str, device: str) -> PerceptualDistance:
    distance = _embedded() if name == "embedded" else _published(name)
    distance = distance.eval().requires_grad_(False).to(device)
    lay_out(distance, torch.device(device))
    return distance


def _embedded() -> PerceptualDistance:
    backbone = load_backbone()
    return PerceptualDistance(backbone, backbone.name)


def _published(name: str) -> PerceptualDistance:
    path = locate(f"lpips-{name}")
    model = _silent_lpips(name, heads=True).float()  # PyTorch's default may be another dtype
    load_strictly(model.net, _in_slices(_torchvision_features(path), model.net), path)
    heads = [head.model[-1].weight.detach().clamp(min=0) for head in model.lins]  # as published, none is negative
    return PerceptualDistance(model.net, name, scaling=model.scaling_layer, heads=heads)


def _torchvision_features(path: Path) -> dict[str, Tensor]:
    """Weights of a torchvision network's feature layers by name, "3.weight"; raises CheckpointError."""
    weights = read_torch(path)
    if not isinstance(weights, dict) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise CheckpointError(f"{path} is no table of weights; expected a network file of torchvision.")
    return {
        str(name).removeprefix("features."): tensor
        for name, tensor in weights.items()
        if not str(name).startswith("classifier.")  # the classifier of torchvision's networks, which LPIPS does not use
    }


def _in_slices(features: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """Rename weights from torchvision's names, "3.weight", to those of lpips, "slice2.3.weight".

    lpips cuts the backbone into slices and keeps the layers' numbers. Other names are kept.
    """
    sliced = {name.split(".", 1)[1]: name for name in net.state_dict()}
    return {sliced.get(name, name): tensor for name, tensor in features.items()}


def _silent_lpips(backbone: str, heads: bool) -> Any:
    """An ``lpips.LPIPS`` with a randomly initialised backbone: no download, no output, no deprecation warnings.

    Args:
        backbone: "vgg", "alex" or "squeeze".
        heads: load the published heads from the package; else random ones.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*'pretrained' is deprecated", category=UserWarning)
        warnings.filterwarnings("ignore", message="Arguments other than a weight enum", category=UserWarning)
        import lpips

        return lpips.LPIPS(net=backbone, pnet_rand=True, pretrained=heads, verbose=False)

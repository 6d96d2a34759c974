"""The perceptual distance (LPIPS, Zhang et al. 2018), with the target's features computed once.

The networks are those of the ``lpips`` package. The embedded trunk is our own, under uniform heads;
its distances are not comparable with published LPIPS figures, so every result names its trunk.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import ShapeError, UnknownNameError, UsageError
from stylegan.trunk import enlarge_small, load_trunk, sum_of_taps, unit_length

TRUNKS = ("embedded", "vgg", "alex", "squeeze")
LARGEST = 256  # pixels; larger pictures are reduced, as the published projectors do


class PerceptualDistance(nn.Module):
    """Distances between pictures, one number for each photo.

    Args:
        model: an ``lpips.LPIPS``.
        trunk: what reports call it, for example "faces-trunk".
    """

    def __init__(self, model: Any, trunk: str) -> None:
        super().__init__()
        self.trunk = trunk
        self.scaling = model.scaling_layer
        self.net = model.net
        # sum(w (a - b)^2) = sum((sqrt(w) a - sqrt(w) b)^2): with the heads inside the features, a
        # distance is one difference. Published heads are never negative.
        self.roots = nn.ParameterList(
            nn.Parameter(head.model[-1].weight.detach().clamp(min=0).sqrt(), requires_grad=False) for head in model.lins
        )

    def features(self, image: Tensor) -> list[Tensor]:
        """image [N, 3, R, R] in [-1, 1] to the trunk's normalised, weighted features, one [N, C, h, w] a tap."""
        if image.ndim != 4 or image.shape[1] != 3:
            raise ShapeError(f"the image has shape {list(image.shape)}; expected [N, 3, R, R].")
        taps = self.net(self.scaling(fit_size(image)))
        return [unit_length(tap) * root for tap, root in zip(taps, self.roots, strict=True)]

    def between(self, ours: list[Tensor], theirs: list[Tensor]) -> Tensor:
        """Distance of two sets of features, [N]; a mean over positions, a sum over taps, no mean over photos."""
        return sum_of_taps([(a - b).square() for a, b in zip(ours, theirs, strict=True)])

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
        UsageError: a published trunk, whose weights do not ship with Relatent.
    """
    if name not in TRUNKS:
        raise UnknownNameError("LPIPS trunk", name, TRUNKS)
    if name != "embedded":
        raise UsageError(
            f"the weights of the {name} trunk do not ship with Relatent, and nothing is downloaded unasked. "
            "Use --lpips embedded."
        )
    return _load_embedded(str(device or "cpu"))


@functools.lru_cache(maxsize=4)
def _load_embedded(device: str) -> PerceptualDistance:
    trunk = load_trunk()
    model = _silent_lpips()
    weights = trunk.features.state_dict()
    # lpips cuts the trunk into slices and keeps the layers' numbers: features.3.x is slice2.3.x there.
    sliced = {name: weights[name.split(".", 1)[1]] for name in model.net.state_dict()}
    model.net.load_state_dict(sliced, strict=True)
    for head in model.lins:
        nn.init.ones_(head.model[-1].weight)
    return PerceptualDistance(model, trunk.name).eval().requires_grad_(False).to(device)


def _silent_lpips() -> Any:
    """An ``lpips.LPIPS`` on SqueezeNet, random: no download, no print, torchvision's deprecations hidden."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*'pretrained' is deprecated", category=UserWarning)
        warnings.filterwarnings("ignore", message="Arguments other than a weight enum", category=UserWarning)
        import lpips

        return lpips.LPIPS(net="squeeze", pnet_rand=True, pretrained=False, verbose=False)

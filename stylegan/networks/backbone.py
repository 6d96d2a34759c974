"""The perceptual backbone: SqueezeNet 1.1's features in plain PyTorch, and the distance they give.

The layers carry torchvision's names ("features.N. ..."), so any SqueezeNet 1.1 feature file in the safetensors
format loads, and the file fits `lpips.LPIPS(net="squeeze", pnet_rand=True)` slice by slice.

The distance is LPIPS (Zhang et al. 2018, equation 1) with uniform heads: features are scaled to unit length
along the channels, and the squared differences are summed over channels with weight 1, averaged over space
and summed over the seven layers. It equals `lpips.LPIPS(..., lpips=False)` on the same weights. Every layer counts
the same whatever its width: at most 2, since features are not negative, hence 14 in total.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relatent.core.errors import CheckpointError, ShapeError
from stylegan.formats.checkpoint import load_strictly, read_safetensors
from weights.embedded import backbone_path

FORMAT = "relatent-trunk-1"
MIN_SIDE = 64  # pixels; smaller pictures are enlarged, because the deepest layers would have hardly any positions left
WIDTHS = (64, 128, 256, 384, 384, 512, 512)  # channels of the seven layers
LAYERS = (1, 4, 7, 9, 10, 11, 12)  # the layers whose output is compared, where lpips slices SqueezeNet
EPSILON = 1e-10  # added to a feature vector's length, as lpips does
# ImageNet's mean and deviation as lpips writes them, for pictures in [-1, 1].
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)


class Fire(nn.Module):
    """Squeeze to few channels, then expand by 1x1 and 3x3 filters side by side (Iandola et al. 2016)."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] to [N, 2 * expanded, H, W]."""
        x = F.relu(self.squeeze(x))
        return F.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1))


class Backbone(nn.Module):
    """Features of a picture at seven depths.

    Computes in the dtype and memory format of its own weights, whatever the picture's: call `backbone.bfloat16()` or
    `backbone.to(memory_format=torch.channels_last)` to change them. Distances are always float32 or better.

    Args:
        name: of the backbone, as reports give it.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, name: str = "backbone") -> None:
        super().__init__()
        self.name = name
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 3, stride=2),
            nn.ReLU(),
            _pool(),
            Fire(64, 16, 64),
            Fire(128, 16, 64),
            _pool(),
            Fire(128, 32, 128),
            Fire(256, 32, 128),
            _pool(),
            Fire(256, 48, 192),
            Fire(384, 48, 192),
            Fire(384, 64, 256),
            Fire(512, 64, 256),
        )
        # Not persistent: these are constants, and no file stores them.
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Pictures [N, 3, H, W] in [-1, 1] to the features of seven layers, [N, WIDTHS[k], h, w], not normalised."""
        features = [self.segment(0, image)]
        for index in range(1, len(LAYERS)):
            features.append(self.segment(index, features[-1]))
        return features

    def segment(self, index: int, x: Tensor) -> Tensor:
        """The layers up to feature ``index`` from the feature before it; from the picture for the first."""
        if index == 0:
            x = (x.to(self.shift.dtype) - self.shift) / self.scale
        first = LAYERS[index - 1] + 1 if index else 0
        for layer in self.features[first : LAYERS[index] + 1]:
            x = layer(x)
        return x

    def normalised(self, image: Tensor) -> list[Tensor]:
        """The features of the seven layers, scaled to unit length along the channels; compute once for a target.

        Args:
            image: [N, 3, H, W] in [-1, 1]; enlarged first by :func:`enlarge_small`.

        Raises:
            ShapeError: another shape.
        """
        if image.ndim != 4 or image.shape[1] != 3:
            raise ShapeError(f"the image has shape {list(image.shape)}; expected [N, 3, H, W].")
        return [unit_length(feature) for feature in self(enlarge_small(image))]

    def distance_to(self, target: list[Tensor], image: Tensor) -> Tensor:
        """Distance of each picture from its target, [N], differentiable in ``image``.

        Args:
            target: result of :meth:`normalised` for pictures of the same size, N of them or one for all.
            image: [N, 3, H, W] in [-1, 1].

        Raises:
            ShapeError: the target's features are not those of such pictures.
        """
        features = self.normalised(image)
        for wanted, feature in zip(target, features, strict=True):
            if wanted.shape[1:] != feature.shape[1:] or len(wanted) not in (1, len(feature)):
                raise ShapeError(
                    f"the target's features are {list(wanted.shape)} and the image's are {list(feature.shape)}; "
                    "expected pictures of one size, and one target for each or for all."
                )
        return sum_over_layers([(a - b).square() for a, b in zip(target, features, strict=True)])

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Distance of each pair of pictures, [N]; both [N, 3, H, W] in [-1, 1], same size."""
        return self.distance_to(self.normalised(first), second)


def enlarge_small(image: Tensor) -> Tensor:
    """Pictures [N, 3, H, W] whose shorter side is under 64 px enlarged to 64, others untouched.

    Bilinear, pixel areas aligned (align_corners False), proportions kept.
    """
    height, width = image.shape[2:]
    short = min(height, width)
    if short >= MIN_SIDE:
        return image
    size = (round(height * MIN_SIDE / short), round(width * MIN_SIDE / short))
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False)


def unit_length(feature: Tensor) -> Tensor:
    """[N, C, H, W] divided by its length along C, in float32 or better; zero vectors stay zero."""
    feature = feature if feature.dtype == torch.float64 else feature.float()
    return feature / (torch.linalg.vector_norm(feature, dim=1, keepdim=True) + EPSILON)


def sum_over_layers(squares: list[Tensor], weights: list[Tensor] | None = None) -> Tensor:
    """Squared differences of the seven layers, each [N, C, h, w], to one distance for each picture, [N].

    ``weights``, each [N, h, w], are spatial weights of the seven layers; None for uniform ones.
    """
    maps = [square.sum(dim=1) for square in squares]
    if weights is not None:
        maps = [values * weight for values, weight in zip(maps, weights, strict=True)]
    return torch.stack([values.mean(dim=(1, 2)) for values in maps]).sum(dim=0)


def load_backbone(path: Path | None = None) -> Backbone:
    """Read a backbone: float32, on the CPU, frozen, in evaluation mode.

    Args:
        path: a safetensors file with SqueezeNet 1.1's features; the embedded backbone by default.

    Raises:
        CheckpointError: missing, damaged, of another kind, or holding values that are not finite.
    """
    path = path or backbone_path()
    tensors, metadata = read_safetensors(path)
    if metadata.get("format", FORMAT) != FORMAT:  # files from elsewhere have no format field; their weights are checked
        raise CheckpointError(
            f"{path} says format {metadata['format']!r}; expected a perceptual backbone, {FORMAT!r}, "
            "or a file of SqueezeNet 1.1's features."
        )
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise CheckpointError(f"{path} holds {name!r} as {tensor.dtype}; expected floating-point weights.")
    backbone = Backbone(metadata.get("name") or path.stem).float()  # PyTorch's default may be another dtype
    load_strictly(backbone, tensors, path)
    return backbone.eval().requires_grad_(False)


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)

"""A generator and a discriminator of fully connected layers only (Goodfellow et al. 2014), as a teaching baseline.

The generator is a :class:`stylegan.networks.generator.Generator` like any other, with w equal to z and one layer that
reads it. It draws small pictures of simple things, such as digits, and shows what a style-based generator adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relatent.core.errors import ShapeError, UsageError
from stylegan.bounds import COLOURS, MAX_DIM, require_number, require_whole, shown
from stylegan.networks import ops
from stylegan.networks.layers import Linear
from stylegan.networks.mapping import MappingNetwork

SLOPE = 0.2  # of leaky ReLU below 0
MAX_SIDE = 256  # of a picture whose every pixel is connected to every unit
MOMENTUM = 0.1  # of a batch in the running statistics


@dataclass(frozen=True)
class MlpConfig:
    """Everything needed to build a generator of fully connected layers; saved in its checkpoint.

    The layers have ``width``, ``2 * width``, ``4 * width`` ... units: 100-256-512-1024-784 by default.

    Attributes:
        resolution: height and width of the pictures, from 4 to 256; need not be a power of two.
        z_dim: dimensions of z.
        width: units of the first layer.
        layers: number of hidden layers.
        img_channels: channels of the pictures, 3 for RGB or 1 for grey.
    """

    resolution: int = 28
    z_dim: int = 100
    width: int = 256
    layers: int = 3
    img_channels: int = 1

    def __post_init__(self) -> None:
        _require_sizes(self)
        require_whole("z_dim", self.z_dim, 1, MAX_DIM)

    @property
    def w_dim(self) -> int:
        """Dimensions of w, which is z."""
        return self.z_dim

    @property
    def c_dim(self) -> int:
        """Number of classes: none."""
        return 0

    @property
    def widths(self) -> list[int]:
        """Units of all layers, from z to the picture's values."""
        hidden = [self.width * 2**i for i in range(self.layers)]
        return [self.z_dim, *hidden, self.img_channels * self.resolution**2]


@dataclass(frozen=True)
class MlpDiscriminatorConfig:
    """Everything needed to build a discriminator of fully connected layers, 784-1024-512-256-1 by default.

    Attributes:
        resolution: height and width of the pictures.
        width: units of the last hidden layer; each layer before has twice as many.
        layers: number of hidden layers.
        img_channels: channels of the pictures.
        dropout: share of hidden units that are left out at each training step.
    """

    resolution: int = 28
    width: int = 256
    layers: int = 3
    img_channels: int = 1
    dropout: float = 0.3

    def __post_init__(self) -> None:
        _require_sizes(self)
        require_number("dropout", self.dropout, 0, 0.95)

    @property
    def c_dim(self) -> int:
        """Number of classes: none."""
        return 0

    @property
    def widths(self) -> list[int]:
        """Units of all layers, from the picture's values to the logit."""
        hidden = [self.width * 2**i for i in reversed(range(self.layers))]
        return [self.img_channels * self.resolution**2, *hidden, 1]


def _require_sizes(config: MlpConfig | MlpDiscriminatorConfig) -> None:
    require_whole("resolution", config.resolution, 4, MAX_SIDE)
    require_whole("width", config.width, 1, MAX_DIM)
    require_whole("layers", config.layers, 1, 8)
    if type(config.img_channels) is not int or config.img_channels not in COLOURS:
        raise UsageError(f"img_channels is {shown(config.img_channels)}; expected 1 (grey) or 3 (RGB).")


class IdentityMapping(MappingNetwork):
    """w is z: what a generator without a mapping network has."""

    def __init__(self, z_dim: int) -> None:
        super().__init__(z_dim, 0, z_dim, 1, num_layers=0)

    def map(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """z to w: [N, z_dim] to the same."""
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ShapeError(f"z has shape {list(z.shape)}; expected [N, {self.z_dim}].")
        if c is not None and c.numel():
            raise UsageError("classes were given to a network that has none. Leave c out.")
        return z.to(self.w_avg.dtype)


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy 2015, alg. 1): [N, C] to the same.

    PyTorch's own counts its batches in an integer buffer, which has no place in a file of floats.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        trains = self.training and len(x) > 1  # one sample has no variance
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, trains, MOMENTUM)


class MlpSynthesis(nn.Module):
    """ws [N, 1, z_dim] to image [N, 3, R, R] in [-1, 1]: hidden layers with leaky ReLU and BatchNorm, then tanh.

    It has no noise inputs, so ``noise_mode`` makes no difference.

    Args:
        config: the sizes.
    """

    num_ws = 1
    fade = None

    def __init__(self, config: MlpConfig) -> None:
        super().__init__()
        self.config = config
        self.w_dim, self.resolution, self.img_channels = config.w_dim, config.resolution, config.img_channels
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(config.widths))
        self.norms = nn.ModuleList(BatchNorm(width) for width in config.widths[1:-1])

    @property
    def noise_buffers(self) -> list[Tensor]:
        """The noise that ``noise_mode="const"`` uses: none."""
        return []

    @property
    def demodulated(self) -> list[tuple[Linear, int]]:
        """Affine layers of demodulated convolutions: none."""
        return []

    def forward(
        self,
        ws: Tensor,
        noise_mode: str = "const",  # noqa: ARG002 - for the same signature as the other synthesis networks
        *,
        noise: Sequence[Tensor] | None = None,
        dtype: torch.dtype = torch.float32,  # noqa: ARG002 - too small to gain anything from half precision
    ) -> Tensor:
        """Draw ws.

        Raises:
            ShapeError: ws has another shape than this network's, or noise was given.
        """
        if ws.ndim != 3 or ws.shape[1:] != (1, self.w_dim):
            raise ShapeError(f"ws has shape {list(ws.shape)}; expected [N, 1, {self.w_dim}].")
        if noise:
            raise ShapeError(f"{len(noise)} noise maps were given to a network that has none. Leave noise out.")
        x = ws[:, 0].to(next(self.parameters()).dtype)
        for layer, norm in zip(self.layers, self.norms, strict=False):
            x = norm(F.leaky_relu(layer(x), SLOPE))
        x = torch.tanh(self.layers[-1](x))
        return ops.as_rgb(x.view(-1, self.img_channels, self.resolution, self.resolution)).contiguous()


class MlpDiscriminator(nn.Module):
    """image [N, img_channels, R, R] to one logit for each picture, [N, 1]; a positive one says "real".

    Args:
        config: the sizes.
    """

    def __init__(self, config: MlpDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(config.widths))

    def forward(
        self,
        image: Tensor,
        c: Tensor | None = None,  # noqa: ARG002 - as the other discriminator has it
        *,
        dtype: torch.dtype = torch.float32,  # noqa: ARG002
    ) -> Tensor:
        """Logits of pictures.

        Raises:
            ShapeError: the pictures have another shape than this network's.
        """
        config = self.config
        shape = (config.img_channels, config.resolution, config.resolution)
        if image.shape[1:] != shape:
            raise ShapeError(f"the image has shape {list(image.shape)}; expected [N, {', '.join(map(str, shape))}].")
        x = image.flatten(1).to(next(self.parameters()).dtype)
        for layer in self.layers[:-1]:
            x = F.dropout(F.leaky_relu(layer(x), SLOPE), config.dropout, self.training)
        logits: Tensor = self.layers[-1](x)
        return logits

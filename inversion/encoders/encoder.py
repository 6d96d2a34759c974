"""The encoder interface: a network from a picture of a face to the latents that draw it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relatent.core.alignment import Alignment
from relatent.core.errors import ShapeError, UsageError
from stylegan.networks.generator import Generator


class Encoder(nn.Module):
    """An encoder with its input resolution, its alignment and the offset of its codes.

    ``encoder(image)`` gives codes [N, num_ws, w_dim], the output of the network. ``encoder.ws(image)`` adds ``offset``
    to them and so gives latents.

    Attributes:
        model: maps image [N, 3, S, S] to codes [N, num_ws, w_dim].
        offset: added to codes, [num_ws, w_dim]: the generator's average w, or zeros.
        resolution: S, the side of its input.
        alignment: how faces must be cropped for it; may differ from the generator's.
        network: the id of the generator it was trained with (see :func:`stylegan.network_id`); empty if unknown.
    """

    offset: Tensor

    def __init__(
        self,
        model: nn.Module,
        offset: Tensor,
        *,
        resolution: int,
        alignment: Alignment | None = None,
        network: str = "",
    ) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("offset", offset)
        self.resolution = resolution
        self.alignment = alignment or Alignment()
        self.network = network

    @property
    def num_ws(self) -> int:
        """Number of codes, one for each layer."""
        return self.offset.shape[0]

    @property
    def w_dim(self) -> int:
        """Dimensions of a code."""
        return self.offset.shape[1]

    def forward(self, image: Tensor) -> Tensor:
        """image float32 [N, 3, S, S] in [-1, 1] to codes [N, num_ws, w_dim], without ``offset``.

        Raises:
            ShapeError: pictures of another size or type.
        """
        self.check(image)
        return self.model(image)

    @property
    def is_iterative(self) -> bool:
        """Whether :meth:`residual` is implemented, so that the encoder can be applied several times."""
        return False

    def residual(self, image: Tensor, drawn: Tensor) -> Tensor:
        """The update of the ws that drew ``drawn`` towards ``image``; see inversion/encoders/restyle.py."""
        raise NotImplementedError

    def check(self, image: Tensor) -> None:
        """Check the shape and type of an input.

        Raises:
            ShapeError: pictures of another size or type.
        """
        size = self.resolution
        if image.ndim != 4 or image.shape[1:] != (3, size, size) or not image.is_floating_point():
            raise ShapeError(f"images are {image.dtype} {list(image.shape)}; expected float [N, 3, {size}, {size}].")

    def ws(self, image: Tensor) -> Tensor:
        """image as :meth:`forward` takes it to latents ws [N, num_ws, w_dim]."""
        return self(image) + self.offset


def require_fit(encoder: Encoder, network: Generator) -> None:
    """Refuse an encoder whose latents have other sizes than the network's.

    Raises:
        UsageError: they do not fit.
    """
    if (encoder.num_ws, encoder.w_dim) != (network.num_ws, network.w_dim):
        raise UsageError(
            f"the encoder gives {encoder.num_ws} latents of {encoder.w_dim} dimensions, and the network "
            f"{network.name or 'in use'} reads {network.num_ws} of {network.w_dim}. Use the network the encoder was "
            "trained with, or an encoder of this one."
        )


@torch.no_grad()
def start_from_encoder(encoder: Encoder, image: Tensor, network: Generator, iterations: int = 1) -> Tensor:
    """The encoder's latents of ``image``, float32 [N, num_ws, w_dim], on the network's device.

    Pictures larger than the encoder's input are reduced by area averaging, smaller ones are enlarged bilinearly.

    Args:
        encoder: an encoder trained for ``network``, in evaluation mode.
        image: float [N, 3, R, R] in [-1, 1] of any size, faces cropped by ``encoder.alignment``.
        network: the generator.
        iterations: of a residual encoder; others are applied once.

    Raises:
        UsageError: the encoder's latents do not fit the network.
        ShapeError: pictures of another shape or type.
    """
    require_fit(encoder, network)
    if image.ndim != 4 or image.shape[1] != 3 or image.shape[2] != image.shape[3] or not image.is_floating_point():
        raise ShapeError(f"images are {image.dtype} {list(image.shape)}; expected float [N, 3, R, R].")
    image = resized(image.to(encoder.offset), encoder.resolution)
    ws = encoder.ws(image)
    for _ in range(iterations - 1 if encoder.is_iterative else 0):
        drawn = network.synthesis(ws.to(network.w_avg)).to(image)
        ws = ws + encoder.residual(image, resized(drawn, encoder.resolution))
    return ws.to(network.w_avg)


def resized(image: Tensor, side: int) -> Tensor:
    """Square pictures [N, 3, R, R] at [N, 3, side, side]; see :func:`start_from_encoder`."""
    if image.shape[-1] == side:
        return image
    if image.shape[-1] > side:
        return F.interpolate(image, size=(side, side), mode="area")
    return F.interpolate(image, size=(side, side), mode="bilinear", align_corners=False)

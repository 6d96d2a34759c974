"""Relatent's own encoder: it looks at a photo beside what has been drawn so far, and says what to change.

ReStyle (Alaluf et al. 2021, sec. 3.1): the first look compares the photo with the average face, each further one with
the last result. The change has e4e's form (Tov et al. 2021, sec. 4.1): one w for all layers and an offset for each,
which training keeps small.

What it sees are the features of the perceptual backbone, in which the result is judged, too; only what makes latents of
them is taught. The backbone knows faces already, so that a tenth of the pictures suffice. It travels in the encoder's
file: an encoder goes on meaning the same when the project ships another backbone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inversion.encoders.encoder import Encoder
from relatent.core.alignment import Alignment
from relatent.core.errors import ShapeError
from stylegan.bounds import MAX_DIM, MAX_LAYERS, require_resolution, require_whole
from stylegan.networks.backbone import WIDTHS, Backbone, enlarge_small, unit_length
from stylegan.networks.layers import Conv2d, Linear

COLOURS = 16  # pixels a side of the pictures themselves: features of unit length know no brightness


class View(NamedTuple):
    """How a layer of the backbone is looked at: reduced to some channels, then averaged to side x side places."""

    layer: int
    channels: int
    side: int


# The same for every resolution, so that an encoder can begin with another's weights. Taps left out say nearly the
# same as their neighbours.
VIEWS = (View(0, 16, 8), View(1, 32, 8), View(2, 48, 8), View(4, 96, 4), View(6, 96, 4))


@dataclass(frozen=True)
class EncoderConfig:
    """Everything needed to build the network of an encoder; saved in its file.

    Attributes:
        resolution: height and width of the pictures it reads.
        num_ws: layers of the generator.
        w_dim: dimensions of w.
        hidden: units of the layers before the codes.
    """

    resolution: int
    num_ws: int
    w_dim: int
    hidden: int = 512

    def __post_init__(self) -> None:
        require_resolution(self.resolution)
        require_whole("num_ws", self.num_ws, 1, MAX_LAYERS)
        for name in ("w_dim", "hidden"):
            require_whole(name, getattr(self, name), 1, MAX_DIM)


class Looker(nn.Module):
    """Photos [N, 3, S, S] and drawings, as many or one for all, to changes of ws, [N, num_ws, w_dim]."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone().requires_grad_(False)
        self.compare = nn.ModuleList(Conv2d(2 * WIDTHS[view.layer], view.channels, 1) for view in VIEWS)
        values = 6 * COLOURS**2 + sum(view.channels * view.side**2 for view in VIEWS)
        self.gather = Linear(values, config.hidden, activate=True)
        self.hidden = Linear(config.hidden, config.hidden, activate=True)
        self.common = Linear(config.hidden, config.w_dim)
        self.offsets = Linear(config.hidden, config.num_ws * config.w_dim)
        for layer in (self.common, self.offsets):
            nn.init.zeros_(layer.weight)  # an untrained encoder changes nothing

    def forward(self, image: Tensor, drawn: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """The comparison is computed in ``dtype``, the layers after it in float32; the backbone in its weights' own."""
        theirs, ours = self._seen(image), self._seen(drawn)
        x = [F.adaptive_avg_pool2d(pair, COLOURS) for pair in (image - drawn, drawn.expand_as(image))]
        for view, compare in zip(VIEWS, self.compare, strict=True):
            a, b = theirs[view.layer], ours[view.layer]
            pair = torch.cat([a - b, b.expand_as(a)], dim=1).to(dtype)
            x.append(F.adaptive_avg_pool2d(compare(pair), view.side))  # [N, channels, side, side]
        h = self.hidden(self.gather(torch.cat([part.to(image.dtype).flatten(1) for part in x], dim=1)))
        offsets = self.offsets(h).unflatten(1, (self.config.num_ws, self.config.w_dim))
        return self.common(h)[:, None] + offsets

    def _seen(self, image: Tensor) -> list[Tensor]:
        """Taps of unit length as the distance compares them, but with values of about 1, as layers like them."""
        with torch.no_grad():
            return [unit_length(feature) * feature.shape[1] ** 0.5 for feature in self.backbone(enlarge_small(image))]


class RefiningEncoder(Encoder):
    """An encoder that can look again.

    Attributes:
        average_image: what the generator draws of its average w, [3, S, S]: the drawing at the first look.
    """

    average_image: Tensor

    def __init__(
        self,
        config: EncoderConfig,
        w_avg: Tensor,
        average_image: Tensor,
        *,
        alignment: Alignment | None = None,
        network: str = "",
    ) -> None:
        size = config.resolution
        if average_image.shape != (3, size, size):
            raise ShapeError(f"the average picture is {list(average_image.shape)}; expected [3, {size}, {size}].")
        offset = w_avg.detach().clone().expand(config.num_ws, -1).contiguous()
        super().__init__(Looker(config), offset, resolution=size, alignment=alignment, network=network)
        self.config = config
        self.register_buffer("average_image", average_image.detach().clone())

    def forward(self, image: Tensor) -> Tensor:
        """The first look: image [N, 3, S, S] in [-1, 1] to codes [N, num_ws, w_dim], relative to ``offset``.

        Raises:
            ShapeError: pictures of another size or type.
        """
        self.check(image)
        return self.change(image, self.average_image[None])

    @property
    def can_look_again(self) -> bool:
        return True

    def change(self, image: Tensor, drawn: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """What to add to ws that drew ``drawn`` to draw ``image`` [N, 3, S, S]: [N, num_ws, w_dim].

        ``drawn`` [1, 3, S, S] stands for one drawing beside all photos.
        """
        return self.model(image, drawn, dtype)

"""The encoders of pSp and e4e: from a picture to one code for each of the generator's layers.

Both have small convolutional heads, one for each layer, on a feature pyramid over IR-SE50 (Richardson et al. 2021,
"Encoding in Style", section 3.1 and figure 2). Coarse layers read the deepest features, finer layers shallower ones,
to which the deeper ones have been added.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inversion.encoders.irse50 import IRSE50, STAGES
from stylegan.networks.layers import Linear

RESOLUTION = 256  # side of the input in pixels; the heads reduce it to exactly one pixel
WIDTH = STAGES[-1][0]  # channels of the pyramid, and dimensions of a code
SIDES = (RESOLUTION // 16, RESOLUTION // 8, RESOLUTION // 4)  # pixels along the coarse, middle and fine level
FIRST_MIDDLE, FIRST_FINE = 3, 7  # layers 0 to 2 read the coarse level, 3 to 6 the middle one, all others the fine one
LEAKY_SLOPE = 0.01  # PyTorch's default, which pSp uses


class GradualStyleEncoder(nn.Module):
    """The encoder of pSp: the code of each layer has its own head.

    Args:
        num_ws: layers of the generator, 2 log2(R) - 2.
    """

    def __init__(self, num_ws: int) -> None:
        super().__init__()
        self.backbone = IRSE50()
        self.to_middle = nn.Conv2d(STAGES[2][0], WIDTH, 1)
        self.to_fine = nn.Conv2d(STAGES[1][0], WIDTH, 1)
        self.heads = nn.ModuleList(StyleBlock(SIDES[_level_read_by(layer)]) for layer in range(num_ws))

    def forward(self, image: Tensor) -> Tensor:
        """[N, 3, 256, 256] in [-1, 1] to codes [N, num_ws, 512], relative to the average w."""
        fine, middle, coarse = self.backbone(image)
        middle = _add_enlarged(coarse, self.to_middle(middle))
        fine = _add_enlarged(middle, self.to_fine(fine))
        levels = (coarse, middle, fine)
        return torch.stack([head(levels[_level_read_by(layer)]) for layer, head in enumerate(self.heads)], dim=1)


class Encoder4Editing(GradualStyleEncoder):
    """The encoder of e4e: one w for all layers, and small offsets from it.

    Tov et al. 2021, section 4.1 and equation 1: the first head gives w, and every other the offset of its layer, so
    that the codes stay close to W, where edits work. All offsets are used, as at the end of the progressive training.
    """

    def forward(self, image: Tensor) -> Tensor:
        """[N, 3, 256, 256] in [-1, 1] to codes [N, num_ws, 512], relative to the average w."""
        w, offsets = super().forward(image).split([1, len(self.heads) - 1], dim=1)
        return torch.cat([w, w + offsets], dim=1)


class StyleBlock(nn.Module):
    """The head of one layer, [N, 512, side, side] to [N, 512]: strided convolutions down to one pixel.

    Args:
        side: height and width of its input, a power of two.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        halvings = int(math.log2(side))
        self.convs = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1) for _ in range(halvings))
        self.linear = Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = F.leaky_relu(conv(x), LEAKY_SLOPE)
        return self.linear(x.flatten(1))


def _level_read_by(layer: int) -> int:
    """The index in :data:`SIDES` of the pyramid level that a layer's head reads."""
    return 0 if layer < FIRST_MIDDLE else 1 if layer < FIRST_FINE else 2


def _add_enlarged(small: Tensor, large: Tensor) -> Tensor:
    """One step of the pyramid. Corners are aligned, as in the training of the published encoders."""
    return large + F.interpolate(small, size=large.shape[2:], mode="bilinear", align_corners=True)

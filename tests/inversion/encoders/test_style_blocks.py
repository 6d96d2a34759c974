import pytest
import torch
import torch.nn.functional as F
from torch import nn

from inversion.encoders.style_blocks import Encoder4Editing, GradualStyleEncoder, StyleBlock

NUM_WS = 9


class Fixed(nn.Module):
    """A backbone whose features are always the same."""

    def __init__(self):
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        sizes = ((128, 64), (256, 32), (512, 16))
        self.features = tuple(torch.randn(1, channels, side, side, generator=rng) for channels, side in sizes)

    def forward(self, image):
        return self.features


class MeanSquare(nn.Module):
    """In a head's place: tells the features it was given apart."""

    def forward(self, x):
        return x.square().mean(dim=(2, 3))


@pytest.fixture
def make():
    def made(kind):
        with torch.device("meta"):  # a hundred million weights that these tests have no use for
            encoder = kind(NUM_WS)
        torch.manual_seed(1)
        encoder.backbone = Fixed()
        encoder.to_middle, encoder.to_fine = nn.Conv2d(256, 512, 1), nn.Conv2d(128, 512, 1)
        encoder.heads = nn.ModuleList(MeanSquare() for _ in range(NUM_WS))
        return encoder.eval()

    return made


@torch.no_grad()
def test_each_layer_reads_its_level_of_the_pyramid(make):
    encoder = make(GradualStyleEncoder)
    fine, middle, coarse = encoder.backbone.features
    middle = encoder.to_middle(middle) + F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=True)
    fine = encoder.to_fine(fine) + F.interpolate(middle, scale_factor=2, mode="bilinear", align_corners=True)
    head = MeanSquare()
    expected = torch.stack([*[head(coarse)] * 3, *[head(middle)] * 4, *[head(fine)] * 2], dim=1)
    torch.testing.assert_close(encoder(torch.zeros(1, 3, 256, 256)), expected)


@torch.no_grad()
def test_e4e_adds_its_first_code_to_the_others(make):
    image = torch.zeros(1, 3, 256, 256)
    psp, e4e = make(GradualStyleEncoder)(image), make(Encoder4Editing)(image)
    torch.testing.assert_close(e4e[:, 0], psp[:, 0])
    torch.testing.assert_close(e4e[:, 1:], psp[:, 1:] + psp[:, :1])


@pytest.mark.parametrize(("side", "depth"), [(16, 4), (32, 5), (64, 6)])
def test_head_ends_in_one_pixel(side, depth):
    with torch.device("meta"):
        block = StyleBlock(side)
        assert len(block.convs) == depth
        assert block(torch.empty(2, 512, side, side)).shape == (2, 512)


@torch.no_grad()
def test_head_computes_with_leaky_relus_and_an_equalised_layer():
    block = StyleBlock(2)
    torch.manual_seed(0)
    x = torch.randn(1, 512, 2, 2)
    hidden = F.conv2d(x, block.convs[0].weight, block.convs[0].bias, stride=2, padding=1).flatten(1)
    expected = torch.where(hidden > 0, hidden, 0.01 * hidden) @ block.linear.weight.T / 512**0.5 + block.linear.bias
    torch.testing.assert_close(block(x), expected)

import pytest
import torch

from inversion.encoders.irse50 import IRSE50, Block, Gate


def test_features_at_three_depths():
    with torch.device("meta"):
        fine, middle, coarse = IRSE50()(torch.empty(2, 3, 256, 256))
    assert [list(features.shape) for features in (fine, middle, coarse)] == [
        [2, 128, 64, 64],
        [2, 256, 32, 32],
        [2, 512, 16, 16],
    ]


def test_there_are_24_blocks():
    with torch.device("meta"):
        backbone = IRSE50()
    assert [len(stage) for stage in backbone.stages] == [3, 4, 14, 3]
    assert [[block.stride for block in stage][:2] for stage in backbone.stages] == [[2, 1]] * 4


@pytest.mark.parametrize("stride", [1, 2])
def test_block_of_one_width_passes_pixels_on(stride):
    block = Block(16, 16, stride=stride).eval()
    torch.nn.init.zeros_(block.conv_out.weight)
    x = torch.randn(2, 16, 6, 6)
    assert torch.equal(block(x), x[:, :, ::stride, ::stride])


def test_block_adds_its_branch_to_the_widened_shortcut():
    block = Block(16, 32, stride=2).eval()
    torch.nn.init.constant_(block.norm_out.bias, 0.5)
    torch.nn.init.zeros_(block.conv_out.weight)
    torch.nn.init.zeros_(block.gate.excite.weight)
    x = torch.randn(2, 16, 6, 6)
    torch.testing.assert_close(block(x), block.widen(x) + 0.25)  # 0.5 through a gate half open
    assert block(x).shape == (2, 32, 3, 3)


def test_gate_weighs_channels_by_their_means():
    gate = Gate(16)
    torch.nn.init.constant_(gate.squeeze.weight, 1 / 16)
    torch.nn.init.constant_(gate.excite.weight, 2.0)
    x = torch.randn(3, 16, 4, 4) + 1
    expected = x * torch.sigmoid(2 * x.mean(dim=(1, 2, 3)).relu()).view(3, 1, 1, 1)
    torch.testing.assert_close(gate(x), expected)

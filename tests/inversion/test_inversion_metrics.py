import pytest
import torch

from inversion.losses.perceptual import load_perceptual
from inversion.metrics import measure, ms_ssim, psnr


def pictures(seed, size=64):
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_psnr_by_hand():
    # an error of 0.2 in [-1, 1] is a tenth of the range: 10 log10(1 / 0.01) = 20 dB
    assert psnr(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.2)) == pytest.approx(20.0, abs=1e-4)


def test_ms_ssim_takes_small_pictures_and_knows_equality():
    a = pictures(0)
    assert ms_ssim(a, a) == pytest.approx(1.0, abs=1e-5)
    assert ms_ssim(a, pictures(1)) < 0.3


def test_measures_name_their_backbone_and_judge_what_is_written():
    a = pictures(0)
    quality = measure(a + 0.001, a, load_perceptual())  # rounds to the same 8 bits almost everywhere
    assert quality.lpips_trunk == "faces-backbone"
    assert quality.psnr > 48
    assert quality.lpips < 0.02
    outside = measure(a * 50, a, load_perceptual())
    assert outside.psnr < 12

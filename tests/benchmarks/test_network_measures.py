"""Measures of generated faces, by pictures whose answer is known."""

from __future__ import annotations

import math

import torch

from benchmarks.network_measures import at_size, octave_power, share_with_face


def test_a_wave_has_its_power_in_its_own_octave() -> None:
    columns = torch.arange(64)
    for cycles, octave in ((24, 0), (12, 1), (6, 2)):
        wave = torch.cos(2 * math.pi * cycles * columns / 64).expand(1, 3, 64, 64)
        power = octave_power(wave)
        assert int(power.argmax()) == octave
        assert float(power[octave] / power.sum()) > 0.95


def test_white_noise_has_equal_power_per_area_of_the_spectrum() -> None:
    noise = torch.randn(50, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    power = octave_power(noise)
    # Rings of half the radius have a quarter of the area.
    assert abs(float(power[0] / power[1]) - 4) < 0.3
    assert abs(float(power[1] / power[2]) - 4) < 0.5


def test_pictures_are_resampled_without_a_shift() -> None:
    ramp = torch.linspace(-0.9, 0.9, 32).expand(2, 3, 32, 32)
    larger = at_size(ramp, 64)
    assert larger.shape == (2, 3, 64, 64)
    middle = (larger[..., 30:34].mean(), ramp[..., 15:17].mean())
    assert abs(float(middle[0] - middle[1])) < 1e-3
    assert at_size(ramp, 32) is ramp


def test_no_face_in_grey() -> None:
    assert share_with_face(torch.zeros(2, 3, 64, 64)) == 0

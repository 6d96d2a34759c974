"""The low-pass filters of alias-free synthesis: what they let pass, and resampling against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from stylegan.networks.alias_free_filters import (
    downsample,
    kaiser_window,
    lowpass_filter,
    radial_lowpass_filter,
    upsample,
)

RATE, CUTOFF, WIDTH = 32.0, 4.0, 4.0


def response(line, frequency, rate=RATE):
    """The gain of a filter at one frequency."""
    places = np.arange(len(line)) - (len(line) - 1) / 2
    return float((line * np.cos(2 * math.pi * frequency / rate * places)).sum())


def radial_response(plane, frequency, angle):
    places = np.arange(len(plane)) - (len(plane) - 1) / 2
    x, y = np.meshgrid(places, places)
    phase = 2 * math.pi * frequency / RATE * (x * math.cos(angle) + y * math.sin(angle))
    return float((plane * np.cos(phase)).sum())


class TestDesign:
    def test_passband_stopband_and_cutoff(self):
        line = lowpass_filter(48, CUTOFF, WIDTH, RATE)
        assert line.sum() == pytest.approx(1)
        assert np.array_equal(line, line[::-1])
        assert all(abs(response(line, f) - 1) < 0.01 for f in np.linspace(0, CUTOFF - WIDTH / 2, 20))
        assert all(abs(response(line, f)) < 0.01 for f in np.linspace(CUTOFF + WIDTH / 2, RATE / 2, 50))
        assert response(line, CUTOFF) == pytest.approx(0.5, abs=0.01)

    @pytest.mark.parametrize("angle", [0, math.pi / 8, math.pi / 4])
    def test_radial_filter_does_so_in_every_direction(self, angle):
        plane = radial_lowpass_filter(48, CUTOFF, WIDTH, RATE)
        assert plane.sum() == pytest.approx(1)
        assert np.allclose(plane, np.rot90(plane), atol=1e-12)
        assert all(abs(radial_response(plane, f, angle) - 1) < 0.02 for f in np.linspace(0, CUTOFF - WIDTH / 2, 9))
        assert all(abs(radial_response(plane, f, angle)) < 0.02 for f in np.linspace(CUTOFF + WIDTH / 2, RATE / 2, 25))
        for frequency in np.linspace(CUTOFF - WIDTH / 2, CUTOFF + WIDTH / 2, 9):
            assert radial_response(plane, frequency, angle) == pytest.approx(
                radial_response(plane, frequency, 0), abs=5e-3
            )

    def test_separable_filter_does_not(self):
        """Else the test above would prove nothing."""
        line = lowpass_filter(48, CUTOFF, WIDTH, RATE)
        assert radial_response(np.outer(line, line), CUTOFF * 1.2, math.pi / 4) > 0.5

    @pytest.mark.parametrize(("taps", "width"), [(12, 12.0), (12, 30.0), (24, 9.65), (48, 0.1), (96, 20.0)])
    def test_agrees_with_an_independent_design(self, taps, width):
        signal = pytest.importorskip("scipy.signal")
        expected = signal.firwin(taps, CUTOFF, width=width, fs=64.0)
        assert np.allclose(lowpass_filter(taps, CUTOFF, width, 64.0), expected, atol=1e-12)

    def test_windows_reach_all_three_of_the_empirical_formulae(self):
        assert np.array_equal(kaiser_window(12, 0.1, 64.0), np.ones(12))
        assert kaiser_window(12, 12.0, 64.0)[0] == pytest.approx(1 / np.i0(3.101), rel=1e-3)  # 37.6 dB
        assert kaiser_window(48, 20.0, 64.0)[0] < 1e-3


class TestResampling:
    """Against zero insertion and convolution written out."""

    @pytest.mark.parametrize(("factor", "crop"), [(2, 0), (2, 5), (4, 14)])
    def test_up(self, factor, crop):
        x, line = np.random.default_rng(0).normal(size=(5, 7)), lowpass_filter(6 * factor, 2.0, 4.0, 16.0)
        spread = np.zeros(((5 - 1) * factor + 1, (7 - 1) * factor + 1))
        spread[::factor, ::factor] = x
        full = convolve(spread, np.outer(line, line) * factor**2)
        expected = full[crop : full.shape[0] - crop, crop : full.shape[1] - crop]
        found = upsample(torch.tensor(x).expand(2, 3, 5, 7), torch.tensor(line), factor, crop)
        assert found.shape[2:] == expected.shape
        assert np.allclose(found, expected, atol=1e-12)

    @pytest.mark.parametrize("radial", [False, True])
    @pytest.mark.parametrize("factor", [1, 2, 3])
    def test_down(self, factor, radial):
        x = np.random.default_rng(0).normal(size=(17, 20))
        design = radial_lowpass_filter if radial else lowpass_filter
        kernel = design(12, 4.0, 8.0, 32.0)
        plane = kernel if radial else np.outer(kernel, kernel)
        expected = convolve(x, plane)[11:-11, 11:-11][::factor, ::factor]
        found = downsample(torch.tensor(x).expand(2, 3, 17, 20), torch.tensor(kernel), factor)
        assert found.shape[2:] == expected.shape
        assert np.allclose(found, expected, atol=1e-12)

    def test_brightness_stays(self):
        line = torch.tensor(lowpass_filter(12, 4.0, 8.0, 32.0))
        up = upsample(torch.ones(1, 1, 20, 20, dtype=torch.float64), line, 2, 0)[:, :, 12:-12, 12:-12]
        assert torch.allclose(up, torch.ones_like(up), atol=0.01)
        assert torch.allclose(downsample(torch.ones(1, 1, 20, 20).double(), line, 2), torch.ones(1, 1, 5, 5).double())


def convolve(x, plane):
    """Every sample's whole echo."""
    (h, w), (a, b) = x.shape, plane.shape
    full = np.zeros((h + a - 1, w + b - 1))
    for i, j in np.ndindex(a, b):
        full[i : i + h, j : j + w] += plane[i, j] * x
    return full

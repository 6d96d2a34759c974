"""Operations and bytes are counted as one would by hand, and a step is what two have and one has not."""

import pytest
import torch
import torch.nn.functional as F

from benchmarks.floor import Counter, Peaks, counted, floor_of, measured_peaks
from benchmarks.steps import ours, published


def work_of(function, *tensors):
    with Counter() as counter:
        function(*tensors)
    return counter.work


def test_by_hand():
    a, b = torch.randn(3, 5), torch.randn(5, 7)
    assert work_of(torch.mm, a, b) == [(2 * 3 * 5 * 7, 4 * (15 + 35 + 21))]
    x, weight = torch.randn(1, 4, 8, 8), torch.randn(6, 4, 3, 3)
    ((flops, size),) = work_of(lambda x, w: F.conv2d(x, w, padding=1), x, weight)
    assert flops == 2 * 6 * 4 * 9 * 64
    assert size == 4 * (x.numel() + weight.numel() + 6 * 64)


def test_views_cost_nothing_and_expanded_tensors_are_read_once():
    x = torch.randn(8, 8)
    assert work_of(lambda x: x.t()[None].expand(5, -1, -1), x) == []
    assert work_of(lambda x: x.expand(1000, 8, 8) + 1, x) == [(0, 4 * (64 + 64_000))]
    assert work_of(lambda x: x.add_(1), x) == [(0, 4 * 128)]


def test_a_step_is_what_two_have_and_one_has_not():
    a = torch.randn(4, 4)

    def form(steps):
        a.exp()  # before and after all steps
        for _ in range(steps):
            a @ a

    assert counted(form) == [(2 * 64, 4 * 48)]
    peaks = Peaks(flops=128e3, bandwidth=192e6)  # a millisecond of arithmetic, a thousandth of it to move
    row = floor_of(form, 2.0, 2, peaks)
    assert (row["floor_milliseconds"], row["share"], row["operators"]) == (0.5, 0.25, 1)


def test_ours_needs_less_arithmetic_than_the_published_form(tiny_generator):
    photo = torch.rand(1, 3, 32, 32) * 2 - 1
    our_work, their_work = (counted(form(tiny_generator, photo)) for form in (ours, published))
    assert 0 < sum(flops for flops, _ in our_work) < sum(flops for flops, _ in their_work)


def test_peaks(monkeypatch):
    monkeypatch.setattr("benchmarks.floor.COPIED_BYTES", [2**16])
    monkeypatch.setattr("benchmarks.floor.REPEATS", 1)
    peaks = measured_peaks(torch.device("cpu"))
    assert peaks.flops > 1e8
    assert peaks.bandwidth > 1e8
    ticks = iter(range(10_000))
    assert measured_peaks(torch.device("cpu"), lambda: next(ticks)).bandwidth == pytest.approx(2 * 2**16 * 2**8)

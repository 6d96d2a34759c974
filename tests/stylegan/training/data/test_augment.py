"""DiffAugment and flips: what they change, what they leave, and that every sample gets its own."""

from __future__ import annotations

import pytest
import torch

from stylegan.training.data import augment
from stylegan.training.data.augment import diff_augment, random_flip

CHANGES = [augment._colour, augment._translate, augment._cutout]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def pictures(count=8, size=16):
    return torch.rand(count, 3, size, size) * 2 - 1


def test_strength_0_is_the_identity():
    images = pictures()
    assert diff_augment(images, 0) is images


@pytest.mark.parametrize("strength", [0.3, 1.0])
@pytest.mark.parametrize("shape", [(4, 3, 8, 8), (1, 3, 16, 32), (3, 1, 9, 9)])
def test_shape_and_type_stay(strength, shape):
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        images = torch.rand(shape).to(dtype)
        changed = diff_augment(images, strength)
        assert changed.shape == shape
        assert changed.dtype == dtype


def test_strength_is_the_probability_of_each_change():
    images = pictures(4000, 4)
    for strength in (0.1, 0.5):
        same = (diff_augment(images, strength) == images).flatten(1).all(dim=1).double().mean().item()
        kept_by_chance = 1 - strength * 8 / 9  # at 4 px a translation is one of 3 x 3, one of them nothing
        assert same == pytest.approx((1 - strength) ** 2 * kept_by_chance, abs=0.03)


@pytest.mark.parametrize("change", CHANGES)
def test_each_sample_gets_its_own(change):
    images = pictures(1).repeat(16, 1, 1, 1)
    changed = change(images)
    assert len(torch.unique(changed.flatten(1), dim=0)) > 8


@pytest.mark.parametrize("change", CHANGES)
def test_gradients(change):
    images = pictures(2, 5).double().requires_grad_(True)

    def same_each_time(value):
        torch.manual_seed(5)
        return change(value)

    assert torch.autograd.gradcheck(same_each_time, (images,))


def test_translation_moves_by_whole_pixels_and_brings_in_zeros():
    images = pictures(64)
    moved = augment._translate(images)
    seen = set()
    for before, after in zip(images, moved, strict=True):
        padded = torch.nn.functional.pad(before, (2, 2, 2, 2))
        shifts = [
            (y - 2, x - 2)
            for y in range(5)
            for x in range(5)
            if torch.equal(padded[:, y : y + 16, x : x + 16], after)  # exactly
        ]
        assert len(shifts) == 1
        seen |= set(shifts)
    assert {y for y, _ in seen} == {x for _, x in seen} == {-2, -1, 0, 1, 2}  # an eighth of the side, each way


def test_cutout_blanks_a_quarter():
    ones = torch.ones(2000, 3, 32, 32)
    cut = augment._cutout(ones)
    assert set(cut.unique().tolist()) == {0.0, 1.0}
    blank = (cut == 0).all(dim=1).flatten(1).double().mean(dim=1)  # share of each picture
    assert blank.max() == 0.25  # a square of half the side, if all of it lies inside
    assert blank.mean().item() == pytest.approx((7 / 16) ** 2, abs=0.01)  # counted by hand: some lies outside
    assert (cut[:, :, 16, 16] == 0).double().mean() > (cut[:, :, 0, 0] == 0).double().mean() > 0


def test_cutout_is_one_square():
    for picture in augment._cutout(torch.ones(20, 1, 16, 16))[:, 0]:
        rows, columns = (picture == 0).nonzero(as_tuple=True)
        assert (picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] == 0).all()
        assert 4 <= rows.max() - rows.min() + 1 <= 8


def test_colour_keeps_places_and_stays_near():
    images = pictures(500, 4)
    changed = augment._colour(images)
    shift = (changed - images).mean(dim=(1, 2, 3))
    assert -0.51 < shift.min() < -0.4
    assert 0.4 < shift.max() < 0.51
    ratio = changed.std(dim=(1, 2, 3)) / images.std(dim=(1, 2, 3))
    assert 0 < ratio.min() < ratio.max() < 3.1


def test_flip_mirrors_half():
    images = pictures(400, 4)
    flipped = random_flip(images)
    mirrored = (flipped == images.flip(3)).flatten(1).all(dim=1)
    same = (flipped == images).flatten(1).all(dim=1)
    assert (mirrored ^ same).all()
    assert 150 < mirrored.sum() < 250

"""The measures that nobody optimises: each sees what it is there to see."""

import dataclasses

import pytest
import torch

from benchmarks import editability
from benchmarks.editability import Plausibility, edited_and_back, with_fresh_noise
from benchmarks.inverting import Latent, Task, distance, drawn
from editing.directions.direction import Direction
from inversion.losses.perceptual import load_perceptual
from inversion.presets import Plan
from stylegan import network_id


@pytest.fixture
def task(tiny_generator):
    return Task(Plan(), tiny_generator, None, None, load_perceptual())


@pytest.fixture
def latents(tiny_generator):
    with torch.no_grad():
        ws = tiny_generator.mapping(torch.randn(2, 16, generator=torch.Generator().manual_seed(1)))
    noise = tuple(tiny_generator.synthesis.noise_buffers)
    return [Latent(one, noise, None, 1.0) for one in ws.split(1)]


@pytest.fixture
def direction(tiny_generator):
    vector = torch.randn(24, generator=torch.Generator().manual_seed(2))
    return Direction(vector, "some", network_id(tiny_generator))


def test_fresh_noise_finds_a_picture_in_the_noise(task, latents):
    photo = drawn(task.network, latents[0])
    plain = with_fresh_noise(task, latents[0], photo)
    loud = dataclasses.replace(latents[0], noise=tuple(level * 6 for level in latents[0].noise))
    hidden = drawn(task.network, loud)
    assert distance(task.perceptual, hidden, hidden) == 0
    assert with_fresh_noise(task, loud, hidden) > 1.5 * plain > 0


def test_a_perfect_inversion_comes_back_from_an_edit(task, latents, direction, monkeypatch):
    photos = torch.cat([drawn(task.network, one) for one in latents])
    seen = []

    def perfect(task, pictures):
        seen.append(pictures)
        return [dataclasses.replace(one, ws=direction.apply(one.ws, 1.5)) for one in latents]

    monkeypatch.setattr(editability, "inverted", perfect)
    assert edited_and_back(task, latents, photos, direction, 1.5) == pytest.approx([0, 0], abs=1e-4)
    assert (seen[0] - photos).abs().mean() > 0.01  # what was inverted again was the edited face
    monkeypatch.setattr(editability, "inverted", lambda task, pictures: latents)  # as if it had seen no edit
    assert min(edited_and_back(task, latents, photos, direction, 1.5)) > 0.01


def test_sampled_latents_are_plausible_and_others_are_not(tiny_generator):
    measure = Plausibility(tiny_generator)
    samples = tiny_generator.sample_w(500, seed=9)
    assert measure.distance(samples[None]) == pytest.approx(1.0, abs=0.1)
    assert measure.distance(tiny_generator.w_avg[None, None]) < 0.2
    foreign = torch.randn(500, 24, generator=torch.Generator().manual_seed(3))
    assert measure.distance(samples[None] + foreign) > 2
    mixed = torch.cat([samples[None, :4], samples[None, :4] + 5], dim=1)
    parts = [measure.distance(part) for part in mixed.split(4, dim=1)]
    assert measure.distance(mixed) == pytest.approx(sum(parts) / 2, abs=1e-3)

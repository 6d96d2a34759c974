"""Editing with a network on a device that refuses what a GPU would: no float64 on it, no tensor on the wrong one."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from pretend_device import DEVICE

from editing import DragOptions, drag, edit, mix
from editing.directions.channels import strongest_in_region
from editing.directions.direction import Direction
from editing.directions.ganspace import ganspace_directions
from editing.directions.sefa import sefa_directions
from editing.directions.stylespace import StyleSpace
from editing.drawing import draw_many, with_noise
from editing.seeds import seed_inversion
from stylegan import network_id


@pytest.fixture
def network(pretend, tiny_generator):
    return copy.deepcopy(tiny_generator).to(DEVICE)


@pytest.fixture
def faces(tiny_generator):
    return [seed_inversion(tiny_generator, seed) for seed in (1, 2)]


@pytest.fixture
def up(tiny_generator):
    vector = torch.linspace(-1, 1, tiny_generator.w_dim)
    return Direction(vector=vector, name="up", network=network_id(tiny_generator), source="test")


def assert_drawn_alike(face, network, tiny_generator):
    torch.testing.assert_close(face.tensor(network), face.tensor(tiny_generator))


def test_edits(network, tiny_generator, faces, up):
    changed = edit(faces[0], {"up": 1.5}, directions=[up], truncation=0.7, network=network)
    assert torch.equal(
        changed.ws, edit(faces[0], {"up": 1.5}, directions=[up], truncation=0.7, network=tiny_generator).ws
    )
    assert_drawn_alike(changed, network, tiny_generator)
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., :16] = 1
    assert_drawn_alike(changed.replace(mask=mask), network, tiny_generator)


def test_tuned_weights(network, tiny_generator, faces):
    name, weight = next((n, p) for n, p in tiny_generator.synthesis.named_parameters() if p.ndim == 4)
    factors = (torch.ones(weight.shape[0], 1).half() / 9, torch.ones(1, weight[0].numel()).half() / 9)
    assert_drawn_alike(faces[0].replace(tuned={name: factors}), network, tiny_generator)


@pytest.mark.slow
def test_drags(network, tiny_generator, faces):
    options = DragOptions(pixels="face", radius=8, num_steps=3, limit=1000)
    mask = np.pad(np.ones((24, 32), np.float32), ((8, 0), (0, 0)))
    there, here = (
        drag(faces[0], [(14, 18)], [(17, 18)], mask, options=options, network=one) for one in (network, tiny_generator)
    )
    torch.testing.assert_close(there.ws, here.ws, rtol=0, atol=0.02)
    assert (there.ws - faces[0].ws).abs().max() > 0.05


def test_mixes(network, tiny_generator, faces):
    assert_drawn_alike(mix(*faces, network=network), network, tiny_generator)


def test_many_together(network, tiny_generator, faces):
    several = [faces[0], with_noise(faces[1], tiny_generator, "random"), faces[1]]
    found, expected = (list(draw_many(several, one)) for one in (network, tiny_generator))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_seed(network, tiny_generator):
    assert torch.equal(seed_inversion(network, 3).ws, seed_inversion(tiny_generator, 3).ws)


@pytest.mark.parametrize("method", [sefa_directions, ganspace_directions])
def test_directions_without_labels(network, tiny_generator, method):
    found, expected = (method(one, count=2) for one in (network, tiny_generator))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.vector, theirs.vector, rtol=1e-3, atol=1e-4)


def test_channels_of_a_region(network, tiny_generator):
    mask = torch.zeros(32, 32)
    mask[8:20, 8:20] = 1
    found, expected = (strongest_in_region(StyleSpace(one, samples=64), mask, 3) for one in (network, tiny_generator))
    assert [one.channel for one in found] == [one.channel for one in expected]

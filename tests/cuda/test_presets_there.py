"""Presets on a GPU find what the CPU found, by graphs as by eager steps, and less precise ones nearly so."""

from __future__ import annotations

import warnings

import pytest
import torch

from inversion import invert_images
from inversion.pipeline import open_network
from relatent.core.precision import check_precision

pytestmark = pytest.mark.cuda

# Steps, and the loss that the CPU had after them (seed 1, one thread of an AMD EPYC, torch 2.14).
ON_THE_CPU = {"fast": (None, 0.5466), "balanced": (30, 0.3210), "best": (10, 0.1262), "paper": (30, 1.3208)}


@pytest.fixture(scope="module")
def network():
    return open_network("faces-128", "cpu")


def loss_of(image, network, preset, **options):
    steps, _ = ON_THE_CPU[preset]
    chosen = {} if steps is None else {"num_steps": steps}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a graph that could not be captured, or less memory than thought
        (found,) = invert_images(image, network, preset=preset, seed=1, **chosen, **options)
    assert found.ws.isfinite().all()
    return found.losses["total"]


@pytest.mark.parametrize("execution", ["eager", "graph"])
@pytest.mark.parametrize("preset", ON_THE_CPU)
def test_each_preset(network, astronaut, device, preset, execution):
    if device.type == "cpu" and execution == "graph":
        pytest.skip("plain calls stand for graphs on a CPU; tests/inversion/optim has them")
    # Steps amplify rounding: a photo that differs in the seventh digit ends within 0.7 %.
    found = loss_of(astronaut, network, preset, device=str(device), execution=execution)
    assert found == pytest.approx(ON_THE_CPU[preset][1], rel=0.05)


@pytest.mark.parametrize(("precision", "bound"), [("tf32", 0.05), ("bfloat16", 0.15)])
def test_less_precise(network, astronaut, gpu, precision, bound):
    check_precision(precision, gpu)
    found = loss_of(astronaut, network, "balanced", device=str(gpu), precision=precision)
    assert found == pytest.approx(ON_THE_CPU["balanced"][1], rel=bound)


def test_one_photo_after_another(network, astronaut, device):
    """The second photo uses what was captured for the first, and knows nothing of it."""
    images = torch.cat([astronaut, astronaut.flip(3)])
    photos = (*images, images[0])
    again = [loss_of(one[None], network, "fast", device=str(device), execution="graph") for one in photos]
    assert again[2] == pytest.approx(again[0], rel=0.02)
    assert again[1] != again[0]


def test_the_picture_is_that_of_the_cpu(network, astronaut, device):
    (found,) = invert_images(astronaut, network, preset="fast", device=str(device))
    there = found.tensor(open_network(network, str(device)))
    torch.testing.assert_close(there, found.tensor(network), rtol=0, atol=1e-3)

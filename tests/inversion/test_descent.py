"""Steps that know the curvature: faster than Adam, each photo on its own, careful after a leap."""

import dataclasses

import pytest
import torch

from core.errors import UsageError
from inversion import invert_images
from inversion.curvature import Curvature
from inversion.curvature_file import read_curvature, save_curvature
from inversion.descent import CUT, GROWTH, CurvedDescent
from inversion.loss import Target
from inversion.optimiser import optimise
from inversion.perceptual import load_perceptual
from inversion.settings import BALANCED, CURVED, DescentSettings


@pytest.fixture
def photos(tiny_generator):
    with torch.no_grad():
        w = tiny_generator.sample_w(3, seed=5)
        return tiny_generator.synthesis(tiny_generator.mapping.truncate(w, 0.8))


def test_newton_in_a_bowl():
    """Where the curvature is true, full steps without momentum come to the bottom at once."""
    values = torch.tensor([8.0, 2.0])
    bowl = Curvature(torch.eye(2), values, torch.eye(2), "bowl")
    w = torch.tensor([[[3.0, -1.0]]], requires_grad=True)
    descent = CurvedDescent(w, [], 0.1, bowl, DescentSettings(damping=1e-4, step=1.0, momentum=0.0))
    loss = (values / 2 * w.square()).sum(dim=(1, 2))
    loss.sum().backward()
    descent.step(1.0, loss.detach())
    torch.testing.assert_close(w.detach(), torch.zeros(1, 1, 2), rtol=0, atol=1e-3)
    assert w.grad is None


def test_a_leap_halves_the_steps_of_its_photo_alone():
    w = torch.zeros(2, 1, 2, requires_grad=True)
    flat = Curvature(torch.eye(2), torch.ones(2), torch.eye(2), "flat")
    descent = CurvedDescent(w, [], 0.1, flat, DescentSettings(momentum=0.5))
    for losses in (torch.tensor([1.0, 1.0]), torch.tensor([0.9, 5.0])):
        w.grad = torch.ones_like(w)
        descent.step(1.0, losses)
    torch.testing.assert_close(descent.scale, torch.tensor([GROWTH, CUT]))
    first, second = descent.velocity[:, 0, 0].abs()
    assert first > 2 * second  # the other photo's momentum is gone, too


def test_comes_closer_than_adam_in_as_many_steps(tiny_generator, tiny_curvature, photos):
    target = Target(photos, load_perceptual())
    plain = dataclasses.replace(BALANCED, num_steps=30, optimise_noise=False)
    # A network without training bends much more from place to place than one with.
    gentle = DescentSettings(step=0.05, momentum=0.5)
    curved = dataclasses.replace(CURVED, num_steps=30, optimise_noise=False, descent=gentle)
    _, by_adam = optimise(tiny_generator, target, plain, seed=0)
    _, by_curvature = optimise(tiny_generator, target, curved, seed=0, curvature=tiny_curvature)
    assert (by_curvature < by_adam).all()


def test_a_photo_does_not_depend_on_its_company(tiny_generator, tiny_curvature, photos):
    settings = dataclasses.replace(CURVED, num_steps=4)
    perceptual = load_perceptual()
    together, _ = optimise(tiny_generator, Target(photos, perceptual), settings, seed=1, curvature=tiny_curvature)
    alone, _ = optimise(tiny_generator, Target(photos[1:2], perceptual), settings, seed=1, curvature=tiny_curvature)
    torch.testing.assert_close(together.w[1:2], alone.w, rtol=1e-3, atol=1e-3)


def test_noise_moves_by_adam_beside_it(tiny_generator, tiny_curvature, photos):
    settings = dataclasses.replace(CURVED, num_steps=3)
    latents, _ = optimise(tiny_generator, Target(photos, load_perceptual()), settings, seed=1, curvature=tiny_curvature)
    start = torch.randn(latents.noise[-1][0].shape, generator=torch.Generator().manual_seed(1))
    assert all(level.isfinite().all() for level in latents.noise)
    assert not torch.equal(latents.noise[-1][0], start)


def test_w_has_no_curvature(tiny_generator, tiny_curvature, photos):
    settings = dataclasses.replace(CURVED, space="w")
    with pytest.raises(UsageError, match="W\\+"):
        optimise(tiny_generator, Target(photos, load_perceptual()), settings, seed=1, curvature=tiny_curvature)


def test_the_door_takes_one_as_a_value_or_a_file(tiny_generator, tiny_curvature, photos, tmp_path):
    path = tmp_path / "c.safetensors"
    save_curvature(tiny_curvature, path)
    value, file, none = (
        invert_images(photos[:1], tiny_generator, curvature=one, num_steps=4, seed=1)[0].ws
        for one in (read_curvature(path), str(path), None)
    )
    assert torch.equal(value, file)
    assert not torch.allclose(value, none, rtol=1e-2, atol=1e-2)

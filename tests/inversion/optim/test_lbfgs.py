"""Steps that know the preconditioner: faster than Adam, each photo on its own, careful after a leap."""

import dataclasses

import pytest
import torch

from inversion import invert_images
from inversion.losses.loss import Target
from inversion.losses.perceptual import load_perceptual
from inversion.optim.lbfgs import GROW, SHRINK, AdamSteps, LbfgsHistory, PreconditionedLbfgs
from inversion.optim.preconditioner import Preconditioner
from inversion.optim.preconditioner_file import read_preconditioner, save_preconditioner
from inversion.optim.projector import optimise
from inversion.presets import BALANCED, BALANCED_PRECONDITIONED, LbfgsSettings
from relatent.core.errors import UsageError


@pytest.fixture
def photos(tiny_generator):
    with torch.no_grad():
        w = tiny_generator.sample_w(3, seed=5)
        return tiny_generator.synthesis(tiny_generator.mapping.truncate(w, 0.8))


BOWL = torch.tensor([8.0, 2.0])  # a loss's preconditioner along two directions


def descend(lbfgs, w, steps):
    """Steps in the bowl, and the loss where they end."""
    for _ in range(steps):
        loss = (BOWL / 2 * w.square()).sum(dim=(1, 2))
        loss.sum().backward()
        lbfgs.step(1.0, loss.detach())
    return float((BOWL / 2 * w.detach().square()).sum())


def preconditioned(values):
    return Preconditioner(torch.eye(2), values, torch.eye(2), "bowl")


@pytest.mark.skipif(not hasattr(torch, "accelerator"), reason="this PyTorch asks another module")
def test_eager_steps_on_a_gpu_bring_no_warning(monkeypatch):
    """PyTorch warns of a capturable Adam that is not captured, at its first step."""
    stream = type("Stream", (), {"is_capturing": lambda self: False})()
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *_, **__: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "current_stream", lambda *_: stream)
    w = torch.ones(1, 2)
    steps = AdamSteps([w], 0.1)
    steps.adam.param_groups[0]["capturable"] = True  # as on a GPU
    w.grad = torch.ones_like(w)
    steps.step(1.0)
    torch.testing.assert_close(w, torch.full((1, 2), 0.9))


def test_newton_in_a_bowl():
    """Where the average preconditioner is true, a full step comes to the bottom at once."""
    w = torch.tensor([[[3.0, -1.0]]], requires_grad=True)
    lbfgs = PreconditionedLbfgs(w, [], 0.1, preconditioned(BOWL), LbfgsSettings(damping=1e-4, step=1.0, memory=0))
    descend(lbfgs, w, 1)
    torch.testing.assert_close(w.detach(), torch.zeros(1, 1, 2), rtol=0, atol=1e-3)
    assert w.grad is None


def test_a_photos_own_curvature_is_learnt():
    """Where the average is wrong, by the factors 4 and 0.25, what was learnt makes good for it."""
    wrong = preconditioned(torch.tensor([32.0, 0.5]))
    ends = {}
    for memory in (0, 4):
        w = torch.tensor([[[3.0, -1.0]]], requires_grad=True)
        ends[memory] = descend(PreconditionedLbfgs(w, [], 0.1, wrong, LbfgsSettings(1e-4, 0.3, memory)), w, 6)
    assert ends[4] < 1e-3 * ends[0]


def test_secants_say_what_they_were_told():
    """The gradients' change along the last step is answered with that step (the secant equation), photo by photo."""
    seeded = torch.Generator().manual_seed(0)
    stiff = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])[:, None]
    history = LbfgsHistory(3)
    for _ in range(5):
        step = torch.randn(2, 1, 3, generator=seeded)
        history.add(step, stiff * step, stiff * step)
    assert len(history) == len(history.pairs()) == 3
    torch.testing.assert_close(history.apply(stiff * step, stiff * step), step)


def test_the_two_loops_are_bfgs_from_the_preconditioner():
    """Against the inverse Hessian updated as a matrix, photo by photo (Nocedal and Wright 2006, eq. 6.17)."""
    seeded = torch.Generator().manual_seed(0)
    root, initial_root = torch.randn(2, 2, 4, 4, generator=seeded).double()
    hessian, initial = root @ root.mT + torch.eye(4), initial_root[0] @ initial_root[0].mT + torch.eye(4)
    history, inverse, eye = LbfgsHistory(3), initial, torch.eye(4).double()
    for _ in range(3):
        s = torch.randn(2, 1, 4, generator=seeded).double()
        y = s @ hessian
        history.add(s, y, y @ initial)
        s, y = s.mT, y.mT  # columns
        rho = 1 / (y.mT @ s)
        inverse = (eye - rho * s @ y.mT) @ inverse @ (eye - rho * y @ s.mT) + rho * s @ s.mT
    gradient = torch.randn(2, 1, 4, generator=seeded).double()
    torch.testing.assert_close(history.apply(gradient, gradient @ initial).mT, inverse @ gradient.mT)


def test_secants_of_a_hollow_teach_nothing():
    history = LbfgsHistory(3)
    step = torch.ones(2, 1, 3)
    change = torch.stack([step[0], -step[0]])  # the second photo's loss curves downwards
    history.add(step, change, change)
    gradients = torch.ones(2, 1, 3)
    first, second = history.apply(gradients, 5 * gradients)
    torch.testing.assert_close(first, gradients[0])
    torch.testing.assert_close(second, 5 * gradients[1])


@pytest.mark.parametrize("leap", [5.0, float("nan"), float("inf")])
def test_a_leap_is_taken_back_by_its_photo_alone(leap):
    w = torch.zeros(2, 1, 2, requires_grad=True)
    lbfgs = PreconditionedLbfgs(
        w, [], 0.1, preconditioned(torch.ones(2)), LbfgsSettings(damping=1e-4, step=1.0, memory=4)
    )
    places = []
    for losses in ([1.0, 1.0], [0.9, leap]):
        w.grad = torch.ones_like(w)
        lbfgs.step(1.0, torch.tensor(losses))
        places.append(w.detach()[:, 0, 0].clone())
    torch.testing.assert_close(lbfgs.step_size, torch.tensor([1.0, SHRINK]))
    (first, second), (third, fourth) = places
    torch.testing.assert_close(third, 2 * first)
    torch.testing.assert_close(fourth, SHRINK * second)  # from 0 again, half as far
    w.grad = torch.ones_like(w)
    lbfgs.step(1.0, torch.tensor([0.8, 0.8]))
    assert float(lbfgs.step_size[1]) == pytest.approx(SHRINK * GROW)


def test_slopes_that_are_no_numbers_do_not_stay():
    w = torch.zeros(1, 1, 2, requires_grad=True)
    lbfgs = PreconditionedLbfgs(
        w, [], 0.1, preconditioned(torch.ones(2)), LbfgsSettings(damping=1e-4, step=1.0, memory=4)
    )
    for losses, gradient in ((1.0, 1.0), (float("nan"), float("nan")), (0.9, 1.0)):
        w.grad = torch.full_like(w, gradient)
        lbfgs.step(1.0, torch.tensor([losses]))
    assert w.isfinite().all()


def test_comes_closer_than_adam_in_as_many_steps(tiny_generator, tiny_preconditioner, photos):
    target = Target(photos, load_perceptual())
    plain = dataclasses.replace(BALANCED, num_steps=30, optimise_noise=False)
    # A network without training bends much more from place to place than one with.
    gentle = LbfgsSettings(step=0.05)
    by_steps = dataclasses.replace(BALANCED_PRECONDITIONED, num_steps=30, optimise_noise=False, lbfgs=gentle)
    _, by_adam = optimise(tiny_generator, target, plain, seed=0)
    _, preconditioned = optimise(tiny_generator, target, by_steps, seed=0, preconditioner=tiny_preconditioner)
    assert (preconditioned < by_adam).all()


def test_a_photo_does_not_depend_on_its_company(tiny_generator, tiny_preconditioner, photos):
    gentle = LbfgsSettings(step=0.05)
    settings = dataclasses.replace(
        BALANCED_PRECONDITIONED, num_steps=3, lbfgs=gentle
    )  # more would show rounding's own way
    perceptual = load_perceptual()
    together, _ = optimise(
        tiny_generator, Target(photos, perceptual), settings, seed=1, preconditioner=tiny_preconditioner
    )
    alone, _ = optimise(
        tiny_generator, Target(photos[1:2], perceptual), settings, seed=1, preconditioner=tiny_preconditioner
    )
    torch.testing.assert_close(together.w[1:2], alone.w, rtol=1e-3, atol=1e-3)


def test_noise_moves_by_adam_beside_it(tiny_generator, tiny_preconditioner, photos):
    settings = dataclasses.replace(BALANCED_PRECONDITIONED, num_steps=3)
    latents, _ = optimise(
        tiny_generator, Target(photos, load_perceptual()), settings, seed=1, preconditioner=tiny_preconditioner
    )
    start = torch.randn(latents.noise[-1][0].shape, generator=torch.Generator().manual_seed(1))
    assert all(level.isfinite().all() for level in latents.noise)
    assert not torch.equal(latents.noise[-1][0], start)


def test_w_has_no_curvature(tiny_generator, tiny_preconditioner, photos):
    settings = dataclasses.replace(BALANCED_PRECONDITIONED, space="w")
    with pytest.raises(UsageError, match="W\\+"):
        optimise(
            tiny_generator, Target(photos, load_perceptual()), settings, seed=1, preconditioner=tiny_preconditioner
        )


def test_the_door_takes_one_as_a_value_or_a_file(tiny_generator, tiny_preconditioner, photos, tmp_path):
    path = tmp_path / "c.safetensors"
    save_preconditioner(tiny_preconditioner, path)
    value, file, none = (
        invert_images(photos[:1], tiny_generator, preconditioner=one, num_steps=4, seed=1)[0].ws
        for one in (read_preconditioner(path), str(path), None)
    )
    assert torch.equal(value, file)
    assert not torch.allclose(value, none, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("wrong", [{"damping": 0.0}, {"step": -1.0}, {"memory": -1}, {"memory": 2.0}])
def test_settings_that_cannot_be_meant(wrong):
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} is .*; expected"):
        LbfgsSettings(**wrong)

"""A step needs nothing from the host, so captured ones find what eager ones do, one batch of photos after another."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from inversion.losses.loss import LossWeights, Target
from inversion.losses.perceptual import load_perceptual
from inversion.optim import optimisation, projector
from inversion.optim.optimisation import BLOCK, Latents, Schedule, learning_rate_factor
from inversion.optim.pivotal_tuning import tune
from inversion.optim.projector import forget_captured_steps, optimise
from inversion.presets import BALANCED, BALANCED_PRECONDITIONED, PAPER, LbfgsSettings, TuningSettings
from relatent.core.errors import Cancelled

GENTLE = dataclasses.replace(BALANCED_PRECONDITIONED, num_steps=8, lbfgs=LbfgsSettings(step=0.05, memory=3))
ALL = {
    "balanced": dataclasses.replace(BALANCED, num_steps=8),
    "paper": dataclasses.replace(PAPER, num_steps=8),
    "preconditioned": GENTLE,
}


@pytest.fixture
def photos(tiny_generator):
    with torch.no_grad():
        w = tiny_generator.sample_w(3, seed=5)
        return tiny_generator.synthesis(tiny_generator.mapping.truncate(w, 0.8))


@pytest.fixture(autouse=True)
def nothing_kept():
    forget_captured_steps()
    yield
    forget_captured_steps()


@pytest.fixture
def found(tiny_generator, tiny_preconditioner):
    """Optimises photos; returns ws, noise maps and losses."""

    def go(photos, settings, execution="eager", **options):
        preconditioner = tiny_preconditioner if settings.lbfgs else None
        target = Target(photos, load_perceptual(), options.pop("masks", None))
        latents, losses = optimise(
            tiny_generator, target, settings, seed=3, preconditioner=preconditioner, execution=execution, **options
        )
        return [*latents.tensors(), losses]

    return go


@pytest.mark.parametrize("name", ALL)
def test_a_graph_finds_what_eager_steps_do(found, photos, name):
    eager, graph = (found(photos[:2], ALL[name], execution) for execution in ("eager", "graph"))
    for ours, expected in zip(graph, eager, strict=True):
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("name", ["balanced", "preconditioned"])
def test_the_next_photos_need_no_capture_and_know_nothing_of_the_last(found, photos, name, monkeypatch):
    masks = torch.ones(1, 1, 32, 32)
    masks[..., :16] = 0.0
    found(photos[:1], ALL[name], "graph", masks=masks)
    made = []
    monkeypatch.setattr(optimisation.Optimisation, "__init__", lambda *_, **__: made.append(1))
    again = found(photos[1:2], ALL[name], "graph", masks=masks.flip(3))
    longer = found(photos[1:2], dataclasses.replace(ALL[name], num_steps=11), "graph", masks=masks.flip(3))
    assert not made
    monkeypatch.undo()
    expected = found(photos[1:2], ALL[name], masks=masks.flip(3))
    expected_longer = found(photos[1:2], dataclasses.replace(ALL[name], num_steps=11), masks=masks.flip(3))
    for pair in zip([*again, *longer], [*expected, *expected_longer], strict=True):
        assert torch.equal(*pair)


@pytest.mark.parametrize("change", ["count", "masks", "settings", "dtype"])
def test_others_are_captured_anew(found, photos, change, tiny_generator):
    settings = ALL["balanced"]
    found(photos[:1], settings, "graph")
    before = projector._kept._task
    if change == "count":
        found(photos[:2], settings, "graph")
    elif change == "masks":
        found(photos[:1], settings, "graph", masks=torch.ones(1, 1, 32, 32))
    elif change == "settings":
        found(photos[:1], dataclasses.replace(settings, weights=LossWeights(pixels=1.0)), "graph")
    else:
        optimise(
            tiny_generator, Target(photos[:1], load_perceptual(), None, torch.bfloat16), settings, seed=3,
            execution="graph",
        )  # fmt: skip
    assert projector._kept._task is not before


def test_a_cancelled_run_leaves_nothing_behind(found, photos):
    with pytest.raises(Cancelled):
        found(photos[:1], GENTLE, "graph", progress=lambda step: step.index < 5)
    again = found(photos[1:2], GENTLE, "graph")
    for pair in zip(again, found(photos[1:2], GENTLE), strict=True):
        assert torch.equal(*pair)


def test_results_stay_when_the_next_photo_comes(found, photos):
    first = found(photos[:1], GENTLE, "graph")
    copies = [tensor.clone() for tensor in first]
    found(photos[1:2], GENTLE, "graph")
    assert all(torch.equal(*pair) for pair in zip(first, copies, strict=True))


def test_tuning_by_graphs(tiny_generator, photos):
    ws = tiny_generator.mapping.truncate(tiny_generator.sample_w(2, seed=3))
    noise = [torch.zeros(2, *level.shape[1:]) for level in tiny_generator.synthesis.noise_buffers]
    settings = TuningSettings(num_steps=13, locality_interval=3, rank=2)
    target = Target(photos[:2], load_perceptual())
    eager, graph = (
        tune(tiny_generator, target, Latents(ws, noise), settings, seed=1, execution=how) for how in ("eager", "graph")
    )
    assert torch.equal(graph[1], eager[1])
    for ours, expected in zip(graph[0], eager[0], strict=True):
        assert all(torch.equal(a, b) for name in expected for a, b in zip(ours[name], expected[name], strict=True))


def test_compiled_steps_are_the_same(found, photos, monkeypatch):
    compiled = []

    def compile_(function, **_):
        compiled.append(function)
        return function

    monkeypatch.setattr(torch, "compile", compile_)  # which would take a minute
    for pair in zip(found(photos[:1], GENTLE, "compile"), found(photos[:1], GENTLE), strict=True):
        assert torch.equal(*pair)
    assert len(compiled) == 2  # synthesis, and the distance


class TestSchedule:
    def test_across_blocks(self):
        settings = dataclasses.replace(BALANCED, num_steps=2 * BLOCK + 9)
        schedule = Schedule(torch.zeros(2, 3, 4), settings, spread=2.0)
        random = torch.Generator().manual_seed(8)
        schedule.reset(settings.num_steps, seed=7)
        for index in range(settings.num_steps):
            schedule.advance()
            rate, strength, jitter = schedule.now()
            share = index / settings.num_steps
            assert float(rate) == learning_rate_factor(share, settings)
            expected = 2.0 * settings.initial_noise_factor * max(0.0, 1 - share / settings.noise_ramp_length) ** 2
            assert float(strength) == expected
            if expected:
                assert torch.equal(jitter, torch.randn(1, 3, 4, generator=random))
            schedule.row.add_(1)

    def test_a_step_without_noise_draws_none(self):
        settings = dataclasses.replace(BALANCED, initial_noise_factor=0.0)
        schedule = Schedule(torch.zeros(2, 3, 4), settings, spread=2.0)
        schedule.reset(5, seed=7)
        schedule.advance()
        assert schedule.now()[1:] == (None, None)

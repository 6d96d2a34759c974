"""Presets, stage by stage: which encoder is taken, what each stage leaves to the next, and what is timed."""

import dataclasses

import pytest
import torch

import weights.embedded
from inversion import invert_images, stages
from inversion.encoders.encoder import start_from_encoder
from inversion.encoders.file import save_encoder
from inversion.encoders.training import EncoderSettings, new_encoder
from inversion.losses.loss import Target
from inversion.losses.perceptual import load_perceptual
from inversion.presets import PRECONDITIONED_PRESETS, PRESETS, LbfgsSettings, Plan, plan_for
from inversion.stages import encoder_for, run_plan
from relatent.core.alignment import Alignment
from relatent.core.errors import UnknownNameError, UsageError
from stylegan import save_generator

SHORT = dataclasses.replace(PRESETS["best"].optimiser, num_steps=4)
TUNING = dataclasses.replace(PRESETS["best"].tuning, num_steps=2, rank=2)


@pytest.fixture
def encoder(tiny_generator):
    torch.manual_seed(0)
    settings = EncoderSettings(network="tiny", data="nowhere", hidden=8)
    encoder = new_encoder(settings, tiny_generator).eval().requires_grad_(False)
    encoder.model.common.weight.normal_()
    return encoder


@pytest.fixture
def photos():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def target(photos):
    return Target(photos, load_perceptual())


@pytest.fixture
def embedded(tiny_generator, encoder, tmp_path, monkeypatch):
    """The tiny network and its encoder in the place of embedded ones."""
    monkeypatch.setattr(weights.embedded, "FOLDER", tmp_path)
    stages._embedded_encoder.cache_clear()
    save_generator(tiny_generator, tmp_path / "tiny" / "generator.safetensors")
    save_encoder(encoder, tmp_path / "tiny" / "encoder.safetensors", dtype=torch.float32)
    yield tmp_path / "tiny"
    stages._embedded_encoder.cache_clear()


class TestPlans:
    def test_presets_are_what_they_are_called(self):
        fast, balanced, best, paper = (PRESETS[name] for name in ("fast", "balanced", "best", "paper"))
        assert fast == Plan(encoder_iterations=fast.encoder_iterations)
        assert best.optimiser == balanced.optimiser
        assert (balanced.tuning, best.tuning is None) == (None, False)
        assert (paper.encoder_iterations, paper.optimiser.space, paper.optimiser.num_steps) == (0, "w", 1000)

    def test_with_a_curvature_they_do_the_same_in_fewer_steps(self):
        assert PRECONDITIONED_PRESETS["paper"] == PRESETS["paper"]
        for name in ("balanced", "best"):
            plain, preconditioned = PRESETS[name], PRECONDITIONED_PRESETS[name]
            assert (plain.preconditioned, preconditioned.preconditioned) == (False, True)
            assert preconditioned.optimiser.num_steps < plain.optimiser.num_steps
            assert dataclasses.replace(preconditioned.optimiser.weights, styles=0.0) == plain.optimiser.weights
            assert preconditioned.optimiser.weights.styles > 0  # or steps by preconditioner end where edits overshoot
            assert plan_for(name, preconditioned=True) == preconditioned
        balanced, best = (PRECONDITIONED_PRESETS[name].optimiser for name in ("balanced", "best"))
        assert best == dataclasses.replace(balanced, num_steps=best.num_steps)
        assert best.num_steps > balanced.num_steps  # what tuning starts from is nearer, or edits come back worse
        assert plan_for("fast", preconditioned=True).refinement.lbfgs is not None
        assert plan_for("fast", preconditioned=True).optimiser is None

    def test_w_is_optimised_without_it(self):
        assert not plan_for("balanced", space="w", preconditioned=True).preconditioned

    def test_choices_replace_the_presets_own(self):
        assert plan_for("balanced") == PRESETS["balanced"]
        plan = plan_for("best", space="w", num_steps=7)
        assert (plan.optimiser.space, plan.optimiser.num_steps, plan.space) == ("w", 7, "w")
        assert plan.tuning == PRESETS["best"].tuning

    @pytest.mark.parametrize(("flags", "found"), [("avx2 avx512_bf16", "bfloat16"), ("avx2", "float32")])
    def test_auto_is_what_the_device_computes_in(self, flags, found, monkeypatch, tmp_path):
        (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
        monkeypatch.setattr("relatent.core.precision.PROCESSOR", tmp_path / "cpuinfo")
        assert plan_for("balanced", precision="auto").precision == found
        assert plan_for("fast", precision="auto") == PRESETS["fast"]  # which has no choice, and is not refused

    def test_refusals(self):
        with pytest.raises(UsageError, match="has no precision"):
            plan_for("fast", precision="bfloat16")
        with pytest.raises(UnknownNameError, match="did you mean balanced"):
            plan_for("balance")
        with pytest.raises(UsageError, match="has no space and no num_steps"):
            plan_for("fast", space="w", num_steps=3)


class TestStages:
    def test_encoder_alone(self, tiny_generator, encoder, target, photos):
        found = run_plan(Plan(encoder_iterations=2), tiny_generator, encoder, target, seed=0)
        assert torch.equal(found.latents.w, start_from_encoder(encoder, photos, tiny_generator, 2))
        assert found.own_noise
        torch.testing.assert_close(found.losses, target.perceptual_distance(tiny_generator.synthesis(found.latents.w)))
        assert found.seconds.keys() == {"encode"}

    def test_optimisation_starts_where_the_encoder_ends(self, tiny_generator, encoder, target, photos):
        still = dataclasses.replace(SHORT, num_steps=1, learning_rate=0.0, initial_noise_factor=0.0)
        found = run_plan(Plan(2, optimiser=still), tiny_generator, encoder, target, seed=0)
        assert torch.equal(found.latents.w, start_from_encoder(encoder, photos, tiny_generator, 2))
        found = run_plan(Plan(2, optimiser=still), tiny_generator, None, target, seed=0)
        torch.testing.assert_close(found.latents.w, tiny_generator.w_avg.expand_as(found.latents.w))

    def test_refinement_is_the_encoders_last_word(self, tiny_generator, encoder, target, photos, tiny_preconditioner):
        gentle = LbfgsSettings(step=0.05)  # an untrained network bends much from place to place
        steps = dataclasses.replace(PRECONDITIONED_PRESETS["fast"].refinement, lbfgs=gentle)
        plan = Plan(1, refinement=steps)
        found = run_plan(plan, tiny_generator, encoder, target, preconditioner=tiny_preconditioner, seed=0)
        looked = start_from_encoder(encoder, photos, tiny_generator, 1)
        before = target.terms(tiny_generator.synthesis(looked), steps.weights)
        after = target.terms(tiny_generator.synthesis(found.latents.w), steps.weights)
        assert (after < before).all()
        torch.testing.assert_close(found.losses, after)
        assert found.own_noise
        assert found.seconds.keys() == {"encode"}

    def test_a_curved_plan_wants_a_curvature(self, tiny_generator, encoder, target):
        with pytest.raises(UsageError, match="need the network's preconditioner"):
            run_plan(
                Plan(1, refinement=PRECONDITIONED_PRESETS["fast"].refinement), tiny_generator, encoder, target, seed=0
            )

    def test_tuning_comes_last_and_closer(self, tiny_generator, encoder, target):
        before = run_plan(Plan(1, optimiser=SHORT), tiny_generator, encoder, target, seed=0)
        found = run_plan(Plan(1, optimiser=SHORT, tuning=TUNING), tiny_generator, encoder, target, seed=0)
        assert torch.equal(found.latents.w, before.latents.w)
        assert len(found.tuned) == 2
        assert found.seconds.keys() == {"encode", "optimise", "tune"}
        assert all(value > 0 for value in found.seconds.values())

    def test_photos_that_only_fill_the_batch_are_dropped(self, tiny_generator, encoder, target):
        plan, steps = Plan(1, optimiser=SHORT, tuning=TUNING), []
        every = run_plan(plan, tiny_generator, encoder, target, seed=0)
        first = run_plan(plan, tiny_generator, encoder, target, seed=0, count=1, progress=steps.append)
        for mine, theirs in zip(first.latents.tensors(), every.latents.tensors(), strict=True):
            assert torch.equal(mine, theirs[:1])
        assert torch.equal(first.losses, every.losses[:1])
        assert len(first.tuned) == 1
        shown = [(step.stage, len(step.losses), len(step.images)) for step in steps]
        assert shown == [("optimise", 1, 1)] * 4 + [("tune", 1, 1)] * 2

    def test_door_hands_everything_on(self, tiny_generator, encoder, photos, monkeypatch):
        monkeypatch.setitem(PRESETS, "best", Plan(1, optimiser=SHORT, tuning=TUNING))
        seconds, steps = {}, []
        first, second = invert_images(
            photos, tiny_generator, preset="best", encoder=encoder, seconds=seconds,
            progress=lambda step: steps.append((step.stage, step.index)),
        )  # fmt: skip
        assert seconds.keys() == {"encode", "optimise", "tune"}
        assert steps == [("optimise", 1), ("optimise", 2), ("optimise", 3), ("optimise", 4)] + [
            ("tune", index) for index in range(1, 5)
        ]
        assert first.tuned.keys() == second.tuned.keys()
        drawn = first.tensor(tiny_generator)
        loss = Target(photos[:1], load_perceptual()).terms(drawn, TUNING.weights)
        assert float(loss) == pytest.approx(first.losses["total"], rel=1e-4)

    def test_encoders_noise_is_the_networks_own(self, tiny_generator, encoder, photos):
        (one, _) = invert_images(photos, tiny_generator, preset="fast", encoder=encoder)
        assert one.noise is None
        assert one.space == "w+"


class TestChoice:
    def test_the_embedded_one(self, tiny_generator, encoder, embedded, photos):
        found = encoder_for(tiny_generator, PRESETS["fast"], None)
        assert torch.equal(found(photos), encoder(photos))

    def test_is_float32_whatever_the_default_dtype_is(self, tiny_generator, embedded, set_default_dtype):
        set_default_dtype(torch.float64)
        found = encoder_for(tiny_generator, PRESETS["fast"], None)
        floats = [tensor for tensor in (*found.parameters(), *found.buffers()) if tensor.is_floating_point()]
        assert {tensor.dtype for tensor in floats} == {torch.float32}

    def test_only_with_exactly_its_network(self, tiny_generator, embedded):
        tiny_generator.synthesis.layers[0].bias.add_(1)
        tiny_generator._network_id = ""  # which is found out once
        assert encoder_for(tiny_generator, PRESETS["balanced"], None) is None
        with pytest.raises(UsageError, match="comes with none"):
            encoder_for(tiny_generator, PRESETS["fast"], None)

    def test_none_where_none_is_needed(self, tiny_generator, embedded):
        assert encoder_for(tiny_generator, PRESETS["paper"], None) is None

    def test_a_chosen_file(self, tiny_generator, embedded, photos, encoder):
        found = encoder_for(tiny_generator, PRESETS["balanced"], str(embedded / "encoder.safetensors"))
        assert torch.equal(found(photos), encoder(photos))

    def test_other_crops_are_refused(self, tiny_generator, encoder):
        encoder.alignment = Alignment(0.5, 0.0)
        with pytest.raises(UsageError, match="trained with this network"):
            encoder_for(tiny_generator, PRESETS["balanced"], encoder)

"""A run that was killed and resumed is the run that was never interrupted."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from spoiling import header_of, rewrite

from relatent.core.errors import CheckpointError, UsageError
from stylegan.training.settings import TrainingSettings
from stylegan.training.state import NETWORKS, load_state, read_settings, save_state


def weights_of(trainer):
    return {f"{n}.{k}": v.clone() for n in NETWORKS for k, v in getattr(trainer, n).state_dict().items()}


def losses_of(tick):
    """A tick without what the clock says."""
    return dataclasses.replace(tick, seconds=0, seconds_per_kimg=0, memory_mb=0)


def changed(path, change):
    """The same file after ``change`` has been let loose on its tensors."""
    tensors = load_file(path)
    change(tensors)
    return rewrite(path, tensors)


@pytest.fixture
def state(tiny_trainer, tmp_path):
    trainer = tiny_trainer()
    trainer.run_tick(8)
    save_state(trainer, tmp_path / "state.safetensors")
    return tmp_path / "state.safetensors"


class TestResume:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"c_dim": 3, "precision": "bfloat16"},
            {"style_method": "adain", "r1_interval": 3, "ada": True},
            {"feature_weight": 0.2},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("steps", [0, 3])
    def test_bit_for_bit(self, tiny_trainer, tmp_path, changes, steps):
        unbroken, killed = tiny_trainer(**changes), tiny_trainer(**changes)
        for trainer in (unbroken, killed):
            for _ in range(steps):
                trainer.train_step()
        save_state(killed, tmp_path / "state")
        resumed = tiny_trainer(**changes)
        torch.manual_seed(1234)  # another process would have another state
        load_state(resumed, tmp_path / "state")
        assert (resumed.step, resumed.seconds) == (steps, killed.seconds)
        for _ in range(2):
            assert losses_of(resumed.run_tick(8)) == losses_of(unbroken.run_tick(8))
        ours, theirs = weights_of(resumed), weights_of(unbroken)
        assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []

    def test_saving_changes_nothing(self, tiny_trainer, tmp_path):
        plain, saving = tiny_trainer(), tiny_trainer()
        for _ in range(3):
            plain.train_step()
            saving.train_step()
            save_state(saving, tmp_path / "state", half=True)
        ours, theirs = weights_of(saving), weights_of(plain)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)

    def test_half_is_half_as_large_and_goes_on_nearly_alike(self, tiny_trainer, tmp_path):
        unbroken = tiny_trainer()
        unbroken.run_tick(16)
        save_state(unbroken, tmp_path / "full")
        save_state(unbroken, tmp_path / "half", half=True)
        resumed = tiny_trainer()
        load_state(resumed, tmp_path / "half")
        assert resumed.step == 4
        for network in NETWORKS:  # what travelled through float16
            for name, tensor in getattr(unbroken, network).state_dict().items():
                found = getattr(resumed, network).state_dict()[name]
                assert torch.equal(found, tensor.half().float())
        assert resumed.run_tick(16).loss_g == pytest.approx(unbroken.run_tick(16).loss_g, rel=0.05)

        def payload(path):
            return sum(tensor.nbytes for tensor in load_file(path).values())

        noises = sum(b.numel() for name, b in unbroken.average.named_buffers() if name.endswith("noise_const"))
        assert payload(tmp_path / "half") * 2 == payload(tmp_path / "full") - 4 * noises  # kept once

    def test_half_keeps_noise_that_differs(self, tiny_trainer, tmp_path):
        trainer, resumed = tiny_trainer(), tiny_trainer()
        trainer.average.synthesis.blocks["8"].conv1.noise_const.fill_(0.5)
        save_state(trainer, tmp_path / "half", half=True)
        load_state(resumed, tmp_path / "half")
        assert (resumed.average.synthesis.blocks["8"].conv1.noise_const == 0.5).all()
        assert not (resumed.generator.synthesis.blocks["8"].conv1.noise_const == 0.5).any()

    def test_layout_of_the_file(self, state, tiny_trainer):
        """Runs in progress must stay resumable: these names are a promise."""
        tensors = load_file(state)
        groups = {name.partition(".")[0] for name in tensors}
        assert groups == {"generator", "discriminator", "average", "moments_g", "moments_d"}
        trainer = tiny_trainer()
        for group, network in (("moments_g", "generator"), ("moments_d", "discriminator")):
            names = {name.partition(".")[2] for name in tensors if name.startswith(f"{group}.")}
            assert names == {name for name, _ in getattr(trainer, network).named_parameters()}
        header = header_of(state)
        assert header.keys() >= {"format", "settings", "step", "seconds"}  # later ones have defaults
        assert header["format"] == "relatent-training-1"
        assert "mapping.layers.0.weight" in dict(trainer.generator.named_parameters())
        assert "blocks.8.conv1.weight" in dict(trainer.discriminator.named_parameters())


class TestBadStates:
    def refused(self, tiny_trainer, path, match):
        with pytest.raises(CheckpointError, match=match) as error:
            load_state(tiny_trainer(), path)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 1000

    def test_missing(self, tiny_trainer, tmp_path):
        self.refused(tiny_trainer, tmp_path / "no", "does not exist")

    def test_network_instead(self, tiny_trainer, tiny_generator, tmp_path):
        from stylegan import save_generator

        save_generator(tiny_generator, tmp_path / "network")
        self.refused(tiny_trainer, tmp_path / "network", "is not the state of a training run; expected")

    def test_cut_short(self, tiny_trainer, state):
        state.write_bytes(state.read_bytes()[:-100])
        self.refused(tiny_trainer, state, "not a readable")

    def test_older_file_without_the_later_fields(self, tiny_trainer, state):
        trainer = tiny_trainer()
        load_state(trainer, rewrite(state, augment=None, path_mean=None, images_seen=None))
        assert (trainer.step, trainer.images_seen) == (2, 8)

    @pytest.mark.parametrize("images", ["", "-1", "1.5", "9" * 30])
    def test_images_seen(self, tiny_trainer, state, images):
        self.refused(tiny_trainer, rewrite(state, images_seen=images), "how far")

    def test_older_file_of_another_batch(self, tiny_trainer, state):
        trainer = tiny_trainer(batch=2)
        load_state(trainer, rewrite(state, images_seen=None))
        assert (trainer.step, trainer.images_seen) == (2, 8)

    def test_of_other_networks(self, tiny_trainer, state, tiny_settings):
        generator = dataclasses.replace(tiny_settings().generator, w_dim=13)
        with pytest.raises(CheckpointError, match="where"):
            load_state(tiny_trainer(generator=generator), state)

    @pytest.mark.parametrize("step", [None, "", "-1", "1.5", "²", "9" * 30])
    def test_step(self, tiny_trainer, state, step):
        self.refused(tiny_trainer, rewrite(state, step=step), "how far")

    @pytest.mark.parametrize("seconds", [None, "", "nan", "-1", "a while"])
    def test_seconds(self, tiny_trainer, state, seconds):
        self.refused(tiny_trainer, rewrite(state, seconds=seconds), "how far")

    @pytest.mark.parametrize("group", ["generator", "average", "moments_g", "moments_d"])
    def test_part_missing(self, tiny_trainer, state, group):
        def drop(tensors):
            del tensors[next(name for name in tensors if name.startswith(f"{group}."))]

        self.refused(tiny_trainer, changed(state, drop), "do not fit|does not fit")

    def test_unexpected_parts(self, tiny_trainer, state):
        self.refused(
            tiny_trainer, changed(state, lambda t: t.update(extra=torch.zeros(1))), "unexpected tensor 'extra'"
        )
        changed(state, lambda t: t.pop("extra"))
        changed(state, lambda t: t.update({"moments_g.extra": torch.zeros(1)}))
        self.refused(tiny_trainer, state, "moments do not fit")

    def test_moment_of_another_shape(self, tiny_trainer, state):
        changed(state, lambda t: t.update({"moments_d.out.bias": torch.zeros(2)}))
        self.refused(tiny_trainer, state, "moments do not fit")

    def test_not_finite(self, tiny_trainer, state):
        changed(state, lambda t: t["moments_d.out.bias"].fill_(torch.nan))
        self.refused(tiny_trainer, state, "not finite")


class TestSettings:
    def test_round_trip(self, tiny_settings, tmp_path):
        settings = tiny_settings(c_dim=3, style_method="adain", data_folder="train", licence="CC BY 4.0", seed=-7)
        assert TrainingSettings.from_json(settings.to_json(), tmp_path) == settings

    def test_come_with_the_state(self, state, tiny_settings):
        assert read_settings(state) == tiny_settings()

    def test_data_may_move(self, tiny_settings):
        settings = tiny_settings(data_folder="train")
        assert settings.with_data("there", "train") == dataclasses.replace(settings, data="there")
        assert settings.with_data("there", "val").data_folder == "val"

    @pytest.mark.parametrize("everything", [None, ""])
    def test_no_folder_stands_for_all_of_the_data(self, tiny_settings, everything):
        settings = tiny_settings(data_folder="train").with_data("there", everything)
        assert settings.data == "there"
        assert settings.data_folder is None

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("batch", 0),
            ("batch", 1.5),
            ("learning_rate", 0),
            ("learning_rate", float("nan")),
            ("ema_kimg", -1),
            ("ema_rampup", float("inf")),
            ("augment_strength", 1.5),
            ("precision", "float64"),
            ("seed", 1.5),
            ("name", None),
            ("data", 7),
            ("data_folder", 7),
        ],
    )
    def test_impossible_ones_are_refused(self, tiny_settings, tmp_path, field, value):
        words = {"augment_strength": "augment_strength", "learning_rate": "learning_rate"}.get(field, field)
        with pytest.raises(UsageError, match=words):
            tiny_settings(**{field: value})
        text = json.dumps({**json.loads(tiny_settings().to_json()), field: value})
        with pytest.raises(CheckpointError, match="does not hold the settings"):
            TrainingSettings.from_json(text, tmp_path)

    def test_networks_must_fit_each_other(self, tiny_settings):
        settings = tiny_settings()
        with pytest.raises(UsageError, match="resolution is 16 in the generator and 8 in the discriminator"):
            dataclasses.replace(settings, generator=dataclasses.replace(settings.generator, resolution=16))

    @pytest.mark.parametrize("text", ["", "no JSON", "[]", "7", "{}", "[" * 100_000, '{"generator": 7}'])
    def test_other_text_is_refused(self, text, tmp_path):
        with pytest.raises(CheckpointError, match="does not hold the settings"):
            TrainingSettings.from_json(text, tmp_path)

    def test_other_networks_or_rules_are_refused(self, tiny_settings, tmp_path):
        good = json.loads(tiny_settings().to_json())
        for part, field, value in (
            ("generator", "mapping_layers", 10**9),
            ("generator", "invented", 1),
            ("discriminator", "channel_max", 2**40),
            ("loss_weights", "r1_gamma", "much"),
            ("alignment", "scale", "wide"),
        ):
            text = json.dumps({**good, part: {**good[part], field: value}})
            with pytest.raises(CheckpointError, match="does not hold the settings"):
                TrainingSettings.from_json(text, tmp_path)


def test_settings_of_an_earlier_version_load(tiny_settings):
    """The weights of the losses were once called rules."""
    settings = tiny_settings()
    text = json.loads(settings.to_json())
    text["rules"] = text.pop("loss_weights")
    assert TrainingSettings.from_json(json.dumps(text), Path("state")) == settings

"""Training begins with a network of any file: what is taken over, what is new, and what stays as it is."""

from __future__ import annotations

import json
import shlex

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from benchmarks.foreign import Persisted, nvidia_network, write_nvidia
from relatent.core.errors import CheckpointError
from stylegan import Discriminator, Generator, GeneratorConfig, MlpConfig, load, save_generator
from stylegan.__main__ import main
from stylegan.networks import ops
from stylegan.training.optimisers import freeze
from stylegan.training.settings import TrainingSettings
from stylegan.training.state import read_settings
from stylegan.training.transfer import fitting_discriminator, is_state, take_over

QUICK = shlex.split("--batch 4 --tick 0.004 --device cpu --no-video --augment 0 --kimg 0.004")
CONFIG = GeneratorConfig(resolution=16, z_dim=8, w_dim=10, mapping_layers=2, channel_base=64, channel_max=8)


@pytest.fixture
def source():
    with torch.random.fork_rng():
        torch.manual_seed(4)
        generator = Generator(CONFIG, name="source")
        for block in generator.synthesis.blocks.values():
            block.torgb.bias.data.normal_(std=0.1)
        generator.recompute_w_avg()
        return generator.eval()


@pytest.fixture
def file(source, tmp_path):
    save_generator(source, tmp_path / "source.safetensors")
    return tmp_path / "source.safetensors"


def pickle_with_discriminator(source, path, judge):
    """An NVIDIA pickle with the discriminator under NVIDIA's names."""
    theirs = Persisted("Discriminator")
    names = {"conv.": "b4.conv.", "hidden.": "b4.fc.", "out.": "b4.out."}
    for name, tensor in judge.state_dict().items():
        for ours, published in names.items():
            if name.startswith(ours):
                name = published + name.removeprefix(ours)
        name = name.replace("fromrgb.", f"b{judge.config.resolution}.fromrgb.") if name.startswith("fromrgb") else name
        theirs.put(name.replace("blocks.", "b"), tensor)
    return write_nvidia(path, G=nvidia_network(source), D=theirs, G_ema=nvidia_network(source))


def train(outdir, *args, code=0):
    result = CliRunner().invoke(main, ["train", "--outdir", str(outdir), *QUICK, *map(str, args)])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def settings_of(outdir):
    return json.loads((outdir / "settings.json").read_text())


class TestFromOurOwnFormat:
    def test_only_the_discriminator_learns_at_first(self, file, source, picture_folder, tmp_path):
        """A new discriminator has a thousand pictures to learn from before the generator moves."""
        train(tmp_path / "run", "--resume", file, "--data", picture_folder)
        settings = settings_of(tmp_path / "run")
        assert (settings["warmup_kimg"], settings["generator"]["resolution"]) == (1.0, 16)
        assert settings["origin"].startswith("source@")
        after = load(tmp_path / "run" / "network-000000.safetensors")
        for name, tensor in source.synthesis.state_dict().items():
            assert torch.equal(after.synthesis.state_dict()[name], tensor), name

    def test_then_the_generator_moves_and_goes_on(self, file, source, picture_folder, tmp_path):
        train(tmp_path / "run", "--resume", file, "--data", picture_folder, "--warmup-kimg", 0)
        train(tmp_path / "run", "--resume", "--kimg", 0.008)
        after = load(tmp_path / "run" / "network-000000.safetensors")
        conv = "synthesis.blocks.8.conv0.weight"
        assert not torch.equal(after.state_dict()[conv], source.state_dict()[conv])
        assert is_state(tmp_path / "run" / "training-state.safetensors")
        assert read_settings(tmp_path / "run" / "training-state.safetensors").origin.startswith("source@")

    @pytest.mark.parametrize("side", [8, 32])
    def test_another_resolution_draws_the_same_pictures(self, side, file, source, picture_folder, tmp_path):
        """New blocks add nothing until they have learned; a smaller network draws the first blocks' picture."""
        train(tmp_path / "run", "--resume", file, "--data", picture_folder, "--resolution", side)
        after = load(tmp_path / "run" / "network-000000.safetensors")
        ws = source.mapping(torch.randn(2, 8))
        theirs = source.synthesis(ws, "none")
        ours = after.synthesis(torch.cat([ws, ws], dim=1)[:, : after.num_ws], "none")
        assert ours.shape[-1] == side
        if side == 32:
            assert torch.allclose(ours, ops.upsample2d(theirs), atol=1e-5)
        else:
            small = Generator(GeneratorConfig(**{**vars(CONFIG), "resolution": 8})).eval()
            small.load_state_dict({k: v for k, v in source.state_dict().items() if ".blocks.16." not in k})
            assert torch.allclose(ours, small.synthesis(ws[:, : small.num_ws], "none"), atol=1e-6)

    def test_the_embedded_network(self, picture_folder, tmp_path):
        output = train(tmp_path / "run", "--resume", "faces-128", "--data", picture_folder, "--dry-run")
        settings = json.loads(output)
        assert settings["generator"]["resolution"] == 128
        assert settings["alignment"] == {"scale": 0.62, "shift": 0.08}
        assert settings["origin"].startswith("faces-128@")


class TestFromAPickle:
    def test_the_discriminator_comes_along(self, source, picture_folder, tmp_path):
        judge = Discriminator(TrainingSettings.discriminator_of(CONFIG)).eval()
        path = pickle_with_discriminator(source, tmp_path / "theirs.pkl", judge)
        again = Discriminator(judge.config).eval()
        take_over(again, fitting_discriminator(path, judge.config), path)
        image = torch.randn(4, 3, 16, 16)
        assert torch.equal(again(image), judge(image))
        train(tmp_path / "run", "--resume", path, "--data", picture_folder)
        assert settings_of(tmp_path / "run")["warmup_kimg"] == 0

    def test_at_another_resolution_its_first_layer_is_new(self, source, tmp_path):
        judge = Discriminator(TrainingSettings.discriminator_of(CONFIG))
        path = pickle_with_discriminator(source, tmp_path / "theirs.pkl", judge)
        config = TrainingSettings.discriminator_of(GeneratorConfig(**{**vars(CONFIG), "resolution": 32}))
        tensors = fitting_discriminator(path, config)
        assert {"blocks.16.conv0.weight", "conv.weight", "out.bias"} < tensors.keys()
        assert not any(name.startswith("fromrgb") for name in tensors)

    def test_one_of_other_widths_is_learned_anew(self, source, picture_folder, tmp_path):
        wide = Discriminator(TrainingSettings.discriminator_of(GeneratorConfig(**{**vars(CONFIG), "channel_max": 12})))
        path = pickle_with_discriminator(source, tmp_path / "theirs.pkl", wide)
        output = train(tmp_path / "run", "--resume", path, "--data", picture_folder, "--dry-run")
        assert json.loads(output)["warmup_kimg"] == 1.0

    def test_damaged_weights_are_refused(self, source, picture_folder, tmp_path):
        judge = Discriminator(TrainingSettings.discriminator_of(CONFIG))
        judge.out.weight.data.fill_(float("nan"))
        path = pickle_with_discriminator(source, tmp_path / "theirs.pkl", judge)
        train(tmp_path / "run", "--resume", path, "--data", picture_folder, code=1)
        assert not (tmp_path / "run").exists()


class TestFreezing:
    def test_frozen_blocks_do_not_move(self, source, picture_folder, tmp_path):
        judge = Discriminator(TrainingSettings.discriminator_of(CONFIG))
        file = pickle_with_discriminator(source, tmp_path / "theirs.pkl", judge)
        before = {}
        for kimg in (0, 0.012):
            out = tmp_path / f"{kimg}"
            train(out, "--resume", file, "--data", picture_folder, "--freeze-d", 1, "--kimg", kimg)
            state = load_file(out / "training-state.safetensors")
            before[kimg] = {k: v for k, v in state.items() if k.startswith("discriminator.")}
        moved = {name.split(".", 1)[1] for name, v in before[0].items() if not torch.equal(v, before[0.012][name])}
        assert not [name for name in moved if name.startswith(("fromrgb.", "blocks.16."))]
        assert {"blocks.8.conv0.weight", "hidden.weight", "out.weight"} <= moved

    def test_counts_from_the_largest(self):
        judge = Discriminator(TrainingSettings.discriminator_of(CONFIG))
        freeze(judge, 1)
        learning = {name.rpartition(".")[0] for name, one in judge.named_parameters() if one.requires_grad}
        assert not any(name.startswith(("fromrgb", "blocks.16")) for name in learning)
        assert "blocks.8.conv0" in learning


class TestRefused:
    def test_classes(self, file, picture_folder, tmp_path):
        output = train(tmp_path / "run", "--resume", file, "--data", picture_folder, "--cond", code=2)
        assert "0 classes and the run would have 3" in output

    def test_progressive(self, file, picture_folder, tmp_path):
        output = train(tmp_path / "run", "--resume", file, "--data", picture_folder, "--progressive", code=2)
        assert "Leave out --progressive" in output

    def test_a_fully_connected_network_at_another_size(self, tmp_path):
        save_generator(Generator(MlpConfig(resolution=8, z_dim=6, width=8)), tmp_path / "dense.safetensors")
        dense = tmp_path / "dense.safetensors"
        assert "stays at 8 px" in train(
            tmp_path / "run", "--resume", dense, "--data", "digits", "--resolution", 16, code=2
        )
        train(tmp_path / "run", "--resume", dense, "--data", "digits")
        assert settings_of(tmp_path / "run")["arch"] == "mlp"

    def test_nothing_that_can_be_read(self, picture_folder, tmp_path):
        (tmp_path / "text.safetensors").write_text("no network")
        for name in ("text.safetensors", "missing.safetensors"):
            result = CliRunner().invoke(
                main, ["train", "--outdir", str(tmp_path / "run"), "--resume", str(tmp_path / name)]
            )
            assert result.exit_code in (1, 2)
            assert "Traceback" not in result.output

    def test_other_widths(self, source, tmp_path):
        other = Generator(GeneratorConfig(**{**vars(CONFIG), "channel_max": 12}))
        with pytest.raises(CheckpointError, match="does not fit"):
            take_over(other, source.state_dict(), tmp_path)

    def test_freezing_what_has_not_learned(self, file, picture_folder, tmp_path):
        output = train(tmp_path / "run", "--resume", file, "--data", picture_folder, "--freeze-d", 1, code=2)
        assert "holds no discriminator" in output

    def test_freezing_without_blocks(self, tmp_path):
        train(tmp_path / "run", "--data", "digits", "--resolution", 16, "--arch", "mlp")
        output = train(tmp_path / "run", "--resume", "--freeze-d", 1, code=2)
        assert "no blocks to freeze" in output

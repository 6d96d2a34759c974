"""Teaching an encoder: it learns, goes on exactly after a stop, and its command writes what it promises."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from inversion.__main__ import main
from inversion.encoders.encoder import start_from_encoder
from inversion.encoders.loading import load_encoder
from inversion.encoders.run import load_state, train_encoder, write_snapshot
from inversion.encoders.training import EncoderSettings, EncoderTrainer
from inversion.losses.perceptual import load_perceptual
from relatent.core.errors import CheckpointError, UsageError
from relatent.core.images import from_uint8
from stylegan import load, network_id
from stylegan.networks.backbone import load_backbone
from stylegan.networks.generator import Generator
from stylegan.training.loop import Schedule, state_path

CPU = torch.device("cpu")
SETTINGS = EncoderSettings(network="tiny", data="nowhere", batch=8, iterations=2, hidden=16)


@pytest.fixture
def photos(tiny_generator):
    """Pictures the network can draw, as uint8."""
    with torch.no_grad():
        drawn = tiny_generator.synthesis(tiny_generator.mapping.truncate(tiny_generator.sample_w(24, seed=5)))
    return ((drawn.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def trainer(network, photos, kimg=1.0, **changes):
    return EncoderTrainer(dataclasses.replace(SETTINGS, **changes), network, photos, kimg, CPU)


def test_its_loss_is_that_of_the_lpips_package():
    first, second = (torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(k)) * 2 - 1 for k in (0, 1))
    with torch.no_grad():
        torch.testing.assert_close(load_backbone().distance(first, second), load_perceptual()(first, second))


@torch.no_grad()
def errors(encoder, network, photos):
    """Mean perceptual distance and squared error of photos after two looks."""
    wanted = from_uint8(photos)
    drawn = network.synthesis(start_from_encoder(encoder, wanted, network, iterations=2))
    return load_backbone().distance(wanted, drawn).mean(), (wanted - drawn).square().mean()


@pytest.mark.slow
def test_learns(tiny_generator, photos):
    run = trainer(tiny_generator, photos, kimg=0.24, hidden=64, learning_rate=0.02)
    before = errors(run.encoder.eval(), tiny_generator, photos)
    last = run.run_tick(240)
    after = errors(run.encoder, tiny_generator, photos)
    assert after[0] < 0.95 * before[0]
    assert after[1] < 0.7 * before[1]
    assert last.learning_rate == pytest.approx(0, abs=1e-6)


def test_every_parameter_moves(tiny_generator, photos):
    run = trainer(tiny_generator, photos)
    before = {name: p.detach().clone() for name, p in run.encoder.named_parameters()}
    for _ in range(2):  # heads that are zero let nothing through to the body at the first step
        run.train_step()
    still = [name for name, p in run.encoder.named_parameters() if p.requires_grad and torch.equal(p, before[name])]
    assert still == []


def test_the_generator_does_not_move(tiny_generator, photos):
    before = {name: p.clone() for name, p in tiny_generator.state_dict().items()}
    trainer(tiny_generator, photos).train_step()
    assert all(torch.equal(before[name], p) for name, p in tiny_generator.state_dict().items())


def test_resumed_run_is_the_unbroken_one(tiny_generator, photos, tmp_path):
    whole, broken = trainer(tiny_generator, photos), trainer(tiny_generator, photos)
    for _ in range(4):
        whole.train_step()
    for _ in range(2):
        broken.train_step()
    write_snapshot(broken, tmp_path / "e.safetensors")
    resumed = trainer(tiny_generator, photos)
    load_state(resumed, state_path(tmp_path / "e.safetensors"))
    for _ in range(2):
        resumed.train_step()
    for name in ("encoder", "average"):
        for a, b in zip(getattr(whole, name).parameters(), getattr(resumed, name).parameters(), strict=True):
            assert torch.equal(a, b)


def test_bfloat16_steps(tiny_generator, photos):
    tick = trainer(tiny_generator, photos, precision="bfloat16").run_tick(16)
    assert 0 < tick.lpips < 14


@pytest.mark.parametrize("change", [{"batch": 1}, {"iterations": 0}, {"learning_rate": -1.0}, {"precision": "int8"}])
def test_impossible_settings(change):
    with pytest.raises(UsageError):
        dataclasses.replace(SETTINGS, **change)


def test_settings_of_an_earlier_version():
    text = SETTINGS.to_json().replace('"iterations"', '"rounds"')
    assert EncoderSettings.from_json(text, Path("state")) == SETTINGS
    for wrong in ("[1]", '"rounds"', "{", '{"rounds": 0}'):
        with pytest.raises(CheckpointError):
            EncoderSettings.from_json(wrong, Path("state"))


class TestCommand:
    @pytest.fixture
    def data(self, photos, tmp_path):
        folder = tmp_path / "photos" / "train"
        folder.mkdir(parents=True)
        for index, photo in enumerate(photos.permute(0, 2, 3, 1).numpy()):
            Image.fromarray(np.ascontiguousarray(photo)).save(folder / f"{index:02d}.png")
        return folder.parent

    def run(self, *args):
        return CliRunner().invoke(main, ["train-encoder", *map(str, args), "--device", "cpu"])

    def test_writes_encoder_state_and_log(self, tiny_file, data, tmp_path):
        out = tmp_path / "r" / "encoder.safetensors"
        args = ["--network", tiny_file, "--data", data, "--data-folder", "train", "--out", out, "--batch", 4]
        result = self.run(*args, "--rounds", 1, "--kimg", 0.008)
        assert result.exit_code == 0, result.output
        assert load_encoder(out).network == network_id(load(tiny_file))
        lines = out.with_suffix(".log.jsonl").read_text().splitlines()
        assert [json.loads(line)["kimg"] for line in lines] == [0.008]
        result = self.run(*args)
        assert result.exit_code == 2
        assert "already holds a run" in result.output
        result = self.run("--out", out, "--resume", "--kimg", 0.012)
        assert result.exit_code == 0, result.output
        again = self.run(*args[:-4], "--out", tmp_path / "s.safetensors", "--start", out, "--kimg", 0)
        assert again.exit_code == 0, again.output
        started = load_encoder(tmp_path / "s.safetensors")
        torch.testing.assert_close(started.model.gather.weight, load_encoder(out).model.gather.weight)

    def test_what_is_missing_is_named(self, tiny_file, tmp_path):
        result = self.run("--network", tiny_file, "--out", tmp_path / "e.safetensors")
        assert result.exit_code == 2
        assert "--data is missing" in result.output

    def test_dry_run(self, tiny_file, data, tmp_path):
        result = self.run("--network", tiny_file, "--data", data, "--out", tmp_path / "e.safetensors", "--dry-run")
        assert json.loads(result.output)["iterations"] == 3
        assert not (tmp_path / "e.safetensors").exists()

    def test_an_encoder_of_another_width_is_no_start(self, tiny_generator, photos, tmp_path):
        write_snapshot(trainer(tiny_generator, photos, hidden=8), tmp_path / "small.safetensors")
        with pytest.raises(CheckpointError, match="8 hidden units; expected"):
            trainer(tiny_generator, photos, start=str(tmp_path / "small.safetensors"))

    def test_an_encoder_of_a_smaller_network_starts_one_of_a_larger(self, tiny_generator, photos, tmp_path):
        small = trainer(tiny_generator, photos)
        torch.nn.init.normal_(small.encoder.model.offsets.weight)
        small.average.load_state_dict(small.encoder.state_dict())
        write_snapshot(small, tmp_path / "small.safetensors")
        config = dataclasses.replace(tiny_generator.config, resolution=2 * tiny_generator.resolution)
        larger = Generator(config)
        assert larger.num_ws == tiny_generator.num_ws + 2
        pictures = torch.nn.functional.interpolate(photos, scale_factor=2)
        started = trainer(larger, pictures, start=str(tmp_path / "small.safetensors")).encoder
        image, drawn = (from_uint8(pictures[k : k + 1]) for k in (0, 1))
        with torch.no_grad():
            got = started.residual(image, drawn)
        assert got.shape == (1, larger.num_ws, larger.w_dim)
        finest = got[:, tiny_generator.num_ws - 1]
        for layer in range(tiny_generator.num_ws, larger.num_ws):
            torch.testing.assert_close(got[:, layer], finest)
        weights = started.model.gather.weight, small.average.model.gather.weight
        torch.testing.assert_close(*weights, rtol=1e-3, atol=1e-3)  # files are in half precision

    def test_state_of_something_else(self, tiny_file, data, tmp_path):
        settings = dataclasses.replace(SETTINGS, network=str(tiny_file), data=str(data))
        state_path(tmp_path / "e.safetensors").write_bytes(tiny_file.read_bytes())
        with pytest.raises(CheckpointError, match="not the state of an encoder's training"):
            train_encoder(settings, tmp_path / "e.safetensors", Schedule(kimg=0.1), device=CPU, resume=True)

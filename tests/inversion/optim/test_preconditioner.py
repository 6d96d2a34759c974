"""The preconditioner of a generator's distances: that it is the one it claims to be, its file, and its command."""

import dataclasses

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import weights.embedded
from inversion.__main__ import main
from inversion.optim import preconditioner_file as preconditioner_file
from inversion.optim.preconditioner import PreconditionerSettings, _probe, _strongest, measure_preconditioner
from inversion.optim.preconditioner_file import preconditioner_for, read_preconditioner, save_preconditioner
from relatent.core.errors import CheckpointError, UsageError
from stylegan import Generator, GeneratorConfig, network_id, save_generator
from stylegan.networks.backbone import load_backbone

SMALL = PreconditionerSettings(pictures=4, probes=2, rank=8, batch=2)


@pytest.mark.slow
def test_probes_have_the_curvature_as_their_mean_square(tiny_generator):
    """Against J^T J by finite differences of what is compared, along a few directions."""
    backbone, torch_random = load_backbone(), torch.Generator().manual_seed(3)
    ws = tiny_generator.sample_w(1, seed=2)[:, None].repeat(1, tiny_generator.num_ws, 1)
    settings = dataclasses.replace(SMALL, probes=600, pixels=5.0)
    torch.manual_seed(0)
    gradients = _probe(tiny_generator, backbone, ws.clone(), settings).flatten(1)
    for _ in range(3):
        move = torch.randn(ws.shape, generator=torch_random)
        step = 0.01 * move
        first, second = tiny_generator.synthesis(ws - step), tiny_generator.synthesis(ws + step)
        curvature = backbone.distance(first, second) + settings.pixels * (first - second).square().mean()
        expected = float(curvature) / 0.02**2
        found = float((gradients @ move.flatten()).square().mean())
        assert found == pytest.approx(expected, rel=0.3)  # 600 probes leave about 6 in 100


def test_large_pictures_are_compared_at_the_size_of_the_loss(monkeypatch):
    """Over 256 px the loss reduces pictures first."""
    network = Generator(
        GeneratorConfig(resolution=512, z_dim=8, w_dim=8, mapping_layers=1, channel_base=512, channel_max=4)
    )
    backbone, sizes = load_backbone(), []
    original = backbone.normalised
    monkeypatch.setattr(backbone, "normalised", lambda image: sizes.append(image.shape[-1]) or original(image))
    ws = network.sample_w(1, seed=0)[:, None].repeat(1, network.num_ws, 1)
    _probe(network.eval().requires_grad_(False), backbone, ws, dataclasses.replace(SMALL, probes=1))
    assert sizes == [256]


def test_newtons_step_is_the_damped_inverse():
    """With all directions kept, against the matrix itself."""
    torch.manual_seed(0)
    layers, dimensions, damping = 2, 5, 0.3
    gradients = torch.randn(40, layers, dimensions)
    root = torch.randn(dimensions, dimensions).double()
    covariance = root @ root.t() + torch.eye(dimensions)
    preconditioner = _strongest(gradients, covariance, layers * dimensions, "x")
    white = gradients.flatten(1).double()
    curvature = 2 * white.t() @ white / len(gradients)
    prior = torch.block_diag(*[torch.linalg.inv(covariance)] * layers)
    gradient = torch.randn(3, layers, dimensions)
    expected = torch.linalg.solve(curvature + damping * prior, gradient.flatten(1).double().t()).t().view_as(gradient)
    torch.testing.assert_close(preconditioner.apply(gradient, damping), expected.float(), rtol=1e-3, atol=1e-4)
    assert (preconditioner.values.diff() <= 0).all()


def test_directions_that_were_not_kept_get_no_longer_steps():
    torch.manual_seed(0)
    gradients, covariance = torch.randn(40, 2, 5), torch.eye(5).double()
    few = _strongest(gradients, covariance, 3, "x")
    strange = torch.randn(2, 5)
    known = few.directions.t()
    strange -= (known.t() @ (known @ strange.flatten())).view_as(strange)
    expected = strange / (few.values[-1] + 0.01)
    torch.testing.assert_close(few.apply(strange[None], 0.01)[0], expected, rtol=1e-3, atol=1e-4)


def test_same_seed_same_curvature(tiny_generator):
    first, second = (measure_preconditioner(tiny_generator, SMALL) for _ in range(2))
    assert torch.equal(first.directions, second.directions)
    other = measure_preconditioner(tiny_generator, dataclasses.replace(SMALL, seed=1))
    assert not torch.equal(first.values, other.values)


def test_no_more_directions_than_there_are(tiny_generator):
    with pytest.raises(UsageError, match=r"rank is 9999; tiny has \d+ directions"):
        measure_preconditioner(tiny_generator, dataclasses.replace(SMALL, rank=9999))


class TestFile:
    def test_comes_back(self, tiny_preconditioner, tmp_path):
        save_preconditioner(tiny_preconditioner, tmp_path / "c.safetensors")
        back = read_preconditioner(tmp_path / "c.safetensors")
        torch.testing.assert_close(back.directions, tiny_preconditioner.directions, rtol=1e-3, atol=1e-5)
        assert torch.equal(back.values, tiny_preconditioner.values)
        assert back.network == tiny_preconditioner.network

    @pytest.mark.parametrize("change", ["format", "shape", "missing", "negative", "one-dimensional"])
    def test_refuses_what_it_is_not(self, tiny_preconditioner, tmp_path, change):
        path = tmp_path / "c.safetensors"
        save_preconditioner(tiny_preconditioner, path)
        tensors, header = load_file(path), {"format": preconditioner_file.FORMAT}
        if change == "format":
            header = {"format": "another"}
        elif change == "shape":
            tensors["values"] = tensors["values"][:-1].clone()
        elif change == "missing":
            del tensors["covariance"]
        elif change == "one-dimensional":
            tensors["directions"] = tensors["directions"].flatten()
        else:
            tensors["values"][0] = -1
        save_file(tensors, path, metadata=header)
        with pytest.raises(CheckpointError, match=r"c\.safetensors"):
            read_preconditioner(path)

    def test_a_missing_file(self, tiny_generator, tmp_path):
        with pytest.raises(CheckpointError, match="does not exist"):
            preconditioner_for(tiny_generator, str(tmp_path / "none.safetensors"))


class TestChoice:
    @pytest.fixture
    def embedded(self, tiny_generator, tiny_preconditioner, tmp_path, monkeypatch):
        """The tiny network and its preconditioner in the place of embedded ones."""
        monkeypatch.setattr(weights.embedded, "FOLDER", tmp_path)
        save_generator(tiny_generator, tmp_path / "tiny" / "generator.safetensors")
        save_preconditioner(tiny_preconditioner, tmp_path / "tiny" / "preconditioner.safetensors")
        return tmp_path / "tiny"

    def test_the_embedded_one(self, tiny_generator, embedded):
        assert preconditioner_for(tiny_generator).network == network_id(tiny_generator)

    def test_only_with_exactly_its_network(self, tiny_generator, embedded):
        tiny_generator.synthesis.layers[0].bias.add_(1)
        tiny_generator._network_id = ""  # which is found out once
        assert preconditioner_for(tiny_generator) is None
        with pytest.raises(UsageError, match="measure-preconditioner"):
            preconditioner_for(tiny_generator, str(embedded / "preconditioner.safetensors"))

    def test_none_for_another_backbones_distance(self, tiny_generator, tiny_preconditioner, embedded):
        assert preconditioner_for(tiny_generator, lpips="vgg") is None
        with pytest.raises(UsageError, match="embedded backbone"):
            preconditioner_for(tiny_generator, tiny_preconditioner, lpips="vgg")


class TestCommand:
    def run(self, network, out, *more):
        small = ["--pictures", 4, "--probes", 2, "--rank", 8, "--batch", 2]
        args = ["measure-preconditioner", "--network", network, "--out", out, "--device", "cpu", *small, *more]
        return CliRunner().invoke(main, [str(arg) for arg in args])

    def test_writes_what_can_be_read(self, tiny_file, tmp_path):
        out = tmp_path / "c.safetensors"
        result = self.run(tiny_file, out)
        assert result.exit_code == 0, result.output
        assert f"preconditioner: {out}" in result.output
        assert read_preconditioner(out).values.shape == (8,)

    def test_replaces_its_own_files_only_and_when_asked(self, tiny_file, tmp_path):
        out = tmp_path / "c.safetensors"
        assert self.run(tiny_file, out).exit_code == 0
        result = self.run(tiny_file, out)
        assert result.exit_code == 2
        assert "--overwrite" in result.output
        assert self.run(tiny_file, out, "--overwrite").exit_code == 0
        out.write_text("mine")
        for options in ((), ("--overwrite",)):
            result = self.run(tiny_file, out, *options)
            assert (result.exit_code, out.read_text()) == (2, "mine")
            assert "Move it" in result.output

    def test_a_bad_rank_is_no_traceback(self, tiny_file, tmp_path):
        result = self.run(tiny_file, tmp_path / "c.safetensors", "--rank", 5000)
        assert result.exit_code == 2
        assert "directions" in result.output
        assert not (tmp_path / "c.safetensors").exists()

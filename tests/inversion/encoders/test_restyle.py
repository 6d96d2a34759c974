"""Relatent's own encoder: what it starts as, how it is stored, and that looking again goes through the picture."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from inversion.encoders.encoder import start_from_encoder
from inversion.encoders.file import save_encoder
from inversion.encoders.loading import load_encoder
from inversion.encoders.training import EncoderSettings, new_encoder
from relatent.core.alignment import Alignment
from relatent.core.errors import CheckpointError, ShapeError, UsageError
from stylegan import network_id
from stylegan.formats.checkpoint import Provenance, read_provenance

SETTINGS = EncoderSettings(network="tiny", data="nowhere", hidden=8)


@pytest.fixture
def encoder(tiny_generator):
    torch.manual_seed(0)
    return new_encoder(SETTINGS, tiny_generator).eval().requires_grad_(False)


@pytest.fixture
def taught(encoder):
    """With weights that do something."""
    for layer in (encoder.model.common, encoder.model.offsets):
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(1)))
    return encoder


@pytest.fixture
def photos():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_fresh_one_gives_the_average(tiny_generator, encoder, photos):
    ws = start_from_encoder(encoder, photos, tiny_generator, iterations=3)
    torch.testing.assert_close(ws, tiny_generator.w_avg.expand(2, tiny_generator.num_ws, -1))


def test_first_look_compares_with_the_average_face(tiny_generator, taught, photos):
    average = tiny_generator.synthesis(tiny_generator.w_avg.expand(1, tiny_generator.num_ws, -1))
    torch.testing.assert_close(taught(photos), taught.residual(photos, average.expand_as(photos)))


def test_every_look_adds_what_the_last_drawing_lacks(tiny_generator, taught, photos):
    first = start_from_encoder(taught, photos, tiny_generator, iterations=1)
    second = start_from_encoder(taught, photos, tiny_generator, iterations=2)
    change = taught.residual(photos, tiny_generator.synthesis(first))
    torch.testing.assert_close(second, first + change)
    assert change.abs().max() > 1e-3


def test_photos_do_not_see_each_other(tiny_generator, taught, photos):
    together = start_from_encoder(taught, photos, tiny_generator, iterations=2)
    alone = start_from_encoder(taught, photos[1:], tiny_generator, iterations=2)
    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-5)


def test_other_sizes_are_resized(tiny_generator, taught, photos):
    large = photos.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(
        start_from_encoder(taught, large, tiny_generator), start_from_encoder(taught, photos, tiny_generator)
    )


def test_bfloat16_is_nearly_the_same(taught, photos):
    exact, rough = taught.residual(photos, photos.flip(0)), taught.residual(photos, photos.flip(0), torch.bfloat16)
    assert rough.dtype == torch.float32
    assert (exact - rough).norm() < 0.03 * exact.norm()


class TestFile:
    def test_round_trip(self, taught, tiny_generator, photos, tmp_path):
        path = tmp_path / "encoder.safetensors"
        taught.alignment = Alignment(0.62, 0.08)
        save_encoder(taught, path, provenance=Provenance(licence="CC BY 4.0"), dtype=torch.float32)
        again = load_encoder(path)
        assert torch.equal(again(photos), taught(photos))
        assert again.network == network_id(tiny_generator)
        assert again.alignment == Alignment(0.62, 0.08)
        assert read_provenance(path).licence == "CC BY 4.0"
        assert not any(p.requires_grad for p in again.parameters())
        assert not again.training

    def test_files_from_before_the_backbone_had_its_name(self, taught, photos, tmp_path):
        path = tmp_path / "encoder.safetensors"
        save_encoder(taught, path, dtype=torch.float32)
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        old = {name.replace("model.backbone.", "model.trunk."): tensor for name, tensor in load_file(path).items()}
        assert any(name.startswith("model.trunk.") for name in old)
        save_file(old, path, metadata=metadata)
        assert torch.equal(load_encoder(path)(photos), taught(photos))

    def test_half_precision_halves_it(self, taught, photos, tmp_path):
        for name, dtype in (("half", torch.float16), ("full", torch.float32)):
            save_encoder(taught, tmp_path / f"{name}.safetensors", dtype=dtype)
        sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "full")]
        assert sizes[0] < 0.6 * sizes[1]
        again = load_encoder(tmp_path / "half.safetensors")
        torch.testing.assert_close(again(photos), taught(photos), rtol=2e-2, atol=2e-2)

    @pytest.mark.parametrize("change", [{"num_ws": 9}, {"hidden": 9}, {"resolution": 64}, {"w_dim": -1}])
    def test_a_dishonest_configuration_is_refused(self, taught, tmp_path, change):
        path = tmp_path / "encoder.safetensors"
        save_encoder(taught, path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        metadata["config"] = json.dumps({**json.loads(metadata["config"]), **change})
        save_file(load_file(path), path, metadata=metadata)
        with pytest.raises(CheckpointError):
            load_encoder(path)


def test_refusals(tiny_generator, encoder):
    with pytest.raises(ShapeError, match="expected float"):
        encoder(torch.zeros(1, 3, 16, 16))
    encoder.offset = encoder.offset[:-1]
    with pytest.raises(UsageError, match="Use the network the encoder was trained with"):
        start_from_encoder(encoder, torch.zeros(1, 3, 32, 32), tiny_generator)

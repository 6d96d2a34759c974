"""Network files: what goes in comes out, in any precision, with everything about it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from spoiling import header_of, rewrite

from relatent.core.alignment import Alignment
from relatent.core.errors import CheckpointError, OutputError
from stylegan import Generator, GeneratorConfig, Provenance, network_id, save_generator
from stylegan.formats.checkpoint import fingerprint, load_generator, load_strictly, read_safetensors


class TestRoundTrip:
    def test_float32_exactly(self, tiny_generator, network):
        loaded = load_generator(network)
        ours, theirs = tiny_generator.state_dict(), loaded.state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        ws = torch.randn(2, 8, 24)
        assert torch.equal(loaded.synthesis(ws), tiny_generator.synthesis(ws))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_exactly_as_stored(self, tiny_generator, tmp_path, dtype):
        path = tmp_path / "half.safetensors"
        save_generator(tiny_generator, path, dtype=dtype)
        stored, loaded = load_file(path), load_generator(path).state_dict()
        for name, tensor in tiny_generator.state_dict().items():
            assert stored[name].dtype == dtype
            assert loaded[name].dtype == torch.float32
            assert torch.equal(loaded[name], tensor.to(dtype).float())

    def test_half_is_half_as_large(self, tmp_path):
        generator = Generator(GeneratorConfig(resolution=8, z_dim=64, w_dim=64, channel_base=512))
        for name, dtype in (("full", torch.float32), ("half", torch.float16)):
            save_generator(generator, tmp_path / name, dtype=dtype)
        ratio = (tmp_path / "half").stat().st_size / (tmp_path / "full").stat().st_size
        assert 0.49 < ratio < 0.52

    def test_everything_about_it(self, tmp_path):
        config = GeneratorConfig(
            resolution=16, z_dim=4, w_dim=5, c_dim=3, mapping_layers=1, mapping_lr_multiplier=0.1, channel_base=32,
            channel_max=6, img_channels=1, conv_clamp=None, style_method="adain",
        )  # fmt: skip
        generator = Generator(config, alignment=Alignment(0.62, 0.08), name="odd")
        about = Provenance(licence="CC BY 4.0", attribution="A. Photographer", origin="made up")
        save_generator(generator, tmp_path / "odd.safetensors", provenance=about)
        loaded = load_generator(tmp_path / "odd.safetensors")
        assert loaded.config == config
        assert loaded.alignment == Alignment(0.62, 0.08)
        assert loaded.name == "odd"
        header = header_of(tmp_path / "odd.safetensors")
        assert {header[name] for name in dataclasses.asdict(about)} == {"CC BY 4.0", "A. Photographer", "made up"}

    def test_is_ready_to_draw(self, network):
        loaded = load_generator(network)
        assert not loaded.training
        assert not any(parameter.requires_grad for parameter in loaded.parameters())

    def test_nameless_network_gets_the_name_of_its_file(self, tiny_generator, tmp_path):
        tiny_generator.name = ""
        save_generator(tiny_generator, tmp_path / "mine.safetensors")
        assert load_generator(tmp_path / "mine.safetensors").name == "mine"

    def test_wider_numbers_become_float32(self, network):
        rewrite(network, {name: tensor.double() for name, tensor in load_file(network).items()})
        assert {tensor.dtype for tensor in load_generator(network).state_dict().values()} == {torch.float32}

    def test_unknown_header_fields_are_passed_over(self, network):
        config = {**json.loads(header_of(network)["config"]), "from_the_future": 1}
        assert load_generator(rewrite(network, config=json.dumps(config), colour="blue")).resolution == 32

    def test_unwritable(self, tiny_generator, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="Choose another folder"):
            save_generator(tiny_generator, tmp_path / "file" / "network.safetensors")


class TestFingerprint:
    def test_equal_across_precisions(self, tiny_generator, tmp_path):
        for dtype in (torch.float32, torch.float16):
            save_generator(tiny_generator, tmp_path / "n.safetensors", dtype=dtype)
            assert fingerprint(load_generator(tmp_path / "n.safetensors")) == fingerprint(tiny_generator)
            assert network_id(load_generator(tmp_path / "n.safetensors")) == network_id(tiny_generator)

    def test_changes_with_any_weight(self, tiny_generator):
        before = fingerprint(tiny_generator)
        for tensor in tiny_generator.state_dict().values():
            tensor.view(-1)[-1].add_(0.5)
            changed = fingerprint(tiny_generator)
            assert changed != before
            before = changed

    def test_names_the_network(self, tiny_generator):
        assert network_id(tiny_generator) == f"tiny@{fingerprint(tiny_generator)}"
        assert len(fingerprint(tiny_generator)) == 12

    def test_flipped_bit_is_noticed(self, network):
        data = bytearray(network.read_bytes())
        data[-2] ^= 0x10
        network.write_bytes(data)
        with pytest.raises(CheckpointError, match=r"is damaged: .* fingerprint"):
            load_generator(network)

    def test_file_without_one_is_read(self, network, tiny_generator):
        assert network_id(load_generator(rewrite(network, fingerprint=None))) == network_id(tiny_generator)


class TestReadAndLoadStrictly:
    """Other packages read their own files with these two."""

    def test_half_is_widened_and_double_kept(self, tmp_path):
        kinds = (torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float32, torch.float64, torch.int64)
        save_file({str(kind): torch.ones(2).to(kind) for kind in kinds}, tmp_path / "a", metadata={"format": "mine"})
        tensors, header = read_safetensors(tmp_path / "a")
        assert header == {"format": "mine"}
        assert [tensors[str(kind)].dtype for kind in kinds] == [torch.float32] * 4 + [torch.float64, torch.int64]

    def test_real_module_is_filled_in_place(self):
        module = torch.nn.Linear(2, 3)
        weight = module.weight
        load_strictly(module, {"weight": torch.ones(3, 2), "bias": torch.zeros(3, dtype=torch.float64)}, Path("x"))
        assert module.weight is weight
        assert (weight == 1).all()
        assert module.bias.dtype == torch.float32

"""Network files: what goes in comes out, and what is damaged or dishonest is refused in one line, cheaply."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from core.alignment import Alignment
from core.errors import CheckpointError, OutputError
from stylegan import Generator, GeneratorConfig, Provenance, load, network_id, save_generator
from stylegan.checkpoint import fingerprint, load_generator, load_strictly, read_safetensors

ROOT = Path(__file__).parents[2]


@pytest.fixture
def network(tiny_generator, tmp_path):
    """A file to spoil."""
    path = tmp_path / "network.safetensors"
    save_generator(tiny_generator, path)
    return path


def header_of(path):
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())


def rewrite(path, tensors=None, **header):
    """The same file with other tensors or header fields; None removes a field."""
    fields = {**header_of(path), **header}
    save_file(tensors or load_file(path), path, metadata={k: v for k, v in fields.items() if v is not None})
    return path


def raw(path, header, body=b""):
    """A file with any header at all."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def refused(path, *words):
    started = time.perf_counter()
    with pytest.raises(CheckpointError) as error:
        load_generator(path)
    message = str(error.value)
    assert time.perf_counter() - started < 5
    assert "\n" not in message
    assert len(message) < 1000
    for word in (str(path), *words):
        assert word in message
    return message


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
        refused(network, "damaged", "fingerprint")

    def test_file_without_one_is_read(self, network, tiny_generator):
        assert network_id(load_generator(rewrite(network, fingerprint=None))) == network_id(tiny_generator)


class TestDamage:
    def test_missing(self, tmp_path):
        refused(tmp_path / "no.safetensors", "does not exist", "expected")

    def test_folder(self, tmp_path):
        refused(tmp_path, "is a folder")

    def test_empty(self, tmp_path):
        (tmp_path / "empty.safetensors").touch()
        refused(tmp_path / "empty.safetensors", "not a readable safetensors file")

    def test_text(self, tmp_path):
        (tmp_path / "text.safetensors").write_text("This is not a network.\n" * 100)
        refused(tmp_path / "text.safetensors", "not a readable safetensors file")

    @pytest.mark.parametrize("share", [0.0001, 0.3, 0.999])
    def test_cut_short(self, network, share):
        data = network.read_bytes()
        network.write_bytes(data[: int(len(data) * share)])
        refused(network, "not a readable safetensors file")

    def test_trailing_bytes(self, network):
        network.write_bytes(network.read_bytes() + b"more")
        refused(network, "not a readable safetensors file")

    def test_header_that_claims_4_gb(self, tmp_path):
        (tmp_path / "claim.safetensors").write_bytes(struct.pack("<Q", 4 * 2**30) + b"{}" * 100)
        refused(tmp_path / "claim.safetensors", "not a readable safetensors file")

    @pytest.mark.parametrize("dtype", ["F4", "F6_E2M3", "XYZ"])
    def test_odd_number_formats(self, tmp_path, dtype):
        entry = {"dtype": dtype, "shape": [4], "data_offsets": [0, {"F4": 2, "F6_E2M3": 3}.get(dtype, 4)]}
        refused(raw(tmp_path / "odd.safetensors", {"a": entry}, bytes(entry["data_offsets"][1])), "not a readable")

    def test_tensor_that_claims_more_than_the_file(self, tmp_path):
        entry = {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}
        refused(raw(tmp_path / "claim.safetensors", {"a": entry}, b"0000"), "not a readable")

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
    def test_not_finite(self, network, value, dtype):
        tensors = load_file(network)
        tensors["synthesis.blocks.8.conv0.weight"][0, 0, 0, 0] = value
        tensors = {name: tensor.to(dtype) for name, tensor in tensors.items()}
        refused(rewrite(network, tensors), "not finite", "synthesis.blocks.8.conv0.weight")


class TestDishonesty:
    @pytest.mark.parametrize("value", [None, "relatent-training-1", "x" * 10**6])
    def test_wrong_format(self, network, value):
        refused(rewrite(network, format=value), "says format", "python -m weights convert")

    def test_missing_weight(self, network):
        tensors = load_file(network)
        del tensors["mapping.w_avg"]
        refused(rewrite(network, tensors), "missing mapping.w_avg")

    def test_unexpected_weight(self, network):
        refused(rewrite(network, {**load_file(network), "extra": torch.zeros(1)}), "unexpected extra")

    def test_many_unexpected_weights_with_long_names(self, network):
        extra = {f"{index}{'x' * 10_000}": torch.zeros(1) for index in range(9)}
        refused(rewrite(network, {**load_file(network), **extra}), "unexpected 0xxx", "and 6 more")

    def test_wrong_shape(self, network):
        refused(rewrite(network, {**load_file(network), "mapping.w_avg": torch.zeros(25)}), "[25] where [24] belongs")

    @pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64])
    def test_weights_that_are_no_real_numbers(self, network, dtype):
        tensors = load_file(network)
        tensors["synthesis.blocks.4.const"] = torch.zeros(16, 4, 4, dtype=dtype)
        refused(rewrite(network, tensors), "torch.float32 belongs")

    @pytest.mark.parametrize(
        "change",
        [
            {"resolution": 7},
            {"resolution": 64},
            {"resolution": 32.0},
            {"resolution": None},
            {"channel_max": 2**40},
            {"channel_base": 2**40},
            {"mapping_layers": 10**9},
            {"mapping_layers": 64},
            {"z_dim": -16},
            {"w_dim": 24.5},
            {"c_dim": 10**12},
            {"img_channels": 10**400},
            {"mapping_lr_multiplier": 0},
            {"mapping_lr_multiplier": float("nan")},
            {"conv_clamp": -1},
            {"conv_clamp": "256"},
            {"style_method": "x" * 10**6},
            {"style_method": {}},
        ],
        ids=lambda change: str(change)[:40],
    )
    def test_configuration(self, network, change):
        config = json.loads(header_of(network)["config"])
        refused(rewrite(network, config=json.dumps({**config, **change})))

    @pytest.mark.parametrize("field", ["config", "alignment"])
    @pytest.mark.parametrize("text", [None, "", "no JSON", "[1, 2]", "7", "null", "[" * 100_000, '{"resolution": '])
    def test_header_that_is_no_configuration(self, network, field, text):
        refused(rewrite(network, **{field: text}), "header")

    @pytest.mark.parametrize("change", [{"scale": 0}, {"scale": "1"}, {"scale": float("nan")}, {"shift": 1e9}])
    def test_alignment(self, network, change):
        refused(rewrite(network, alignment=json.dumps({"scale": 1.0, "shift": 0.0, **change})), "Alignment")

    def test_nothing_large_is_allocated(self, tiny_generator, tmp_path):
        """In a process that may take only 300 MB more than it has after importing everything."""
        network = tmp_path / "network.safetensors"
        save_generator(tiny_generator, network)
        config = json.loads(header_of(network)["config"])
        largest = {"resolution": 1024, "z_dim": 16384, "w_dim": 16384, "c_dim": 16384, "channel_max": 16384}
        for index, change in enumerate((largest, {"channel_max": 2**40}, {"mapping_layers": 10**9})):
            spoilt = tmp_path / f"{index}.safetensors"
            spoilt.write_bytes(network.read_bytes())
            rewrite(spoilt, config=json.dumps({**config, **change, "channel_base": 2**20}))
        (tmp_path / "claim.safetensors").write_bytes(struct.pack("<Q", 4 * 2**30) + b"{}" * 100)
        code = """
import resource, sys
from pathlib import Path
from core.errors import CheckpointError
from stylegan.checkpoint import load_generator
load_generator(Path(sys.argv[1]))
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 300 * 2**20,) * 2)
for path in sys.argv[2:]:
    try:
        load_generator(Path(path))
    except CheckpointError as error:
        print("refused", error)
"""
        if not Path("/proc/self/statm").exists():
            pytest.skip("needs Linux")
        files = [network, *(tmp_path / f"{name}.safetensors" for name in (0, 1, 2, "claim"))]
        done = subprocess.run([sys.executable, "-c", code, *files], cwd=ROOT, capture_output=True, text=True)
        assert done.stderr == ""
        assert done.stdout.count("refused") == 4


class TestPickle:
    @pytest.fixture
    def no_pickle(self, monkeypatch):
        def fail(*_args, **_kwargs):
            raise AssertionError("a network file must not be unpickled")

        for name in ("load", "loads", "Unpickler", "_Unpickler"):
            monkeypatch.setattr(pickle, name, fail)
        monkeypatch.setattr(torch, "load", fail)

    @pytest.mark.usefixtures("no_pickle")
    def test_is_never_touched(self, network):
        assert load_generator(network).name == "tiny"
        load(network)

    def test_hostile_one_is_not_run(self, tmp_path):
        class Hostile:
            def __reduce__(self):
                return os.system, (f"touch {tmp_path / 'ran'}",)

        for suffix in ("safetensors", "pkl", "pt"):
            path = tmp_path / f"network.{suffix}"
            path.write_bytes(pickle.dumps(Hostile()))
            with pytest.raises(CheckpointError):
                load(path)
        torch.save({"g_ema": Hostile()}, tmp_path / "zip.pt")
        with pytest.raises(CheckpointError):
            load(tmp_path / "zip.pt")
        assert not (tmp_path / "ran").exists()


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

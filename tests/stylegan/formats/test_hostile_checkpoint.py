"""Network files that are damaged or dishonest: refused in one line, quickly, without memory or pickle."""

from __future__ import annotations

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
from safetensors.torch import load_file
from spoiling import header_of, raw, rewrite

from relatent.core.errors import CheckpointError
from stylegan import load, save_generator
from stylegan.formats.checkpoint import load_generator

ROOT = Path(__file__).parents[3]


def refused(path, *words):
    started = time.process_time()
    with pytest.raises(CheckpointError) as error:
        load_generator(path)
    message = str(error.value)
    assert time.process_time() - started < 5
    assert "\n" not in message
    assert len(message) < 1000
    for word in (str(path), *words):
        assert word in message
    return message


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
    @pytest.mark.parametrize("value", [None, "x" * 10**6])
    def test_wrong_format(self, network, value):
        refused(rewrite(network, format=value), "says format", "python -m weights convert")

    def test_something_else_of_ours(self, network):
        refused(rewrite(network, format="relatent-inversion-1"), "says format", "something else than a network")

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
from relatent.core.errors import CheckpointError
from stylegan.formats.checkpoint import load_generator
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

"""StyleGAN3's pickles: pictures agree with those their own implementation drew, and nothing is taken for granted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from drawing import draw, relative

from benchmarks.foreign import as_written, stylegan3_network, write_nvidia
from relatent.core.errors import CheckpointError
from stylegan import load, network_id
from stylegan.formats.stylegan3 import read_stylegan3

FORMATS = Path(__file__).parents[3].parent / "shared" / "formats"
FILE = Path("smooth.pkl")
ROTATION = {"conv_kernel": 1, "use_radial_filters": True}


class TestReferences:
    """Measured: 2e-7 for latents, 2e-6 for pictures."""

    @pytest.fixture(params=["t", "r"])
    def network(self, request):
        path = FORMATS / f"nvidia-sg3{request.param}.pkl"
        if not path.exists():
            pytest.skip("shared/formats is not here")
        with np.load(path.with_name(f"{path.stem}-reference.npz")) as file:
            return load(path), {name: torch.from_numpy(file[name]) for name in file.files}

    def test_every_array_agrees(self, network):
        generator, answers = network
        found = {
            "ws": generator.mapping(answers["z"]),
            "ws_psi07": generator.mapping(answers["z"], truncation_psi=0.7),
            "img_const": generator(answers["z"]),
            "img_psi07": generator(answers["z"], truncation_psi=0.7),
            "img_plus": generator.synthesis(answers["ws_plus"]),
        }
        assert {*found, "z", "ws_plus"} == answers.keys()
        assert {name: relative(found[name], answers[name]) < 1e-5 for name in found} == dict.fromkeys(found, True)
        assert all(found[name].shape == answers[name].shape for name in found)


class TestOwnFile:
    @pytest.mark.parametrize("changes", [{}, ROTATION, {"c_dim": 3, "mapping_layers": 5, "conv_clamp": None}])
    def test_is_the_same_network(self, tiny_alias_free, changes):
        generator = tiny_alias_free(**changes)
        found = read_stylegan3(stylegan3_network(generator), FILE)
        assert found.config == generator.config
        assert network_id(found) == network_id(generator)
        assert found.name == "smooth"
        ws = torch.randn(2, 6, 24)
        assert torch.equal(found.synthesis(ws), generator.synthesis(ws))
        assert not found.training
        assert not any(parameter.requires_grad for parameter in found.parameters())

    @pytest.mark.parametrize("changes", [{}, ROTATION])
    def test_in_a_pickle(self, tiny_alias_free, tmp_path, changes):
        generator = tiny_alias_free(**changes)
        network = as_written(stylegan3_network(generator))
        path = write_nvidia(tmp_path / "smooth.pkl", G=None, G_ema=network)
        assert network_id(load(path)) == network_id(generator)

    def test_is_a_copy(self, tiny_alias_free):
        generator = tiny_alias_free()
        found = read_stylegan3(stylegan3_network(generator), FILE)
        found.synthesis.layers[0].weight.zero_()
        assert generator.synthesis.layers[0].weight.any()

    def test_what_a_file_does_not_state_has_the_published_default(self, tiny_alias_free):
        generator = tiny_alias_free(num_layers=14, num_critical=2)
        network = stylegan3_network(generator)
        modules = network.state["_modules"]
        given = modules["synthesis"].state["_init_kwargs"]
        stated = ("w_dim", "img_resolution", "img_channels", "channel_base", "channel_max")
        modules["synthesis"].state["_init_kwargs"] = {name: given[name] for name in stated}
        found = read_stylegan3(network, FILE)
        ws = draw(generator)
        assert relative(found.synthesis(ws), generator.synthesis(ws)) < 1e-6

    def test_scalars_of_numpy(self, tiny_alias_free):
        network = stylegan3_network(tiny_alias_free())
        given = network.state["_modules"]["synthesis"].state["_init_kwargs"]
        given |= {
            "first_cutoff": np.float64(2),
            "num_layers": np.int64(4),
            "use_radial_filters": np.bool_(False),
            "filter_size": np.int32(6),
        }
        assert read_stylegan3(network, FILE).config.num_layers == 4


def set_kwargs(name, **values):
    return lambda parts: parts[name].state["_init_kwargs"].update(values)


def set_tensor(layer, name, change):
    def spoil(parts):
        state = parts["synthesis"].state["_modules"][layer].state
        holder = state["_parameters"] if name in state["_parameters"] else state["_buffers"]
        holder[name] = change(holder.get(name))

    return spoil


def rename_layer(parts):
    layers = parts["synthesis"].state["_modules"]
    layers["L0_36_17"] = layers.pop("L0_36_16")


SPOILED = {
    "no synthesis": (lambda parts: parts.pop("synthesis"), "does not say how its synthesis"),
    "no mapping": (lambda parts: parts.update(mapping=None), "does not say how its mapping"),
    "unnamed arguments": (lambda parts: parts["mapping"].state.update(_init_args=(16, 0)), "does not say"),
    "unsaid arguments": (lambda parts: parts["mapping"].state.pop("_init_kwargs"), "does not say"),
    "unknown argument": (set_kwargs("synthesis", colour="blue"), "'colour', which this version does not know"),
    "other filters": (set_kwargs("synthesis", filter_size=8), r"filter_size 8; expected 6"),
    "other rates": (set_kwargs("synthesis", lrelu_upsampling=4), "lrelu_upsampling 4; expected 2"),
    "contradiction": (set_kwargs("mapping", w_dim=25), r"mapping.w_dim 25; expected 24"),
    "impossible size": (set_kwargs("synthesis", img_resolution=48), "impossible network: resolution is 48"),
    "enormous size": (set_kwargs("synthesis", channel_max=2**40), "impossible network: channel_max"),
    "size of another type": (set_kwargs("synthesis", channel_base={}), "impossible network: channel_base"),
    "another size": (set_kwargs("synthesis", margin_size=11), "missing synthesis.L0_38_16.affine.bias"),
    "another kernel": (set_kwargs("synthesis", conv_kernel=1), "does not fit"),
    "another band": (set_kwargs("synthesis", last_stopband_rel=1.3), "filter synthesis.L3_32_8.down_filter that"),
    "fewer layers": (set_kwargs("synthesis", num_layers=3), "missing synthesis.L"),
    "deeper mapping": (set_kwargs("mapping", num_layers=3), "missing mapping.fc2.bias"),
    "shallower mapping": (set_kwargs("mapping", num_layers=1), "left over 'mapping.fc1.bias'"),
    "classes": (set_kwargs("mapping", c_dim=2), "missing mapping.embed"),
    "layer of another name": (rename_layer, "missing synthesis.L0_36_16.*left over 'synthesis.L0_36_17|and 11 more"),
    "missing weight": (set_tensor("L1_36_16", "weight", lambda old: None), "missing synthesis.L1_36_16.weight"),
    "extra weight": (set_tensor("L1_36_16", "extra", lambda old: torch.ones(1)), "left over .*L1_36_16.extra"),
    "weight of another size": (set_tensor("L1_36_16", "weight", lambda old: old[:, 1:]), "layers.1.weight is"),
    "weight not finite": (set_tensor("L1_36_16", "weight", lambda old: old * torch.nan), "not finite"),
    "whole numbers": (set_tensor("L1_36_16", "weight", lambda old: old.long()), "torch.int64"),
    "filter of another shape": (set_tensor("L1_36_16", "down_filter", lambda old: old[1:]), "down_filter"),
    "filter not finite": (set_tensor("L1_36_16", "down_filter", lambda old: old * torch.nan), "down_filter"),
    "missing filter": (set_tensor("L1_36_16", "up_filter", lambda old: None), "up_filter"),
    "filter before the picture": (set_tensor("L4_32_3", "up_filter", lambda old: torch.ones(12)), "up_filter"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_spoiled_files_are_refused_in_one_line(tiny_alias_free, name):
    spoil, words = SPOILED[name]
    network = stylegan3_network(tiny_alias_free())
    spoil(network.state["_modules"])
    with pytest.raises(CheckpointError, match=words) as error:
        read_stylegan3(network, FILE)
    assert "smooth.pkl" in str(error.value)
    assert "\n" not in str(error.value)

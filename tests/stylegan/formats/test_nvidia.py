"""NVIDIA's StyleGAN2 pickles: the same pictures as their own code draws, and plain words for what is not supported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.foreign import FILTER, Persisted, nvidia_network, write_nvidia
from relatent.core.alignment import Alignment
from relatent.core.errors import CheckpointError
from stylegan import Generator, GeneratorConfig, load

FORMATS = Path(__file__).parents[3].parent / "shared" / "formats"


def near(found, expected, tolerance=1e-5):
    return found.shape == expected.shape and (found - expected).abs().max() < tolerance * expected.abs().max()


@pytest.mark.skipif(not FORMATS.exists(), reason="shared/formats is not here")
@pytest.mark.parametrize("name", ["nvidia-sg2", "nvidia-sg2deep", "nvidia-sg2cond"])
def test_agrees_with_their_code(name):
    generator = load(FORMATS / f"{name}.pkl")
    with np.load(FORMATS / f"{name}-reference.npz") as file:
        answers = {key: torch.from_numpy(file[key]) for key in file.files}
    z, c = answers["z"], answers.get("c")
    ws = generator.mapping(z, c)
    assert near(ws, answers["ws"])
    assert near(generator.mapping(z, c, truncation_psi=0.7), answers["ws_psi07"])
    assert near(generator.synthesis(ws), answers["img_const"])
    assert near(generator.synthesis(ws, "none"), answers["img_none"])
    assert near(generator(z, c, truncation_psi=0.7), answers["img_psi07"])
    assert near(generator.synthesis(answers["ws_plus"]), answers["img_plus"])


def small(**changes):
    sizes = {"resolution": 16, "z_dim": 6, "w_dim": 10, "mapping_layers": 3, "channel_base": 128, "channel_max": 12}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = Generator(GeneratorConfig(**{**sizes, **changes})).requires_grad_(False)
    generator.recompute_w_avg(100)
    for layer in generator.synthesis.layers:
        layer.noise_strength.fill_(0.2)
    return generator


def same_pictures(one, other):
    c = torch.eye(one.c_dim)[:2] if one.c_dim else None
    z = torch.randn(2, one.z_dim, generator=torch.Generator().manual_seed(1))
    return torch.equal(one(z, c, truncation_psi=0.7), other(z, c, truncation_psi=0.7))


@pytest.fixture
def network():
    return nvidia_network(small())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol(tmp_path, protocol):
    generator = small()
    path = write_nvidia(tmp_path / "faces-16.pkl", protocol, G_ema=nvidia_network(generator))
    found = load(path)
    assert same_pictures(found, generator)
    assert (found.name, found.file, found.alignment) == ("faces-16", str(path), Alignment(1.0, 0.0))
    assert not found.training
    assert not any(parameter.requires_grad for parameter in found.parameters())


@pytest.mark.parametrize(
    "changes",
    [
        {"c_dim": 4},
        {"mapping_layers": 1},
        {"mapping_layers": 9, "mapping_lr_multiplier": 1.0},
        {"resolution": 8, "conv_clamp": None},
        {"resolution": 64, "channel_base": 64},
        {"conv_clamp": 0.5},
        {"img_channels": 1},
    ],
    ids=str,
)
def test_every_size(tmp_path, changes):
    generator = small(**changes)
    found = load(write_nvidia(tmp_path / "a.pkl", G_ema=nvidia_network(generator)))
    assert same_pictures(found, generator)
    assert found.config.channels == generator.config.channels


def test_settings_stand_in_for_missing_attributes(tmp_path):
    generator = small(conv_clamp=0.5, mapping_lr_multiplier=0.1)
    network = nvidia_network(generator)
    network.state["_init_kwargs"]["synthesis_kwargs"]["conv_clamp"] = 0.5
    network.state["_init_kwargs"]["mapping_kwargs"]["lr_multiplier"] = 0.1
    for index in range(3):
        del network[f"mapping.fc{index}"].state["bias_gain"]
    for block in network["synthesis"].state["_modules"].values():
        for layer in block.state["_modules"].values():
            del layer.state["conv_clamp"]
    assert same_pictures(load(write_nvidia(tmp_path / "a.pkl", G_ema=network)), generator)


def test_entry(tmp_path, network):
    other = small(w_dim=14)
    path = write_nvidia(tmp_path / "a.pkl", G=nvidia_network(other), D=Persisted("Discriminator"), G_ema=network)
    assert load(path).w_dim == 10
    assert load(path, entry="G").w_dim == 14
    with pytest.raises(CheckpointError, match=r"no generator in 'H'; expected one of its entries: 'G', 'G_ema'"):
        load(path, entry="H")
    with pytest.raises(CheckpointError, match=r"'Discriminator' in its entry 'D'; expected a generator"):
        load(path, entry="D")


def test_no_network(tmp_path):
    with pytest.raises(CheckpointError, match=r"no network that can be read; found the entries 'training_set_kwargs'"):
        load(write_nvidia(tmp_path / "a.pkl"))


def spoil_weight(name, tensor):
    def spoil(network):
        network.put(name, tensor)

    return spoil


def spoil_attribute(module, **attributes):
    def spoil(network):
        (network[module] if module else network).state.update(attributes)

    return spoil


def drop_weight(network):
    del network["synthesis.b8.conv1"].state["_parameters"]["bias"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (drop_weight, "missing synthesis.b8.conv1.bias"),
        (spoil_weight("synthesis.b8.conv9.bias", torch.zeros(3)), "left over 'synthesis.b8.conv9.bias'"),
        (spoil_weight("mapping.fc7.weight", torch.zeros(10, 10)), "missing mapping.fc3.bias"),
        (spoil_weight("mapping.fc1.weight", torch.zeros(10, 11)), r"\[10, 11\] where \[10, 10\]"),
        (spoil_weight("mapping.fc0.weight", torch.zeros(10)), "no mapping.fc0"),
        (spoil_weight("synthesis.b0.torgb.weight", torch.zeros(3, 4, 1, 1)), "left over 'synthesis.b0"),
        (spoil_weight("synthesis.b8.torgb.weight", torch.zeros(3, 5, 1, 1)), "channels that follow no rule"),
        (
            spoil_weight("synthesis.b24.torgb.weight", torch.zeros(3, 5, 1, 1)),
            "says img_resolution 16 where its tensors say 24",
        ),
        (spoil_weight("mapping.w_avg", torch.full((10,), float("nan"))), "not finite"),
        (spoil_weight("synthesis.b8.resample_filter", FILTER.roll(1)), "another filter"),
        (spoil_weight("synthesis.b8.resample_filter", torch.ones(2, 2) / 4), "another filter"),
        (spoil_attribute("synthesis.b8", architecture="resnet"), "connected in another way"),
        (spoil_attribute("synthesis.b8.conv0", activation="relu"), "activation"),
        (spoil_attribute("synthesis.b8.conv0", activation=torch.zeros(3)), "activation"),
        (spoil_attribute("synthesis.b8.conv0", conv_clamp=1.0), "different values of conv_clamp"),
        (spoil_attribute("synthesis.b8.conv0", conv_clamp=torch.zeros(3)), "different values of conv_clamp"),
        (spoil_attribute("mapping.fc1", bias_gain=1.0), "different values of bias_gain"),
        (spoil_attribute("", _init_kwargs={"z_dim": 512}), "says z_dim 512 where its tensors say 6"),
        (spoil_attribute("", _init_kwargs={"img_resolution": torch.zeros(2)}), "says img_resolution"),
        (spoil_attribute("", _init_kwargs={"synthesis_kwargs": {"architecture": "orig"}}), "connected in another way"),
        (spoil_attribute("", _modules=None), "not a module"),
        (spoil_attribute("", _modules={"mapping": 3}), "not a module"),
        (spoil_attribute("synthesis", _parameters={"a": "b"}), "'a' of 'synthesis.' is no tensor"),
    ],
)
def test_what_is_not_supported(tmp_path, network, spoil, words):
    spoil(network)
    with pytest.raises(CheckpointError, match=words) as error:
        load(write_nvidia(tmp_path / "a.pkl", G_ema=network))
    assert len(str(error.value)) < 600

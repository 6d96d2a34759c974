"""rosinality's `.pt` files and the decoders of pSp and e4e: the same pictures, in both layouts of torch.save."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.foreign import FILTER, rosinality_tensors
from relatent.core.alignment import Alignment
from relatent.core.errors import CheckpointError
from stylegan import Generator, GeneratorConfig, load
from stylegan.formats.rosinality import generator_from_rosinality

FORMATS = Path(__file__).parents[3].parent / "shared" / "formats"
LAYOUTS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


@pytest.mark.skipif(not FORMATS.exists(), reason="shared/formats is not here")
def test_agrees_with_their_code():
    generator = load(FORMATS / "rosinality-8px.pt")
    with np.load(FORMATS / "rosinality-8px-reference.npz") as file:
        answers = {key: torch.from_numpy(file[key]) for key in file.files}

    def near(found, expected):
        return found.shape == expected.shape and (found - expected).abs().max() < 1e-5 * expected.abs().max()

    assert near(generator.mapping.map(answers["z"]), answers["w"])
    assert near(generator(answers["z"]), answers["img"])
    assert near(generator(answers["z"], truncation_psi=0.7), answers["img_psi07"])
    assert near(generator.synthesis(answers["ws_plus"]), answers["img_plus"])


@pytest.fixture
def original():
    """A network as this layout can hold it: unclamped, z as wide as w."""
    sizes = {"resolution": 32, "z_dim": 10, "w_dim": 10, "mapping_layers": 3, "channel_base": 128, "channel_max": 8}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = Generator(GeneratorConfig(**sizes, conv_clamp=None)).requires_grad_(False)
    generator.recompute_w_avg()
    for layer in generator.synthesis.layers:
        layer.noise_strength.fill_(0.2)
    return generator


def same_pictures(one, other):
    z = torch.randn(2, one.z_dim, generator=torch.Generator().manual_seed(1))
    return torch.equal(one(z, truncation_psi=0.7), other(z, truncation_psi=0.7))


def write(path, data, zipped=True):
    torch.save(data, path, _use_new_zipfile_serialization=zipped)
    return path


@LAYOUTS
def test_published_network(tmp_path, original, zipped):
    data = {"g_ema": rosinality_tensors(original), "latent_avg": original.w_avg}
    path = write(tmp_path / "faces-32.pt", data, zipped)
    found = load(path)
    assert same_pictures(found, original)
    assert found.config == original.config
    assert (found.name, found.file, found.alignment) == ("faces-32", str(path), Alignment(1.0, 0.0))


@LAYOUTS
def test_training_checkpoint(tmp_path, original, zipped):
    """All that their train.py saves: other networks, optimisers and the command line's arguments."""
    moments = {"step": torch.tensor(3.0), "exp_avg": torch.zeros(3)}
    theirs = rosinality_tensors(original)
    data = {
        "g": {**theirs, "style.1.bias": theirs["style.1.bias"] + 1},
        "d": {"convs.0.0.weight": torch.zeros(2)},
        "g_ema": theirs,
        "g_optim": {"state": {0: moments}, "param_groups": [{"lr": 0.002, "betas": (0.0, 0.99), "params": [0]}]},
        "args": argparse.Namespace(path="faces", size=32, augment_p=0.5, local_rank=None),
        "ada_aug_p": 0.5,
    }
    path = write(tmp_path / "150000.pt", data, zipped)
    assert same_pictures(load(path), original)
    assert not same_pictures(load(path, entry="g"), original)
    with pytest.raises(CheckpointError, match=r"in 'd'; expected one of its entries: 'g', 'g_ema'"):
        load(path, entry="d")


def test_average_is_computed_where_there_is_none(original):
    found = generator_from_rosinality(rosinality_tensors(original), None, Path("a.pt"))
    assert torch.equal(found.w_avg, original.w_avg)


def test_noise_is_drawn_where_there_is_none(original):
    theirs = {name: tensor for name, tensor in rosinality_tensors(original).items() if not name.startswith("noises.")}
    one, two = (generator_from_rosinality(theirs, original.w_avg, Path("a.pt")) for _ in range(2))
    assert same_pictures(one, two)
    assert not same_pictures(one, original)
    z = torch.randn(1, 10)
    assert torch.equal(one(z, noise_mode="none"), original(z, noise_mode="none"))


@pytest.mark.parametrize("rows", [None, 1, 8])
def test_average_for_each_layer(tmp_path, original, rows):
    average = original.w_avg if rows is None else original.w_avg.repeat(rows, 1)
    path = write(tmp_path / "a.pt", {"g_ema": rosinality_tensors(original), "latent_avg": average})
    assert torch.equal(load(path).w_avg, original.w_avg)


def test_different_averages_for_each_layer(original):
    average = torch.stack([original.w_avg, original.w_avg + 1])
    found = generator_from_rosinality(rosinality_tensors(original), average, Path("a.pt"))
    assert torch.allclose(found.w_avg, original.w_avg + 0.5)


@LAYOUTS
def test_decoder_of_an_encoder_file(tmp_path, original, zipped):
    decoder = {f"decoder.{name}": tensor for name, tensor in rosinality_tensors(original).items()}
    data = {
        "state_dict": {"encoder.input_layer.0.weight": torch.zeros(2), **decoder},
        "latent_avg": original.w_avg.repeat(8, 1),
        "opts": {"start_from_latent_avg": True, "stylegan_size": 32, "exp_dir": Path("out/run")},
    }
    assert same_pictures(load(write(tmp_path / "e4e.pt", data, zipped)), original)


def test_bare_tensors(tmp_path, original):
    found = load(write(tmp_path / "a.pt", {**rosinality_tensors(original), "latent_avg": original.w_avg}))
    assert same_pictures(found, original)


@pytest.mark.parametrize("multiplier", [1, 2])
def test_their_channels(multiplier):
    """Widths of a 128 px network; on the meta device, for a real one is large."""
    widths = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256 * multiplier, 128: 128 * multiplier}
    from stylegan.formats.assembly import channel_rule
    from stylegan.networks.generator import channels_by_size

    rule = channel_rule(widths, Path("a.pt"))
    assert channels_by_size(128, rule["channel_base"], rule["channel_max"]) == widths


def without(name):
    def spoil(theirs):
        del theirs[name]

    return spoil


def with_tensor(name, *shape):
    def spoil(theirs):
        theirs[name] = torch.zeros(shape)

    return spoil


def with_levels(theirs):
    """A picture of 2^202 px, as a file without noises would have it drawn."""
    for level in range(200):
        theirs[f"to_rgbs.{level}.bias"] = torch.zeros(1, 3, 1, 1)
        theirs[f"to_rgbs.{level}.conv.weight"] = torch.zeros(1, 3, 1, 1, 1)
    for name in [name for name in theirs if name.startswith("noises.")]:
        del theirs[name]


def with_filter(theirs):
    theirs["convs.0.conv.blur.kernel"] = FILTER


def with_text(theirs):
    theirs["convs.0.noise.weight"] = "text"


def with_nan(theirs):
    theirs["style.1.weight"][0, 0] = float("nan")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without("convs.1.noise.weight"), "missing convs.1.noise.weight"),
        (without("noises.noise_0"), "missing noises.noise_0"),
        (without("to_rgb1.conv.weight"), "no network that can be read; found the entries 'g_ema'"),
        (without("style.1.weight"), "no style.1"),
        (without("to_rgbs.1.conv.weight"), "lacks to_rgbs"),
        (with_tensor("convs.9.conv.weight", 1, 2, 2, 3, 3), "left over 'convs.9.conv.weight'"),
        (with_tensor("convs.0.conv.weight", 2, 8, 8, 3, 3), "expected rosinality"),
        (with_tensor("input.input"), "expected rosinality"),
        (with_tensor("noises.noise_0", 4, 4), "expected rosinality"),
        (with_tensor("to_rgb1.bias", 3), "expected rosinality"),
        (with_tensor("style.2.weight", 10, 11), "where \\[10, 10\\] belongs"),
        (with_tensor("style.1.weight", 10, 9), "a square"),
        (with_tensor("style.1.weight", 2049, 2049), "at most 2048"),
        (with_levels, "200 to_rgbs layers"),
        (with_filter, "another filter"),
        (with_text, "no tensor"),
        (with_nan, "not finite"),
    ],
)
def test_what_is_not_supported(tmp_path, original, spoil, words):
    theirs = rosinality_tensors(original)
    spoil(theirs)
    with pytest.raises(CheckpointError, match=words) as error:
        load(write(tmp_path / "a.pt", {"g_ema": theirs, "latent_avg": original.w_avg}))
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("average", [torch.zeros(9), torch.zeros(0, 10), torch.zeros(1, 1, 10), torch.tensor(1.0), "a"])
def test_average_of_another_shape(tmp_path, original, average):
    with pytest.raises(CheckpointError, match="latent_avg"):
        load(write(tmp_path / "a.pt", {"g_ema": rosinality_tensors(original), "latent_avg": average}))


@pytest.mark.parametrize("data", [[1, 2], {}, {"g_ema": 3}, {"g_ema": {1: torch.zeros(1)}}, {"state_dict": {3: 4}}])
def test_no_network(tmp_path, data):
    with pytest.raises(CheckpointError, match="expected"):
        load(write(tmp_path / "a.pt", data))

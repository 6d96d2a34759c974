"""`convert`: any readable network to our own format, with the same pictures."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

import stylegan.formats.conversion
from benchmarks.foreign import nvidia_network, rosinality_tensors, write_nvidia
from relatent.core.errors import CheckpointError, UsageError
from stylegan import Generator, GeneratorConfig, Provenance, load, network_id, save_generator
from stylegan.formats.checkpoint import read_provenance
from stylegan.formats.conversion import compare, convert


@pytest.fixture
def pickled(tiny_generator, tmp_path):
    return write_nvidia(tmp_path / "people.pkl", G_ema=nvidia_network(tiny_generator))


def same_pictures(one, other, tolerance=0.0):
    z = torch.randn(2, one.z_dim)
    pictures = one(z)
    return (pictures - other(z)).abs().max() <= tolerance * pictures.abs().max()


def test_foreign_network(tiny_generator, pickled, tmp_path):
    out = tmp_path / "new" / "people.safetensors"
    done = convert(pickled, out)
    found = load(out)
    assert same_pictures(found, tiny_generator)
    assert (done.source, done.out, done.network, done.difference) == (pickled, out, network_id(found), 0.0)
    assert done.network.startswith("people@")
    provenance = read_provenance(out)
    assert provenance.origin == "converted from people.pkl; the licence is its author's"
    assert "author" in provenance.licence


def test_foreign_network_of_torch_save(tiny_settings, tmp_path):
    with torch.random.fork_rng(devices=[]):
        generator = Generator(GeneratorConfig(resolution=8, z_dim=6, w_dim=6, channel_max=4, conv_clamp=None))
    torch.save({"g_ema": rosinality_tensors(generator), "latent_avg": torch.zeros(6)}, tmp_path / "a.pt")
    convert(str(tmp_path / "a.pt"), tmp_path / "a.safetensors")
    assert same_pictures(load(tmp_path / "a.safetensors"), generator)


def test_classes(tmp_path):
    generator = Generator(GeneratorConfig(resolution=8, z_dim=6, w_dim=6, c_dim=3, channel_max=4))
    write_nvidia(tmp_path / "a.pkl", G_ema=nvidia_network(generator))
    assert convert(tmp_path / "a.pkl", tmp_path / "a.safetensors").difference == 0


def test_half_precision(tiny_generator, pickled, tmp_path):
    full = convert(pickled, tmp_path / "full.safetensors")
    half = convert(pickled, tmp_path / "half.safetensors", half=True)
    assert half.out.stat().st_size < 0.6 * full.out.stat().st_size
    assert 0 < half.difference < 0.02
    assert half.network == full.network
    assert same_pictures(load(half.out), tiny_generator, 0.02)


def test_entry_name_and_provenance(pickled, tiny_generator, tmp_path):
    write_nvidia(pickled, G=nvidia_network(tiny_generator), G_ema=None)
    provenance = Provenance("CC BY 4.0", "somebody", "somewhere")
    out = tmp_path / "a.safetensors"
    assert convert(pickled, out, entry="G", name="faces", provenance=provenance).network.startswith("faces@")
    assert load(out).name == "faces"
    assert read_provenance(out) == provenance


def test_our_own_keeps_what_it_says(tiny_generator, tmp_path):
    provenance = Provenance("CC BY 4.0", "somebody", "somewhere")
    save_generator(tiny_generator, tmp_path / "a.safetensors", provenance=provenance)
    convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", half=True)
    assert read_provenance(tmp_path / "b.safetensors") == provenance
    assert load(tmp_path / "b.safetensors").name == "tiny"


@pytest.mark.parametrize("half", [False, True])
def test_other_pictures_leave_nothing(tiny_generator, pickled, tmp_path, monkeypatch, half):
    def load_another(path):
        found = stylegan.formats.checkpoint.load_generator(path)
        found.synthesis.blocks["16"].conv1.weight.mul_(-1)
        return found

    monkeypatch.setattr(stylegan.formats.conversion, "load_generator", load_another)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CheckpointError, match="pictures drawn before and after differ by"):
        convert(pickled, tmp_path / "a.safetensors", half=half)
    assert sorted(tmp_path.iterdir()) == before


def test_pictures_that_are_not_finite(tiny_generator, tmp_path):
    tiny_generator.synthesis.blocks["8"].conv1.affine.weight.fill_(3e38)
    write_nvidia(tmp_path / "a.pkl", G_ema=nvidia_network(tiny_generator))
    with pytest.raises(CheckpointError, match="differ by nan"):
        convert(tmp_path / "a.pkl", tmp_path / "a.safetensors")


def test_weights_too_large_for_half_precision(tiny_generator, tmp_path):
    tiny_generator.synthesis.blocks["16"].conv1.weight.mul_(1e5)
    write_nvidia(tmp_path / "a.pkl", G_ema=nvidia_network(tiny_generator))
    convert(tmp_path / "a.pkl", tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"which ends at 65504: synthesis\.blocks\.16\.conv1\.weight goes"):
        convert(tmp_path / "a.pkl", tmp_path / "b.safetensors", half=True)
    assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.parametrize("name", ["a", "a.pkl", "a.safetensors.bak"])
def test_name_of_the_result(pickled, tmp_path, name):
    with pytest.raises(UsageError, match=r"ends in \.safetensors"):
        convert(pickled, tmp_path / name)


def test_entry_of_our_own(tiny_generator, tmp_path):
    save_generator(tiny_generator, tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="no entry 'G'"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", entry="G")


def test_compare(tiny_generator, tmp_path):
    save_generator(tiny_generator, tmp_path / "a.safetensors")
    other = load(tmp_path / "a.safetensors")
    assert compare(tiny_generator, other) == 0
    other.synthesis.blocks["32"].torgb.bias.add_(1)
    assert compare(tiny_generator, other) > 0.01


def test_a_state_dict_of_others_in_safetensors(tiny_generator, tmp_path):
    names = {"mapping.layers.": "mapping.fc", "synthesis.blocks.": "synthesis.b"}
    theirs = {}
    for name, tensor in tiny_generator.state_dict().items():
        for ours, other in names.items():
            name = name.replace(ours, other)
        theirs[f"module.{name}"] = tensor
    save_file(theirs, tmp_path / "a.safetensors", metadata={"licence": "none of ours"})
    convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert same_pictures(load(tmp_path / "b.safetensors"), tiny_generator)
    assert read_provenance(tmp_path / "b.safetensors").licence == "its author's"

"""`stylegan.load`: names, paths, and what is neither."""

from __future__ import annotations

import pytest
import torch

import stylegan
import weights.embedded
from relatent.core.errors import CheckpointError, UnknownNameError
from stylegan import load, save_generator


@pytest.fixture
def embedded(tiny_generator, tmp_path, monkeypatch):
    """A folder of embedded networks with two in it."""
    for name in ("faces-32", "cats-32"):
        tiny_generator.name = name
        save_generator(tiny_generator, tmp_path / name / weights.embedded.GENERATOR_FILE, dtype=torch.float16)
    monkeypatch.setattr(weights.embedded, "FOLDER", tmp_path)
    return tmp_path


def test_by_name(embedded):
    generator = load("faces-32")
    assert (generator.name, generator.file) == ("faces-32", "faces-32")
    assert generator(torch.randn(1, 16)).shape == (1, 3, 32, 32)


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_by_path(embedded, kind):
    path = embedded / "cats-32" / "generator.safetensors"
    generator = load(kind(path))
    assert (generator.name, generator.file) == ("cats-32", str(path))


def test_unknown_name_offers_near_ones(embedded):
    with pytest.raises(
        UnknownNameError, match=r"did you mean faces-32 .*Known: .*cats-32, .*faces-32, .*ffhq-1024"
    ) as error:
        load("face-32")
    assert error.value.exit_code == 2


def test_folder(embedded):
    with pytest.raises(CheckpointError, match=r"is a folder; expected a network file or one of the names cats-32, f"):
        load(embedded)


@pytest.mark.parametrize("path", ["nowhere/network", "network.safetensors", "/nowhere/at/all.pkl"])
def test_missing_path(embedded, path):
    with pytest.raises(CheckpointError, match=r"does not exist; expected .* cats-32, faces-32"):
        load(path)


def test_without_embedded_networks(tmp_path, monkeypatch):
    monkeypatch.setattr(weights.embedded, "FOLDER", tmp_path)
    with pytest.raises(CheckpointError, match="none is embedded"):
        load(tmp_path)
    with pytest.raises(UnknownNameError, match=r"unknown network 'faces-128'.*Known: [^.]*ffhq-1024"):
        load("faces-128")


def test_public_names():
    assert set(stylegan.__all__) == {
        "AliasFreeConfig",
        "Discriminator",
        "DiscriminatorConfig",
        "Generator",
        "GeneratorConfig",
        "MlpConfig",
        "MlpDiscriminator",
        "MlpDiscriminatorConfig",
        "Provenance",
        "load",
        "network_id",
        "save_generator",
    }
    assert all(hasattr(stylegan, name) for name in stylegan.__all__)

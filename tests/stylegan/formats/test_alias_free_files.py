"""Our own files hold both kinds of generator, and say which."""

from __future__ import annotations

import json

import pytest
import torch
from drawing import draw, relative
from spoiling import header_of, rewrite

from relatent.core.errors import CheckpointError
from stylegan import load, network_id, save_generator
from stylegan.formats.checkpoint import load_generator


@pytest.fixture
def saved(tiny_alias_free, tmp_path):
    path = tmp_path / "smooth.safetensors"
    save_generator(tiny_alias_free(conv_kernel=1, use_radial_filters=True), path)
    return path


def test_round_trip(tiny_alias_free, tmp_path):
    for changes in ({}, {"conv_kernel": 1, "use_radial_filters": True, "c_dim": 2, "conv_clamp": None}):
        generator = tiny_alias_free(**changes)
        save_generator(generator, tmp_path / "a.safetensors")
        loaded = load(tmp_path / "a.safetensors")
        assert loaded.config == generator.config
        assert network_id(loaded) == network_id(generator)
        ours, theirs = generator.state_dict(), loaded.state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        ws = torch.randn(2, 6, 24)
        assert torch.equal(loaded.synthesis(ws), generator.synthesis(ws))
        assert not loaded.training
        assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_half_precision(saved, tmp_path):
    generator = load(saved)
    save_generator(generator, tmp_path / "half.safetensors", dtype=torch.float16)
    half = load(tmp_path / "half.safetensors")
    assert network_id(half) == network_id(generator)
    ws = draw(generator)
    assert 0 < relative(half.synthesis(ws), generator.synthesis(ws)) < 0.02


def test_filters_are_not_in_the_file(saved):
    assert not [name for name in load(saved).state_dict() if "filter" in name]


def test_header_says_the_kind(saved, tiny_generator, tmp_path):
    save_generator(tiny_generator, tmp_path / "other.safetensors")
    assert header_of(saved)["architecture"] == "alias-free"
    assert header_of(tmp_path / "other.safetensors")["architecture"] == "skip"


def test_older_files_say_none_and_are_read(tiny_generator, tmp_path):
    path = tmp_path / "old.safetensors"
    save_generator(tiny_generator, path)
    assert network_id(load_generator(rewrite(path, architecture=None))) == network_id(tiny_generator)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"architecture": "transformer"}, "'transformer'; expected 'skip' or 'alias-free'"),
        ({"architecture": "skip"}, "does not fit its own configuration"),
        ({"architecture": None}, "does not fit its own configuration"),
        ({"config": {"num_layers": 5}}, "does not fit its own configuration"),
        ({"config": {"conv_kernel": 3}}, "does not fit its own configuration"),
        ({"config": {"num_layers": 10**9}}, "unusable AliasFreeConfig in its header: num_layers"),
        ({"config": {"margin_size": 10**9}}, "margin_size"),
        ({"config": {"first_cutoff": float("nan")}}, "first_cutoff"),
        ({"config": {"channel_max": [1]}}, "channel_max"),
    ],
)
def test_dishonest_headers_are_refused(saved, header, words):
    config = {**json.loads(header_of(saved)["config"]), **header.pop("config", {})}
    rewrite(saved, config=json.dumps(config), **header)
    with pytest.raises(CheckpointError, match=words):
        load_generator(saved)

"""Inversion does not know which kind of network it drives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from inversion import Inversion, invert_images
from inversion.losses.loss import noise_regularisation
from inversion.project import main
from relatent.core.images import encode_png, to_pixels
from stylegan import load, save_generator


@pytest.fixture
def network(tiny_alias_free):
    return tiny_alias_free()


@pytest.fixture
def face(network):
    """A picture the network can draw."""
    return network.synthesis(network.mapping.truncate(network.sample_w(1, seed=5))).clamp(-1, 1)


@pytest.mark.parametrize("preset", ["balanced", "paper"])
def test_lowers_the_loss(network, face, preset, tmp_path):
    losses = []
    (found,) = invert_images(
        face, network, preset=preset, num_steps=40, progress=lambda step: losses.append(step.losses.item())
    )
    assert found.losses["total"] < 0.5 * losses[0]
    assert found.ws.shape == (1, 6, 24)
    assert found.noise is None
    found.save(tmp_path / "a.safetensors")
    again = Inversion.load(tmp_path / "a.safetensors")
    assert again.noise is None
    assert torch.equal(again.tensor(network), found.tensor(network))


def test_command(network, face, few_steps, tmp_path):
    save_generator(network, tmp_path / "smooth.safetensors")
    (tmp_path / "me.png").write_bytes(encode_png(to_pixels(face)[0]))
    arguments = ("me.png", "--no-align", "--network", "smooth.safetensors", "--outdir", "out")
    places = {"me.png", "smooth.safetensors", "out"}
    done = CliRunner().invoke(main, [str(tmp_path / word) if word in places else word for word in arguments])
    assert done.exit_code == 0, done.output
    found = Inversion.load(tmp_path / "out" / "me")
    drawn = found.image(load(tmp_path / "smooth.safetensors"))
    assert np.array_equal(np.asarray(drawn), np.asarray(Image.open(tmp_path / "out" / "me" / "proj.png")))


def test_no_noise_is_noise_enough():
    assert noise_regularisation([]) == 0

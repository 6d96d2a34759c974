"""The generator is StyleGAN2 and nothing near it: a foreign network's weights draw the pictures it drew itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stylegan import Generator, GeneratorConfig

FORMATS = Path(__file__).parents[2].parent / "shared" / "formats"
NETWORK, ANSWERS = FORMATS / "rosinality-8px.pt", FORMATS / "rosinality-8px-reference.npz"

pytestmark = pytest.mark.skipif(not NETWORK.exists(), reason="shared/formats is not here")

LAYERS = {"conv1": "4.conv1", "convs.0": "8.conv0", "convs.1": "8.conv1"}
TORGBS = {"to_rgb1": "4.torgb", "to_rgbs.0": "8.torgb"}


def translated(theirs, latent_avg):
    """Their names to ours."""
    ours = {"mapping.w_avg": latent_avg.flatten(), "synthesis.blocks.4.const": theirs["input.input"][0]}
    for i in range(2):
        for part in ("weight", "bias"):
            ours[f"mapping.layers.{i}.{part}"] = theirs[f"style.{i + 1}.{part}"]
    for index, (them, us) in enumerate({**LAYERS, **TORGBS}.items()):
        us = f"synthesis.blocks.{us}"
        ours[f"{us}.weight"] = theirs[f"{them}.conv.weight"][0]
        for part in ("weight", "bias"):
            ours[f"{us}.affine.{part}"] = theirs[f"{them}.conv.modulation.{part}"]
        if them in LAYERS:
            ours[f"{us}.bias"] = theirs[f"{them}.activate.bias"]
            ours[f"{us}.noise_strength"] = theirs[f"{them}.noise.weight"].reshape([])
            ours[f"{us}.noise_const"] = theirs[f"noises.noise_{index}"][0, 0]
        else:
            ours[f"{us}.bias"] = theirs[f"{them}.bias"].flatten()
    return {name: tensor.float() for name, tensor in ours.items()}


@pytest.fixture(scope="module")
def foreign():
    file = torch.load(NETWORK, map_location="cpu", weights_only=True)
    config = GeneratorConfig(resolution=8, z_dim=48, w_dim=48, mapping_layers=2, conv_clamp=None)
    with torch.device("meta"):
        generator = Generator(config)
    generator.load_state_dict(translated(file["g_ema"], file["latent_avg"]), strict=True, assign=True)
    return generator.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def answers():
    with np.load(ANSWERS) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def near(found, expected):
    return found.shape == expected.shape and (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_mapping(foreign, answers):
    assert near(foreign.mapping.map(answers["z"]), answers["w"])


def test_picture(foreign, answers):
    assert near(foreign(answers["z"]), answers["img"])


def test_truncated_picture(foreign, answers):
    assert near(foreign(answers["z"], truncation_psi=0.7), answers["img_psi07"])


def test_picture_of_another_w_in_every_layer(foreign, answers):
    assert near(foreign.synthesis(answers["ws_plus"]), answers["img_plus"])

"""Kin of StyleGAN that cannot be used: each is called by its name; and messages that name what a file holds."""

from __future__ import annotations

import pickle
import sys
import types

import numpy as np
import published
import pytest
import torch
from safetensors.torch import save_file

from benchmarks.foreign import Persisted, write_nvidia
from inversion.inversion import Inversion
from relatent.core.errors import CheckpointError
from stylegan import load

SG2 = published.nvidia_stylegan2()
SOME = torch.zeros(2)


def superres():
    network = Persisted("SuperresGenerator")
    network.put("mapping.embed_proj.weight", SOME)
    return {"G_ema": network}


def fastgan_in_a_pickle():
    network = Persisted("Generator")
    network.state["_modules"] = {"synthesis": Persisted("FastganSynthesis"), "mapping": Persisted("DummyMapping")}
    return {"G_ema": network}


PICKLES = {
    "StyleGAN-XL": superres,
    "FastGAN": fastgan_in_a_pickle,
    "EG3D": lambda: {"G_ema": Persisted("TriPlaneGenerator")},
}
STATES = {
    "FastGAN": {"g": {"module.feat_8.1.weight_orig": SOME, "module.se_64.main.1.weight_orig": SOME}, "g_ema": [SOME]},
    "lucidrains": {"GAN": {"G.initial_block": SOME, "G.blocks.0.conv1.weight": SOME, "D.a": SOME}, "version": "1.8"},
    "MMGeneration": {
        "meta": {},
        "state_dict": {"generator.style_mapping.1.linear.weight": SOME, "generator.constant_input.const": SOME},
    },
    "SWAGAN": {"g_ema": {**published.rosinality_stylegan2(), "iwt.ll": SOME}},
    "StyleGAN-Human": {**SG2, "synthesis.b4.const": torch.zeros(4, 4, 2)},
    "StyleGAN-XL": {"g_ema": {**SG2, "mapping.embed_proj.weight": SOME}},
    "the first StyleGAN": {"generator": {"generator.progression.0.conv1.weight": SOME}},
}


def refused(path, *words):
    with pytest.raises(CheckpointError) as error:
        load(path)
    message = str(error.value)
    assert "damaged" not in message
    assert len(message) < 700
    for word in (str(path), *words):
        assert word in message
    return message


@pytest.mark.parametrize("name", PICKLES)
def test_known_by_its_classes(tmp_path, name):
    refused(write_nvidia(tmp_path / "a.pkl", **PICKLES[name]()), name, "Expected a StyleGAN2 or StyleGAN3")


@pytest.mark.parametrize("name", STATES)
def test_known_by_its_tensors(tmp_path, name):
    torch.save(STATES[name], tmp_path / "a.pt")
    refused(tmp_path / "a.pt", name, "Expected a StyleGAN2 or StyleGAN3")


def test_tensorflow_networks_are_shown_the_way(tmp_path, monkeypatch):
    package, module = types.ModuleType("dnnlib.tflib"), types.ModuleType("dnnlib.tflib.network")

    class Network:
        pass

    Network.__module__, Network.__qualname__, module.Network = module.__name__, "Network", Network
    for known in (types.ModuleType("dnnlib"), package, module):
        monkeypatch.setitem(sys.modules, known.__name__, known)
    path = tmp_path / "stylegan2-ffhq-config-f.pkl"
    path.write_bytes(pickle.dumps((Network(), Network(), Network())))
    refused(path, "dnnlib.tflib.network.Network", "TensorFlow", "python legacy.py --source=IN.pkl --dest=OUT.pkl")


def test_entries_are_named(tmp_path):
    torch.save({"step": 3, "unet": {"a.weight": SOME, "b": SOME}, "w": torch.zeros(1, 4)}, tmp_path / "a.pt")
    refused(tmp_path / "a.pt", "'step' (a int)", "'unet' (2 names such as 'a.weight')", "'w' (a tensor of [1, 4])")


@pytest.mark.parametrize(
    "content",
    [torch.zeros(1, 18, 512), {"me.png": {"latent": torch.zeros(18, 512), "img": SOME}}],
    ids=["e4e", "rosinality"],
)
def test_latents_are_no_network(tmp_path, content):
    torch.save(content, tmp_path / "latents.pt")
    refused(tmp_path / "latents.pt", "python -m editing edit", "--network")


@pytest.mark.parametrize("save", [np.save, np.savez], ids=["npy", "npz"])
def test_arrays_are_no_network(tmp_path, save):
    path = tmp_path / f"w.{'npz' if save is np.savez else 'npy'}"
    save(path, np.zeros((1, 18, 512), np.float32))
    refused(path, "NumPy array", "python -m editing edit", "--network")


def test_safetensors_of_something_else(tmp_path):
    save_file({"unet.a": SOME}, tmp_path / "a.safetensors")
    message = refused(tmp_path / "a.safetensors", "'unet.a'")
    assert "convert" not in message  # that would refuse it, too
    Inversion(ws=torch.zeros(1, 2, 3), network="a@b").save(tmp_path / "b.safetensors")
    refused(tmp_path / "b.safetensors", "something else than a network")

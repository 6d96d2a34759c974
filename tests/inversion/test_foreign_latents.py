"""Latents of other tools: each tool's file gives the ws it was written with, and nothing in it is run."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from inversion.foreign_latents import foreign_inversions, latent_kind, read_latents
from relatent.core.errors import CheckpointError, ShapeError, UnknownNameError
from stylegan import network_id, save_generator

L, W = 8, 24  # of the tiny generator


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


WS = numbers(3, L, W)
ONE, W_ONLY = WS[:1], numbers(1, W)


def npz(**arrays):
    return lambda path: np.savez(path.with_suffix(".npz"), **arrays)


def npy(value):
    return lambda path: np.save(path.with_suffix(".npy"), value, allow_pickle=True)


def pt(value, zipped=True):
    return lambda path: torch.save(value, path.with_suffix(".pt"), _use_new_zipfile_serialization=zipped)


def raw(suffix, data):
    return lambda path: path.with_suffix(suffix).write_bytes(data)


def by_photo(value):
    return {f"photos/{name}.png": value(index) for index, name in enumerate(("me", "you", "her"))}


def tensor(array):
    return torch.from_numpy(array)


REPEATED = W_ONLY[:, None].repeat(L, axis=1)
RESTYLE = {name.removeprefix("photos/"): [WS[0] * 0, WS[1] * 0, ws] for name, ws in by_photo(lambda i: WS[i]).items()}
FILES = {
    "NVIDIA": (npz(w=ONE), ONE),
    "NVIDIA, TensorFlow": (npz(dlatents=ONE), ONE),
    "StyleGAN-XL": (npz(w=W_ONLY[:, None]), REPEATED),
    "PTI": (pt(tensor(ONE)), ONE),
    "PTI, trained further": (pt(torch.nn.Parameter(tensor(ONE))), ONE),
    "e4e": (pt(tensor(WS)), WS),
    "e4e, before torch 1.6": (pt(tensor(WS), zipped=False), WS),
    "ReStyle": (npy(RESTYLE), WS),
    "stylegan3-fun": (npy(ONE), ONE),
    "rosinality in W+": (
        pt(by_photo(lambda i: {"img": torch.zeros(3, 8, 8), "latent": tensor(WS[i]), "noise": []})),
        WS,
    ),
    "rosinality in W": (pt({"me.png": {"latent": tensor(W_ONLY[0]), "noise": []}}), REPEATED),
    "InterFaceGAN": (npy(np.concatenate([W_ONLY, W_ONLY])), np.concatenate([REPEATED, REPEATED])),
    "a list": (lambda path: path.with_suffix(".pkl").write_bytes(pickle.dumps(list(WS))), WS),
    "double precision": (npy(ONE.astype(np.float64)), ONE),
}


def written(tmp_path, write):
    write(tmp_path / "latents")
    (path,) = tmp_path.iterdir()
    return path


@pytest.mark.parametrize("tool", FILES)
def test_every_tool(tmp_path, tiny_generator, tool):
    write, expected = FILES[tool]
    path = written(tmp_path, write)
    found = read_latents(path, tiny_generator)
    assert found.ws.dtype == torch.float32
    np.testing.assert_array_equal(found.ws.numpy(), expected)
    assert len(found.names) == len(found.noise) == len(expected)


@pytest.mark.parametrize("tool", ["e4e", "ReStyle", "rosinality in W+"])
def test_one_of_several(tmp_path, tiny_generator, tool):
    path = written(tmp_path, FILES[tool][0])
    assert torch.equal(read_latents(path, tiny_generator, "1").ws[0], tensor(WS[1]))
    with pytest.raises(UnknownNameError, match="A number counted from 0 works too"):
        read_latents(path, tiny_generator, "3")
    if tool != "e4e":
        for entry in ("you.png", "you"):
            assert torch.equal(read_latents(path, tiny_generator, entry).ws[0], tensor(WS[1]))


def test_inversions_are_called_after_their_photos(tmp_path, tiny_generator):
    tiny_generator.file = "tiny.safetensors"
    found = foreign_inversions(written(tmp_path, FILES["ReStyle"][0]), tiny_generator)
    assert [(one.photo, one.space) for one in found] == [("me.png", "w+"), ("you.png", "w+"), ("her.png", "w+")]
    assert {(one.network, one.network_file) for one in found} == {(network_id(tiny_generator), "tiny.safetensors")}


def test_noise_that_rosinality_saved_is_part_of_the_face(tmp_path, tiny_generator):
    noise = [torch.randn_like(level) for level in tiny_generator.synthesis.noise_buffers]
    write = pt({"me.png": {"latent": tensor(WS[0]), "noise": noise}})
    (found,) = foreign_inversions(written(tmp_path, write), tiny_generator)
    expected = tiny_generator.synthesis(tensor(ONE), noise=noise)
    torch.testing.assert_close(found.tensor(tiny_generator), expected)
    odd = pt({"me.png": {"latent": tensor(WS[0]), "noise": noise[1:]}})
    (tmp_path / "latents.pt").unlink()
    assert foreign_inversions(written(tmp_path, odd), tiny_generator)[0].noise is None


@pytest.mark.parametrize(
    ("write", "error", "words"),
    [
        (npz(w=numbers(1, 18, 512)), ShapeError, r"w in .* has shape \[1, 18, 512\]; this network reads \[1, 8, 24\]"),
        (pt(torch.zeros(2, 5, L, W)), ShapeError, "has shape"),
        (npz(other=ONE), CheckpointError, "no array called 'w', but other"),
        (npy(np.full((1, L, W), np.nan)), CheckpointError, "not finite"),
        (npy({"me.png": "text"}), CheckpointError, r"no latents; found the entries 'me.png' \(a str\)"),
        (pt({"a.weight": torch.zeros(3, W), "a.bias": torch.zeros(W)}), CheckpointError, "no latents.*--network"),
        (pt([]), CheckpointError, "no latents"),
        (npy(np.array(["a", "b"])), CheckpointError, "expected numbers"),
        (raw(".npy", b"\x93NUMPY\x01\x00\x08\x00{}      "), CheckpointError, "not a readable"),
        (raw(".pt", b"PK\x03\x04"), CheckpointError, "damaged"),
        (raw(".npz", b"<html>quota"), CheckpointError, "web page"),
    ],
)  # fmt: skip
def test_what_is_none(tmp_path, tiny_generator, write, error, words):
    path = written(tmp_path, write)
    with pytest.raises(error, match=words) as found:
        read_latents(path, tiny_generator)
    assert str(path) in str(found.value)


def test_a_network_is_no_face(tmp_path, tiny_generator):
    save_generator(tiny_generator, tmp_path / "network.safetensors")
    with pytest.raises(CheckpointError, match="no latents"):
        read_latents(tmp_path / "network.safetensors", tiny_generator)


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return exec, (f"open({str(self.path)!r}, 'w')",)


@pytest.mark.parametrize("write", [npy, pt], ids=["npy", "pt"])
def test_nothing_is_run(tmp_path, tiny_generator, write):
    folder = tmp_path / "files"
    folder.mkdir()
    path = written(folder, write({"me.png": [WS[0], Harmful(tmp_path / "ran")]}))
    with pytest.raises(CheckpointError, match=r"asks to import \w+.exec.*Nothing was run"):
        read_latents(path, tiny_generator)
    assert not (tmp_path / "ran").exists()


def test_photos_are_no_latents(tmp_path):
    (tmp_path / "me.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert latent_kind(tmp_path / "me.png") is None
    assert latent_kind(tmp_path / "nowhere.pt") is None

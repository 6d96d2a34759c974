import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from inversion.inversion import Inversion
from relatent.core.errors import CheckpointError, ShapeError, UsageError
from relatent.core.images import to_pixels
from stylegan import load, network_id, save_generator
from stylegan.formats.checkpoint import read_safetensors, write_safetensors

ROOT = Path(__file__).parents[2]


@pytest.fixture
def inversion(tiny_generator):
    torch.manual_seed(1)
    ws = torch.randn(1, tiny_generator.num_ws, tiny_generator.w_dim)
    noise = tuple(torch.randn_like(level) for level in tiny_generator.synthesis.noise_buffers)
    return Inversion(
        ws=ws,
        noise=noise,
        network=network_id(tiny_generator),
        face_to_photo=np.array([[1.5, 0.25, 1e4 + 1 / 3], [-0.25, 1.5, 7], [0, 0, 1]]),
        losses={"total": 0.5},
        seed=9,
        photo="me.jpg",
    )


def test_round_trip_keeps_everything(inversion, tmp_path):
    inversion.save(tmp_path / "inversion.safetensors")
    again = Inversion.load(tmp_path)
    assert torch.equal(again.ws, inversion.ws)
    assert all(torch.equal(a, b) for a, b in zip(again.noise, inversion.noise, strict=True))
    np.testing.assert_array_equal(again.face_to_photo, inversion.face_to_photo)
    for name in ("space", "network", "losses", "seed", "photo"):
        assert getattr(again, name) == getattr(inversion, name)


def test_a_notebook_shows_the_picture(inversion, tiny_generator, monkeypatch):
    monkeypatch.setattr(Inversion, "open_network", lambda self: tiny_generator)
    with Image.open(io.BytesIO(inversion._repr_png_())) as shown:
        assert np.array_equal(np.array(shown), np.array(inversion.image(tiny_generator)))


def test_round_trip_of_an_edit(inversion, tmp_path, tiny_generator):
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., :16, :] = 1
    edited = inversion.replace(ws=inversion.ws + 1, origin=inversion.ws, mask=mask, edits={"smile": 2.0})
    edited.save(tmp_path / "edited.safetensors")
    again = Inversion.load(tmp_path / "edited.safetensors")
    assert again.edits == {"smile": 2.0}
    assert torch.equal(again.origin, inversion.ws)
    assert torch.equal(again.mask, mask)
    drawn, before = again.tensor(tiny_generator), again.unedited().tensor(tiny_generator)
    assert torch.equal(before, inversion.tensor(tiny_generator))
    assert torch.equal(drawn[..., 16:, :], before[..., 16:, :])
    whole = edited.replace(mask=None).tensor(tiny_generator)
    torch.testing.assert_close(drawn[..., :16, :], whole[..., :16, :])
    assert (drawn - before).abs().max() > 0.01
    assert inversion.unedited().edits == {}
    assert torch.equal(inversion.unedited().ws, inversion.ws)


def test_the_photo_s_face_travels_along(inversion, tmp_path):
    path = tmp_path / "inversion.safetensors"
    inversion.replace(crop=b"any bytes").save(path)
    assert Inversion.load(path).crop == b"any bytes"
    assert Inversion.load(path).unedited().crop == b"any bytes"
    assert "any bytes" not in repr(Inversion.load(path))
    inversion.save(path)
    assert Inversion.load(path).crop is None
    tensors, metadata = read_safetensors(path)
    save_file({**tensors, "crop": torch.zeros(2, 2)}, path, metadata=metadata)
    with pytest.raises(CheckpointError, match="its crop is"):
        Inversion.load(path)


def test_files_from_before_there_were_edits(inversion, tmp_path):
    inversion.save(tmp_path / "inversion.safetensors")
    tensors, metadata = read_safetensors(tmp_path / "inversion.safetensors")
    del metadata["edits"]
    save_file(tensors, tmp_path / "inversion.safetensors", metadata=metadata)
    again = Inversion.load(tmp_path)
    assert again.edits == {}
    assert again.origin is again.mask is None


def test_the_same_picture_in_another_process(inversion, tiny_generator, tmp_path):
    save_generator(tiny_generator, tmp_path / "tiny.safetensors")
    network = load(tmp_path / "tiny.safetensors")
    inversion = inversion.replace(network_file=str(tmp_path / "tiny.safetensors"))
    inversion.save(tmp_path / "inversion.safetensors")
    code = (
        "import sys, numpy as np; from inversion.inversion import Inversion\n"
        "np.save(sys.argv[2], np.asarray(Inversion.load(sys.argv[1]).image()))"
    )
    subprocess.run(
        [sys.executable, "-c", code, tmp_path / "inversion.safetensors", tmp_path / "drawn.npy"],
        check=True,
        cwd=ROOT,
        timeout=120,
    )
    np.testing.assert_array_equal(np.load(tmp_path / "drawn.npy"), to_pixels(inversion.tensor(network))[0])


def test_noise_is_part_of_the_picture(inversion, tiny_generator):
    without = inversion.replace(noise=None)
    assert (inversion.tensor(tiny_generator) - without.tensor(tiny_generator)).abs().max() > 0.01


def test_a_foreign_network_is_refused(inversion, tiny_generator, tmp_path):
    with torch.no_grad():
        tiny_generator.synthesis.blocks["4"].const += 1
    tiny_generator._network_id = None
    with pytest.raises(UsageError, match="belongs to the network tiny@"):
        inversion.tensor(tiny_generator)


def test_shapes_and_space_are_checked(inversion):
    with pytest.raises(ShapeError, match=r"expected \[1, L, w_dim\]"):
        inversion.replace(ws=torch.zeros(2, 3, 4))
    with pytest.raises(ShapeError, match="origin has shape"):
        inversion.replace(origin=torch.zeros(1, 3, 4))
    with pytest.raises(ShapeError, match="mask has shape"):
        inversion.replace(mask=torch.zeros(32, 32))
    with pytest.raises(UsageError, match="space"):
        inversion.replace(space="s")


def test_damaged_files(inversion, tmp_path, tiny_generator):
    path = tmp_path / "inversion.safetensors"
    with pytest.raises(CheckpointError, match="does not exist"):
        Inversion.load(tmp_path)
    inversion.save(path)
    data = path.read_bytes()
    for size in (0, 7, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(CheckpointError):
            Inversion.load(path)
    path.write_text("not a latent")
    with pytest.raises(CheckpointError):
        Inversion.load(path)
    save_generator(tiny_generator, path)
    with pytest.raises(CheckpointError, match="not an inversion"):
        Inversion.load(path)
    inversion.save(path)
    tensors, metadata = read_safetensors(path)
    write_safetensors(path, {**tensors, "ws": tensors["ws"] * float("nan")}, metadata)
    with pytest.raises(CheckpointError, match="not finite"):
        Inversion.load(path)

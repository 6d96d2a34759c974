import numpy as np
import pytest
import torch

from editing.seeds import seed_inversion
from relatent.core.errors import CheckpointError, RelatentError, ShapeError, UsageError
from relatent.web.actions.latent_files import open_latent, open_latents
from relatent.web.errors import in_page_words
from stylegan import network_id


@pytest.fixture
def network(tiny_generator):
    tiny_generator.file = "tiny.safetensors"
    return tiny_generator


@pytest.fixture
def face(network):
    rng = torch.Generator().manual_seed(5)
    noise = tuple(torch.randn(level.shape, generator=rng) for level in network.synthesis.noise_buffers)
    return seed_inversion(network, 7).replace(photo="me.jpg", noise=noise)


@pytest.fixture
def saved(tmp_path):
    def save(inversion):
        inversion.save(tmp_path / "x.safetensors")
        return tmp_path / "x.safetensors"

    return save


@pytest.fixture
def packed(tmp_path):
    def save(**arrays):
        np.savez(tmp_path / "x.npz", **arrays)
        return tmp_path / "x.npz"

    return save


def test_a_whole_inversion_draws_the_same_face(saved, face, network):
    found = open_latent(saved(face), network)
    assert torch.equal(found.tensor(network), face.tensor(network))
    assert found.photo == "me.jpg"


def test_no_path_of_another_machine_is_kept(saved, face, network):
    found = open_latent(saved(face.replace(network_file="/etc/passwd", photo="../../secret/me.jpg")), network)
    assert found.network_file == "tiny.safetensors"
    assert found.photo == "me.jpg"


@pytest.mark.parametrize("shape", [(1, 8, 24), (8, 24)])
def test_npz_in_every_layer(packed, network, shape):
    ws = np.random.default_rng(0).normal(size=(1, 8, 24)).astype(np.float32)
    found = open_latent(packed(w=ws.reshape(shape)), network)
    np.testing.assert_array_equal(found.ws.numpy(), ws)
    assert (found.space, found.network, found.photo) == ("w+", network_id(network), "x.npz")


@pytest.mark.parametrize("shape", [(24,), (1, 24), (1, 1, 24)])
def test_npz_of_one_w(packed, network, shape):
    w = np.arange(24, dtype=np.float32) / 24
    found = open_latent(packed(w=w.reshape(shape)), network)
    np.testing.assert_array_equal(found.ws.numpy(), np.tile(w, (1, 8, 1)))
    assert found.space == "w"


def test_another_network_is_refused_in_words(saved, face, network):
    with pytest.raises(UsageError, match="belongs to the network other@0000"):
        open_latent(saved(face.replace(network="other@0000")), network)


def test_several_faces_in_one_file(packed, network):
    ws = np.random.default_rng(0).normal(size=(2, 8, 24)).astype(np.float32)
    found = open_latents(packed(w=ws), network)
    assert [one.photo for one in found] == ["x-0", "x-1"]
    np.testing.assert_array_equal(torch.cat([one.ws for one in found]).numpy(), ws)
    with pytest.raises(UsageError, match=r"^x\.npz holds 2 faces, x-0, x-1; expected one"):
        open_latent(packed(w=ws), network)


def test_latents_of_other_tools(tmp_path, network):
    ws = torch.randn(1, 8, 24, generator=torch.Generator().manual_seed(0))
    torch.save(ws, tmp_path / "0.pt")
    np.save(tmp_path / "latents.npy", {"me.jpg": [np.zeros((8, 24), np.float32), ws[0].numpy()]})
    for name, photo in (("0.pt", "0.pt"), ("latents.npy", "me.jpg")):
        found = open_latent(tmp_path / name, network)
        assert torch.equal(found.ws, ws)
        assert found.photo == photo


@pytest.mark.parametrize("shape", [(1, 18, 512), (2, 3, 8, 24), (512,), (8,)])
def test_other_sizes_are_refused_in_words(packed, network, shape):
    with pytest.raises(ShapeError, match=r"^w in x\.npz has shape .* this network reads \[1, 8, 24\]"):
        open_latent(packed(w=np.zeros(shape, np.float32)), network)


def test_a_visitor_is_told_what_can_be_done_on_the_page(packed, network):
    with pytest.raises(ShapeError) as caught:
        open_latent(packed(w=np.zeros((1, 18, 512), np.float32)), network)
    words = in_page_words(caught.value)
    assert "another network. Or choose the photo itself on the Photo tab" in words
    assert "--" not in words


def test_arrays_of_other_names_are_refused_in_words(packed, network):
    with pytest.raises(CheckpointError, match=r"^x\.npz has no array called 'w'"):
        open_latent(packed(latent=np.zeros((1, 8, 24))), network)


def test_objects_are_not_unpickled(packed, network):
    with pytest.raises(CheckpointError, match="never loaded"):
        open_latent(packed(w=np.array([{"a": 1}], dtype=object)), network)


def test_numbers_that_are_none_are_refused(packed, network):
    with pytest.raises(CheckpointError, match="not finite"):
        open_latent(packed(w=np.full((1, 8, 24), np.nan)), network)
    with pytest.raises(CheckpointError, match="draws nothing of the latent"):
        open_latent(packed(w=np.full((1, 8, 24), 3e38)), network)


@pytest.mark.parametrize(
    "change",
    [
        {"noise": (torch.zeros(1, 1, 4, 4),)},
        {"mask": torch.ones(1, 1, 8, 8)},
        {"tuned": {"nothing.weight": (torch.zeros(2, 1), torch.zeros(1, 2))}},
        {"tuned": {"synthesis.layers.0.weight": (torch.zeros(2, 1), torch.zeros(1, 2))}},
        {"ws": torch.zeros(1, 3, 24), "origin": None},
    ],
)
def test_damaged_inversions_are_refused_in_words(saved, face, network, change):
    with pytest.raises(RelatentError) as error:
        open_latent(saved(face.replace(**change)), network)
    assert "/" not in str(error.value)


@pytest.mark.parametrize("name", ["x.npz", "x.safetensors", "x.pt", "x.png"])
def test_files_of_other_kinds_are_refused_in_words(tmp_path, network, name):
    (tmp_path / name).write_bytes(b"hello")
    with pytest.raises(RelatentError, match=rf"^{name} is "):
        open_latent(tmp_path / name, network)


def test_a_photo_given_as_a_latent_is_shown_the_way(network, tmp_path):
    (tmp_path / "me.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UsageError, match=r"^me\.jpg is no latent; .* A photo is inverted first: .*/invert\.$"):
        open_latent(tmp_path / "me.jpg", network)

import numpy as np
import pytest
import torch
from PIL import Image

from inversion import Inversion, InvertConfig, invert, invert_images, invert_photo, inverting, pipeline
from inversion.pipeline import Pipeline, open_network
from inversion.project import demo_photo
from relatent.core.errors import Cancelled, FaceNotFoundError, ShapeError, UnreadablePhotoError, UsageError
from relatent.core.images import Photo, read_photo
from relatent.face.crop import cut_crop, unpack_crop
from stylegan import load, network_id


def test_every_kind_of_photo_gives_the_same(tiny_file, few_steps):
    photo = read_photo(demo_photo())
    kinds = [demo_photo(), str(demo_photo()), photo, photo.pixels, Image.fromarray(photo.pixels)]
    network = load(tiny_file)
    results = [invert(kind, network=network) for kind in kinds]
    assert all(isinstance(result, Inversion) for result in results)
    for result in results[1:]:
        assert torch.equal(result.ws, results[0].ws)
    assert results[0].photo == "astronaut.png"
    assert results[0].network == network_id(network)
    assert results[0].image().size == (32, 32)


def test_the_photo_s_face_is_kept_unless_it_must_not_be(tiny_file, few_steps):
    network, photo = load(tiny_file), read_photo(demo_photo())
    kept = invert(photo, network=network)
    crop = unpack_crop(kept.crop)
    side = 32 * np.hypot(*kept.face_to_photo[:2, 0])
    assert len(crop) - 64 < side <= len(crop)
    shown = cut_crop(photo.pixels, kept.face_to_photo, 32, len(crop))
    assert np.abs(crop.astype(int) - shown).mean() < 4
    assert invert(photo, network=network, keep_photo=False).crop is None
    square = invert(photo.pixels[:200, :200], network=network, align=False)
    assert unpack_crop(square.crop).shape == (256, 256, 3)  # 200 px, rounded up


def test_lists_and_folders_give_lists(tiny_file, few_steps, tmp_path):
    Image.open(demo_photo()).save(tmp_path / "a.png")
    network = load(tiny_file)
    assert len(invert([demo_photo(), tmp_path / "a.png"], network=network)) == 2
    (found,) = invert([tmp_path / "a.png"], network=str(tiny_file))
    assert found.network_file == str(tiny_file)
    folder = tmp_path / "folder"
    folder.mkdir()
    Image.open(demo_photo()).save(folder / "a.png")
    assert [one.photo for one in invert(folder, network=network)] == ["a.png"]


def test_what_cannot_be_inverted(tiny_file, few_steps):
    network = load(tiny_file)
    with pytest.raises(FaceNotFoundError, match="no face"):
        invert(np.full((200, 200, 3), 128, np.uint8), network=network)
    with pytest.raises(UsageError, match="expected a path"):
        invert(np.zeros((200, 200), np.uint8), network=network)
    with pytest.raises(ShapeError, match=r"expected float \[N, 3, 32, 32\]"):
        invert_images(torch.zeros(1, 3, 64, 64), network)
    with pytest.raises(UsageError, match="space"):
        invert_images(torch.zeros(1, 3, 32, 32), network, space="z")
    with pytest.raises(UsageError, match="num_steps"):
        invert_images(torch.zeros(1, 3, 32, 32), network, num_steps=0)


def test_the_door_passes_progress_through(tiny_file, few_steps):
    network = load(tiny_file)
    steps = []
    invert(demo_photo(), network=network, progress=lambda step: steps.append(step.index))
    assert steps == [1, 2, 3, 4]
    with pytest.raises(Cancelled):
        invert(demo_photo(), network=network, progress=lambda step: False)


def test_weights_lie_as_processors_want_them(tiny_file):
    network = open_network(tiny_file, "cpu")
    assert all(layer.weight.is_contiguous(memory_format=torch.channels_last) for layer in network.synthesis.layers)
    assert network_id(network) == network_id(load(tiny_file))


def test_precision_is_a_switch(tiny_file, few_steps):
    network = load(tiny_file)
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    plain, named, coarse = (
        invert_images(images, network, preset="best", **options)[0]
        for options in ({}, {"precision": "float32"}, {"precision": "bfloat16"})
    )
    assert torch.equal(plain.ws, named.ws)
    assert not torch.equal(plain.ws, coarse.ws)
    assert coarse.ws.dtype == torch.float32
    torch.testing.assert_close(coarse.ws, plain.ws, rtol=0, atol=0.5)
    with pytest.raises(UsageError, match="Ampere"):
        invert_images(images, network, precision="tf32", device="cpu")
    with pytest.raises(UsageError, match="unknown precision"):
        invert_images(images, network, precision="half")


def test_a_generator_that_is_passed_in_stays_as_it_was(tiny_file, few_steps):
    network = load(tiny_file).train().requires_grad_(True)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    strides = [layer.weight.stride() for layer in network.synthesis.layers]
    invert(demo_photo(), network=network, preset="best")
    assert network.training
    assert all(one.requires_grad and one.grad is None for one in network.parameters())
    assert [layer.weight.stride() for layer in network.synthesis.layers] == strides
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


def test_one_bad_photo_does_not_stop_the_others(tiny_file, few_steps, folder):
    for name in "abc":
        Image.open(demo_photo()).save(folder / f"{name}.png")
    (folder / "b.png").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match=r"left out: .*b\.png"):
        found = invert(folder, network=str(tiny_file))
    assert [one.photo for one in found] == ["a.png", "c.png"]
    with pytest.raises(UnreadablePhotoError), pytest.warns(UserWarning, match="left out"):
        invert([folder / "b.png"], network=str(tiny_file))
    assert invert([], network=str(tiny_file)) == []


def test_what_a_folder_has_beside_photos_is_named(tiny_file, few_steps, folder):
    Image.open(demo_photo()).save(folder / "me.png")
    (folder / "notes.txt").write_text("mine")
    with pytest.warns(UserWarning, match=r"^1 file is no picture and was passed over: .*notes\.txt\.$"):
        first = invert(folder, network=str(tiny_file))
    first[0].image().save(folder / "drawn.png")
    with pytest.warns(UserWarning, match=r"left out what Relatent made before: .*drawn\.png"):
        again = invert(folder, network=str(tiny_file))
    assert [one.photo for one in again] == ["me.png"]


def test_many_photos_are_read_one_batch_at_a_time(tiny_file, few_steps, monkeypatch):
    """Constant memory: no photo is read before the batch ahead of it is done."""
    events = []
    original = inverting.open_photo
    monkeypatch.setattr(inverting, "open_photo", lambda photo: events.append("read") or original(photo))
    run = pipeline.Pipeline.invert
    monkeypatch.setattr("inversion.inverting.batch_size_for", lambda _: 4)

    def invert_batch(self, faces, progress=None):
        events.append(len(faces))
        return run(self, faces, progress)

    monkeypatch.setattr(pipeline.Pipeline, "invert", invert_batch)
    assert len(invert([demo_photo()] * 6, network=str(tiny_file))) == 6
    assert events == ["read"] * 4 + [4] + ["read"] * 2 + [2]


def test_every_wanted_face(tiny_file, few_steps):
    pixels = read_photo(demo_photo()).pixels
    two = np.concatenate([pixels, pixels[:, ::-1]], axis=1)
    found = invert_photo(two, load(tiny_file), InvertConfig(face="all"))
    assert len(found) == 2
    assert len(invert(two, network=str(tiny_file), face="all")) == 2
    assert not np.allclose(found[0].face_to_photo, found[1].face_to_photo)


def test_measures_come_with_the_inversion(tiny_file, few_steps, tmp_path):
    (found,) = invert_photo(demo_photo(), str(tiny_file))
    assert {"lpips", "psnr", "ms_ssim"} <= found.metrics.keys()
    assert 0 < found.metrics["psnr"] < 60
    found.save(tmp_path / "a.safetensors")
    assert Inversion.load(tmp_path / "a.safetensors").metrics == found.metrics


def check_company(faces, lines):
    both, alone = lines.invert(faces, fill=3), lines.invert(faces[1:], fill=3)
    assert (len(both), len(alone)) == (2, 1)
    assert torch.equal(alone[0].inversion.ws, both[1].inversion.ws)
    assert torch.equal(alone[0].drawn, both[1].drawn)
    assert alone[0].inversion.losses == both[1].inversion.losses


def two_faces(lines):
    photo = read_photo(demo_photo()).pixels
    return [lines.prepare(Photo(np.roll(photo, shift, axis=1), "a.png"))[0] for shift in (0, 20)]


@pytest.mark.parametrize("mask", [None, "auto"])
@pytest.mark.parametrize("preset", ["balanced", "best"])
def test_company_makes_no_difference_where_batches_are_filled(tiny_file, few_steps, preset, mask):
    """Bit by bit; without it, rounding depends on how many photos there are, and the steps amplify it."""
    lines = Pipeline(str(tiny_file), InvertConfig(preset=preset, mask=mask))
    check_company(two_faces(lines), lines)


def test_company_makes_no_difference_to_the_embedded_network():
    lines = Pipeline(None, InvertConfig(preset="fast"))
    check_company(two_faces(lines), lines)

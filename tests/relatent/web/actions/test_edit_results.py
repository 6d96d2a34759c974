"""What the Edit tab shows, and what can be taken home."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import IFD, Base

from editing import paste_back
from editing.photo_faces import at_photo
from inversion import Inversion
from relatent.core.errors import UsageError
from relatent.core.images import read_photo, to_pixels
from relatent.face.crop import pack_crop, unpack_crop
from relatent.web.actions.download import command_lines, python_lines, write_download
from relatent.web.actions.edit import Change
from relatent.web.actions.results import changed, drawing, in_photo, shown, sweep, write_screen_copy


def test_an_unchanged_face_leaves_the_photo_alone(app, face):
    _, one = face()
    found = shown(app, one)
    assert np.array_equal(found.face, to_pixels(one.inversion.tensor(app.network))[0])
    assert np.array_equal(found.photo, np.array(Image.open(one.photo.with_name("screen.jpg"))))
    assert np.array_equal(np.asarray(in_photo(app, one, one.inversion)), np.array(Image.open(one.photo)))


@pytest.mark.parametrize("move", [2.0, -1.0])
def test_the_screen_shows_what_paste_back_does(app, face, move):
    _, one = face()
    one.history.add(Change({"smile": move}))
    photo = shown(app, one).photo
    small = Image.open(one.photo.with_name("screen.jpg"))  # of this photo's own size: it is smaller than a screen
    edited = one.history.now.apply(one.inversion, app.network, app.directions)
    assert np.array_equal(photo, np.asarray(paste_back(edited, small, network=app.network)))
    assert (photo != np.array(small)).any()


@pytest.fixture
def kept(face):
    """A face of 48 px whose pixels are kept with its latent: nothing is looked up in the photo."""

    def make(**more):
        session, one = face(**more)
        photo = np.random.default_rng(0).integers(60, 200, (100, 120, 3), dtype=np.uint8)
        inversion = one.inversion.replace(crop=pack_crop(photo, one.inversion.face_to_photo, 32))
        return session, session.keep(inversion, one.aligned, one.stem, photo=one.photo, factor=one.factor)

    return make


def test_the_face_shows_at_the_photo_s_resolution(app, kept):
    session, one = kept()
    crop = unpack_crop(one.inversion.crop)
    assert np.array_equal(shown(app, one).face, crop)  # 48 px, rounded up to 64
    assert crop.shape == (64, 64, 3)
    one.history.add(Change({"smile": 2}))
    found, edited = shown(app, one), changed(app, one)
    assert np.array_equal(found.face, np.asarray(at_photo(edited, app.network)))
    assert (found.face != crop).any()
    assert found.photo.shape == (100, 120, 3)
    with Image.open(write_download(app, session, one, "face-png").path) as opened:
        assert np.array_equal(np.array(opened), found.face)
    with Image.open(write_download(app, session, one, "drawn-png").path) as opened:
        assert np.array_equal(np.array(opened), drawing(app, edited))
    assert sweep(app, one, "smile", [-1, 0, 1]).size == (3 * 64, 64)


def test_a_latent_brings_its_face_along(app, kept):
    """On another day, without the photo."""
    _, one = kept(photo=None)
    one.history.add(Change({"smile": 2}))
    for blend in ("warp", "difference", "replace"):
        found = shown(app, one, blend)
        assert found.photo is None
        assert found.face.shape == (64, 64, 3)


def test_a_face_without_a_photo_shows_alone(app, face):
    session, one = face(photo=None)
    one.history.add(Change({"smile": 1}))
    assert shown(app, one).photo is None
    with pytest.raises(UsageError, match="no photo to go back into"):
        write_download(app, session, one, "photo-png")


def test_downloads_hold_what_is_shown(app, face):
    session, one = face()
    one.history.add(Change({"smile": 2}))
    edited = one.history.now.apply(one.inversion, app.network, app.directions)
    files = {kind: write_download(app, session, one, kind).path for kind in ("photo-png", "photo-jpeg", "face-png")}
    whole = np.asarray(paste_back(edited, one.photo, network=app.network))
    with Image.open(files["photo-png"]) as opened:
        assert np.array_equal(np.array(opened), whole)
        assert "smile +2" in opened.info["Software"]
    with Image.open(files["photo-jpeg"]) as opened:
        assert opened.format == "JPEG"
        assert b"compositeWithTrainedAlgorithmicMedia" in files["photo-jpeg"].read_bytes()
    with Image.open(files["face-png"]) as opened:
        assert np.array_equal(np.array(opened), to_pixels(edited.tensor(app.network))[0])
    assert np.array_equal(np.load(write_download(app, session, one, "latent").path)["w"], edited.ws.numpy())
    saved = Inversion.load(write_download(app, session, one, "inversion").path)
    assert saved.edits == {"smile": 2}
    assert np.array_equal(saved.face_to_photo, edited.face_to_photo)
    assert all(path.is_relative_to(session.folder) for path in files.values())


def test_random_directions_can_be_taken_home(app, face):
    session, one = face()
    with pytest.raises(UsageError, match="no random direction"):
        write_download(app, session, one, "direction")
    one.history.add(Change({"random_7": 0.5}))
    assert write_download(app, session, one, "direction").path.name == "random_7.safetensors"
    assert "--set random_7.safetensors=0.5" in command_lines(app, one)


def test_the_command_and_python_lines_say_everything(app, face):
    _, one = face(facts={"face": 2, "num_steps": 50, "space": "w"})
    one.history.add(Change({"smile": 2, "random_7": 0.5}, (0, 3), 0.8))
    shell = command_lines(app, one, "replace")
    assert shell.splitlines() == [
        "python -m inversion.project me.png --preset balanced --seed 1 --num-steps 50 --space w --face 2",
        "python -m editing edit out/me-face2 --set smile=2 --set random_7.safetensors=0.5 --layers 0-3 "
        "--truncation 0.8 --blend replace",
    ]
    python = python_lines(app, one, "replace")
    compile(python, "lines", "exec")
    assert "invert('me.png', preset='balanced', seed=1, num_steps=50, space='w', face=2)" in python
    assert "edit(me, {'smile': 2.0, 'random_7.safetensors': 0.5}, layers='0-3', truncation=0.8)" in python


def test_a_sweep_has_a_picture_for_each_strength(app, face):
    _, one = face()
    strip = sweep(app, one, "smile", [-1, 0, 1])
    assert strip.size == (96, 32)
    middle = np.asarray(strip)[:, 32:64]
    assert np.array_equal(middle, to_pixels(one.inversion.tensor(app.network))[0])
    assert "sweep smile -1 to 1" in strip.software


def test_the_photo_shows_the_edits_of_all_its_faces(app, face):
    session, one = face()
    matrix = np.array([[0.8, 0, 5], [0, 0.8, 5], [0, 0, 1]])
    other = session.keep(
        one.inversion.replace(face_to_photo=matrix), one.aligned, "other", photo=one.photo, factor=one.factor
    )
    one.history.add(Change({"smile": 2}))
    assert session.beside(one) == []  # the other one has no edit
    alone = shown(app, one).photo
    other.history.add(Change({"smile": -2}))
    assert session.beside(one) == [other]
    both = shown(app, one, others=session.beside(one), face=False).photo
    assert (both != alone).any()
    assert np.array_equal(both[60:, 60:], alone[60:, 60:])  # away from the other face
    whole = np.asarray(in_photo(app, one, changed(app, one), others=[other]))
    assert write_download(app, session, one, "photo").note == ""  # it did not say where it was taken
    with Image.open(write_download(app, session, one, "photo").path) as opened:
        assert np.array_equal(np.array(opened), whole)
    assert (whole != np.asarray(in_photo(app, one, changed(app, one)))).any()


def test_a_photo_comes_back_in_its_own_format_and_without_its_place(app, face):
    session, one = face()
    exif = Image.Exif()
    exif.get_ifd(IFD.GPSInfo).update({1: "N", 2: (48.0, 8.0, 0.0)})
    exif[Base.Model] = "a camera"
    path = session.new_file("me.jpg")
    with Image.open(one.photo) as opened:
        opened.save(path, exif=exif)
    write_screen_copy(read_photo(path), path)
    kept = session.keep(one.inversion, one.aligned, "me", photo=path, factor=1.0)
    for location in (False, True):
        file, note = write_download(app, session, kept, "photo", location=location)
        assert ("(GPS) was left out" in note) != location
        with Image.open(file) as opened:
            assert opened.format == "JPEG"
            assert bool(opened.getexif().get_ifd(IFD.GPSInfo)) == location
            assert opened.getexif()[Base.Model] == "a camera"

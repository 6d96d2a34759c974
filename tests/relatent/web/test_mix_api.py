import numpy as np
import pytest
import torch
from PIL import Image

from editing.mixing import mix
from editing.seeds import seed_inversion
from inversion import Inversion
from relatent.core.errors import UsageError
from relatent.web.api.mix import one_each

gr = pytest.importorskip("gradio")


@pytest.fixture
def call(whole_page, session):
    (found,) = [one for one in whole_page.blocks.fns.values() if one.api_name == "mix"]
    assert found.api_visibility == "public"
    return lambda *values: found.fn(session, *values)


@pytest.fixture
def faces(whole_page, tmp_path):
    """Files of three faces, and the faces."""
    found = [seed_inversion(whole_page.app.network, seed) for seed in (1, 2, 3)]
    for number, face in enumerate(found):
        face.save(tmp_path / f"face{number}.safetensors")
    return [str(tmp_path / f"face{number}.safetensors") for number in range(3)], found


def test_mixes_as_the_function_does(call, faces, session, whole_page):
    paths, (first, second, third) = faces
    face, photo, inversion, latent = call(paths, ["coarse", "7-9"], [1.0, 0.5], None)
    expected = mix(first, [second, third], ["coarse", "7-9"], [1.0, 0.5])
    assert photo is None
    assert torch.equal(Inversion.load(inversion).ws, expected.ws)
    with np.load(latent) as opened:
        np.testing.assert_array_equal(opened["w"], expected.ws.numpy())
    with Image.open(face) as opened:
        np.testing.assert_array_equal(np.array(opened), np.array(expected.image(whole_page.app.network)))
    assert str(session.folder) in face


def test_the_photo_comes_back_with_the_face_in_it(call, faces, whole_page, tmp_path):
    paths, (first, *_) = faces
    scale = 96 / whole_page.app.network.resolution  # so that the face covers 96 px
    place = np.array([[scale, 0, 40], [0, scale, 30], [0, 0, 1]])
    first.replace(face_to_photo=place).save(paths[0])
    picture = Image.new("RGB", (200, 180), "grey")
    picture.paste("blue", (0, 140, 200, 180))  # below the face, and unlike skin, over which changes of colour run out
    picture.save(tmp_path / "me.png")
    _, photo, _, _ = call(paths[:2], ["coarse"], [1.0], str(tmp_path / "me.png"))
    with Image.open(photo) as opened:
        pixels = np.array(opened.convert("RGB"))
    assert pixels.shape == (180, 200, 3)
    assert (pixels[30:126, 40:136] != 128).any()
    assert (pixels[144:] == (0, 0, 255)).all()


def test_mistakes_are_told_in_words(call, faces, tmp_path):
    paths, _ = faces
    with pytest.raises(gr.Error, match="1 faces came"):
        call(paths[:1], ["coarse"], [1.0], None)
    with pytest.raises(gr.Error, match="unknown layers 'corse'"):
        call(paths[:2], ["corse"], [1.0], None)
    np.savez(tmp_path / "other.npz", w=np.zeros((1, 18, 512), np.float32))
    with pytest.raises(gr.Error, match=r"other\.npz has shape"):
        call([paths[0], str(tmp_path / "other.npz")], ["coarse"], [1.0], None)


def test_one_for_all_or_one_for_each():
    assert one_each("coarse", 2, str) == ["coarse", "coarse"]
    assert one_each([0.5], 3, float, int) == [0.5] * 3
    assert one_each([1, 0.5], 2, float, int) == [1, 0.5]
    for wrong in ([1, 2, 3], ["a", 1], True, {"a": 1}, []):
        with pytest.raises(UsageError, match="came for 2 further faces"):
            one_each(wrong, 2, float, int)

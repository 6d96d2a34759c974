import numpy as np
import pytest

from inversion.project import demo_photo
from relatent.core.alignment import Alignment
from relatent.core.errors import ShapeError, UnknownNameError
from relatent.core.images import read_photo
from relatent.face import align_face, find_faces
from relatent.face.regions import REGIONS, drawn_landmarks, edit_mask, region_mask

SIZE = 96


@pytest.fixture(scope="module")
def astronaut():
    photo = read_photo(demo_photo()).pixels[:300, 80:380]
    (face, *_) = find_faces(photo, tilted=False)
    return align_face(photo, face.landmarks, Alignment(), SIZE)  # a whole head, FFHQ's crop


@pytest.fixture(scope="module")
def landmarks(astronaut):
    return drawn_landmarks(astronaut.image, Alignment())


def test_masks_cover_what_they_are_called(landmarks):
    masks = {name: region_mask([name], landmarks, SIZE) for name in REGIONS}
    for name, mask in masks.items():
        assert mask.dtype == np.float32, name
        assert mask.shape == (SIZE, SIZE)
        assert 0 <= mask.min() <= 0.02
        assert 0.9 < mask.max() <= 1.001
    for name, points in (
        ("mouth", slice(48, 68)),
        ("eyes", slice(36, 48)),
        ("brows", slice(17, 27)),
        ("nose", slice(27, 36)),
    ):
        at = landmarks[points].round().astype(int)
        assert masks[name][at[:, 1], at[:, 0]].min() > 0.3, name
        rest = landmarks[8].round().astype(int)  # the chin
        assert masks[name][rest[1], rest[0]] < 0.05
        assert masks["face"][masks[name] > 0.8].min() > 0.5
    overlap = (masks["background"] * np.maximum(masks["face"], masks["hair"])).max()
    assert overlap < 0.6  # soft edges alone
    assert masks["background"][0, 0] > 0.95
    assert masks["hair"][int(landmarks[:, 1].min() - 12), SIZE // 2] > 0.8


def test_a_turned_face_has_turned_regions(landmarks):
    upside_down = SIZE - 1 - landmarks
    for name in REGIONS:
        straight, turned = region_mask([name], landmarks, SIZE), region_mask([name], upside_down, SIZE)
        assert np.abs(turned[::-1, ::-1] - straight).mean() < 0.01, name


def test_names_are_joined(landmarks):
    both = region_mask(["mouth", "eyes"], landmarks, SIZE)
    alone = [region_mask([name], landmarks, SIZE) for name in ("mouth", "eyes")]
    np.testing.assert_allclose(both, np.maximum(*alone), atol=0.02)
    assert not region_mask([], landmarks, SIZE).any()


def test_only_and_keep(landmarks):
    moved = landmarks + np.array([0, 10])
    everywhere = edit_mask([], [], [landmarks], SIZE)
    np.testing.assert_array_equal(everywhere, 1)
    only = edit_mask(["mouth"], [], [landmarks, moved], SIZE)
    for points in (landmarks, moved):
        np.testing.assert_array_less(region_mask(["mouth"], points, SIZE) - 1e-6, only + 1e-5)
    keep = edit_mask([], ["mouth"], [landmarks, moved], SIZE)
    np.testing.assert_allclose(keep, 1 - only, atol=1e-6)
    assert edit_mask(["mouth"], ["mouth"], [landmarks], SIZE).max() <= 0.25


def test_where_no_face_is_seen_one_is_assumed():
    grey = np.full((64, 64, 3), 128, np.uint8)
    points = drawn_landmarks(grey, Alignment())
    assert points.shape == (68, 2)
    assert 0 < points.min() < points.max() < 64


def test_what_is_refused(landmarks):
    with pytest.raises(UnknownNameError, match="did you mean mouth"):
        region_mask(["mouht"], landmarks, SIZE)
    with pytest.raises(ShapeError, match="68"):
        region_mask(["mouth"], landmarks[:5], SIZE)

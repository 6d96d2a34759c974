"""Distances between faces: the same person near, other people far, and never a crash."""

import zipfile
from functools import cache
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

from relatent.core.alignment import Alignment
from relatent.core.errors import ShapeError
from relatent.face import align_face, describe, find_faces, identity, identity_distance
from relatent.face.identity import aligned_box
from relatent.face.landmarks import predict_landmarks

SHARED_FACES = Path(__file__).parents[3].parent / "shared" / "faces" / "fairface-128.zip"
SMALL = Alignment(0.62, 0.08)


@cache
def astronaut(size=128):
    photo = skimage.data.astronaut()
    return align_face(photo, find_faces(photo)[0].landmarks, SMALL, size)


def faceless(size=64):
    return np.full((size, size, 3), 128, np.uint8)


def test_equal_pictures_have_distance_zero():
    assert identity_distance(astronaut().image, astronaut().image.copy()) == 0


def test_the_same_face_smaller_and_brighter_is_near():
    small = cv2.resize(astronaut().image, (64, 64), interpolation=cv2.INTER_AREA)
    brighter = (small * 0.8 + 50).round().astype(np.uint8)
    assert identity_distance(astronaut().image, brighter) < 0.3


def test_known_landmarks_spare_the_search(monkeypatch):
    points = find_faces(astronaut().image)[0].landmarks
    small = cv2.resize(astronaut().image, (64, 64), interpolation=cv2.INTER_AREA)
    monkeypatch.setattr(identity, "find_faces", None)
    assert identity_distance(astronaut().image, small, points) < 0.2


def test_descriptors_are_128_numbers_of_one_length():
    points = find_faces(astronaut().image)[0].landmarks
    descriptor = describe(astronaut().image, points)
    assert descriptor.shape == (128,)
    assert np.isfinite(descriptor).all()
    np.testing.assert_array_equal(descriptor, describe(astronaut().image, points))
    with pytest.raises(ShapeError):
        describe(astronaut().image, points[:5])


def test_a_picture_without_a_face_borrows_the_other_s_place():
    distance = identity_distance(faceless(), astronaut().image)
    assert np.isfinite(distance)
    assert distance > 0.6


def test_a_hidden_face_is_still_recognised(monkeypatch):
    """The detector is made to fail on the small picture; the borrowed place must be the right one."""
    small = cv2.resize(astronaut().image, (64, 64), interpolation=cv2.INTER_AREA)
    monkeypatch.setattr(identity, "find_faces", lambda p, **_: [] if len(p) == 64 else find_faces(p))
    assert identity_distance(astronaut().image, small) < 0.2
    assert identity_distance(small, astronaut().image) == pytest.approx(identity_distance(astronaut().image, small))


def test_without_any_face_the_alignment_tells_the_place(monkeypatch):
    small = cv2.resize(astronaut().image, (64, 64), interpolation=cv2.INTER_AREA)
    monkeypatch.setattr(identity, "find_faces", lambda p, **_: [])
    assert identity_distance(astronaut().image, small) is None
    assert identity_distance(astronaut().image, small, alignment=SMALL) < 0.25


@pytest.mark.parametrize("alignment", [SMALL, Alignment()])
def test_the_implied_place_is_where_the_detector_sees_the_face(alignment):
    photo = skimage.data.astronaut()
    crop = align_face(photo, find_faces(photo)[0].landmarks, alignment, 256).image
    (found,) = find_faces(crop)
    np.testing.assert_allclose(aligned_box(alignment, (256, 256)), found.box, atol=30)
    predicted = predict_landmarks(crop, aligned_box(alignment, (256, 256)))
    assert np.hypot(*(predicted - found.landmarks).T).mean() < 8


def test_foreign_pictures_are_refused():
    with pytest.raises(ShapeError):
        identity_distance(astronaut().image, np.zeros((64, 64), np.uint8))


@pytest.mark.skipif(not SHARED_FACES.exists(), reason="the FairFace pictures are not here")
def test_different_people_are_mostly_further_apart_than_the_threshold():
    with zipfile.ZipFile(SHARED_FACES) as archive:
        pictures = [np.asarray(Image.open(BytesIO(archive.read(f"val/{n:05d}.webp"))).convert("RGB")) for n in range(8)]
    descriptors = np.array([describe(p, predict_landmarks(p, aligned_box(SMALL, (128, 128)))) for p in pictures])
    apart = np.linalg.norm(descriptors[:, None] - descriptors, axis=-1)[np.triu_indices(8, 1)]
    assert (apart > 0.6).mean() > 0.75

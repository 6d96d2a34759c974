"""Faces with weights of their own: each photo's additions come along on the way to the next."""

import pytest
import torch
from invented import invented

from editing.drawing import draw_many
from editing.interpolation import morph
from editing.mixing import mix
from inversion.optim import low_rank


def tuned_face(network, seed):
    rng = torch.Generator().manual_seed(seed)
    factors = {
        name: (0.3 * torch.randn(len(weight), 2, generator=rng), torch.randn(2, weight[0].numel(), generator=rng))
        for name, weight in low_rank.tunable(network).items()
    }
    return invented(network, seed, tuned=low_rank.to_half(factors))


@pytest.fixture
def faces(tiny_generator):
    return [tuned_face(tiny_generator, 1), tuned_face(tiny_generator, 2), invented(tiny_generator, 3)]


def test_each_face_of_the_path_is_the_photo_s_own(faces, tiny_generator):
    path = morph(faces, tiny_generator)
    for t, face in zip((0, 0.5, 1), faces, strict=True):
        torch.testing.assert_close(path.at(t).tensor(tiny_generator), face.tensor(tiny_generator))


def test_half_way_the_weights_are_the_mean(faces, tiny_generator):
    half = morph(faces, tiny_generator).at(0.25)
    weights = [low_rank.tuned_weights(tiny_generator, face.tuned) for face in (*faces[:2], half)]
    for name, weight in weights[2].items():
        torch.testing.assert_close(weight, (weights[0][name] + weights[1][name]) / 2)


def test_batches_keep_them_apart(faces, tiny_generator):
    for picture, face in zip(draw_many(faces, tiny_generator), faces, strict=True):
        torch.testing.assert_close(picture, face.tensor(tiny_generator))


def test_a_mixed_face_keeps_the_first_one_s(faces):
    assert mix(*faces[:2]).tuned is faces[0].tuned

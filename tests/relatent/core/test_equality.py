"""Inversions and directions compare by what they hold, and travel between processes."""

import copy
import pickle

import pytest
import torch

from editing import Direction
from editing.seeds import seed_inversion
from stylegan import network_id


@pytest.fixture
def values(tiny_generator):
    return [
        seed_inversion(tiny_generator, 1),
        Direction(torch.arange(24.0), "smile", network_id(tiny_generator), facts={"up": "wider"}),
    ]


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_are_equal(values, way):
    for value in values:
        again = way(value)
        assert again == value
        assert hash(again) == hash(value)
        assert len({again, value}) == 1


def test_what_differs_is_not_equal(values, tiny_generator):
    inversion, direction = values
    assert inversion != seed_inversion(tiny_generator, 2)
    assert inversion != inversion.replace(edits={"smile": 1.0})
    assert inversion != inversion.replace(ws=inversion.ws.double())
    assert direction != Direction(direction.vector, "smile", direction.network)
    assert inversion != direction
    assert inversion != "a face"


def test_pictures_travel_too(values, tiny_generator):
    picture = values[0].image(tiny_generator)
    again = pickle.loads(pickle.dumps(picture))
    assert again.encoded() == picture.encoded() == copy.deepcopy(picture).encoded()

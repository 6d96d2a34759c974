import numpy as np
import pytest
import torch

from editing.directions.ganspace import ganspace_directions
from editing.directions.sefa import sefa_directions
from editing.seeds import seed_inversion
from relatent.core.errors import UnknownNameError, UsageError
from relatent.core.images import to_pixels
from relatent.web.actions.explore import Components, draw_seeds, explored


def test_components_are_those_of_the_commands(tiny_generator):
    components = Components(tiny_generator, count=3)
    for kind, find in (("sefa", sefa_directions), ("ganspace", ganspace_directions)):
        for got, wanted in zip(components.find(kind), find(tiny_generator, 3), strict=True):
            assert torch.equal(got.vector, wanted.vector)
    layered = components.find("sefa", "coarse")
    assert {one.layers for one in layered} == {(0, 1, 2)}
    assert not torch.equal(layered[0].vector, components.find("sefa")[0].vector)


def test_components_are_found_once(tiny_generator):
    components = Components(tiny_generator)
    assert components.find("ganspace") is components.find("ganspace", "all")
    assert components.find("ganspace") is not components.find("ganspace", "fine,middle")


def test_unknown_kinds_and_layers(tiny_generator):
    with pytest.raises(UnknownNameError, match="pca"):
        Components(tiny_generator).find("pca")
    with pytest.raises(UnknownNameError, match="corse"):
        Components(tiny_generator).find("sefa", "corse")


def test_a_seed_moves_along_components(tiny_generator):
    first, second = Components(tiny_generator, 2).find("ganspace")
    face = explored(tiny_generator, 5, 0.7, [(first, 2.0), (second, 0.0)])
    plain = seed_inversion(tiny_generator, 5, 0.7)
    torch.testing.assert_close(face.ws, plain.ws + 2 * first.vector)
    assert face.edits == {"ganspace_0": 2.0}
    assert torch.equal(explored(tiny_generator, 5, 0.7).ws, plain.ws)
    assert torch.equal(explored(tiny_generator, 5, 0.0).ws[0, 0], tiny_generator.w_avg)


def test_several_seeds_at_once(tiny_generator):
    pictures = draw_seeds(tiny_generator, [1, 2, 3], 0.5)
    for seed, picture in zip((1, 2, 3), pictures, strict=True):
        alone = to_pixels(seed_inversion(tiny_generator, seed, 0.5).tensor(tiny_generator))[0]
        assert np.abs(alone.astype(int) - picture).max() <= 1
    with pytest.raises(UsageError, match="at most 24"):
        draw_seeds(tiny_generator, range(25), 0.5)

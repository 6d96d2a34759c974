import dataclasses

import numpy as np
import pytest
import torch
from invented import invented

from editing.mixing import mix, mix_grid
from relatent.core.errors import UnknownNameError, UsageError


@pytest.fixture
def faces(tiny_generator):
    """Three inversions of the 32 px network, L = 8."""
    return [invented(tiny_generator, seed) for seed in (1, 2, 3)]


def same_but(found, expected, *names):
    """Whether all fields but ``names`` are equal."""
    for field in dataclasses.fields(expected):
        if field.name not in names:
            np.testing.assert_equal(plain(getattr(found, field.name)), plain(getattr(expected, field.name)))


def plain(value):
    """Tensors as arrays, wherever they are."""
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    return value.numpy() if isinstance(value, torch.Tensor) else value


def test_all_layers_at_full_strength_are_the_other_face(faces):
    a, b, _ = faces
    mixed = mix(a, b, layers="all", strength=1.0)
    assert torch.equal(mixed.ws, b.ws)
    same_but(mixed, a, "ws", "origin", "edits")  # its own place in the photo, its own noise


def test_no_strength_is_no_change(faces):
    a, b, _ = faces
    before = a.ws.clone()
    assert torch.equal(mix(a, b, layers="all", strength=0.0).ws, a.ws)
    mix(a, b, layers="all")
    assert torch.equal(a.ws, before)  # the object itself is never touched


@pytest.mark.parametrize(
    ("layers", "changed"),
    [("coarse", [0, 1, 2]), ("3-5", [3, 4, 5]), ([7, 0], [0, 7]), (6, [6]), ("middle", [3, 4, 5, 6, 7])],
)
def test_only_the_layers_that_were_named(faces, layers, changed):
    a, b, _ = faces
    mixed = mix(a, b, layers)
    for layer in range(8):
        assert torch.equal(mixed.ws[0, layer], (b if layer in changed else a).ws[0, layer])


def test_crossfade(faces):
    a, b, _ = faces
    for strength in (0.25, -0.5, 1.5):
        expected = a.ws + strength * (b.ws - a.ws)
        torch.testing.assert_close(mix(a, b, "all", strength).ws, expected)


def test_many_faces_each_at_its_own_layers(faces):
    a, b, c = faces
    mixed = mix(a, [b, c], layers=["coarse", "2-4"], strength=[1.0, 0.5])
    assert torch.equal(mixed.ws[:, :2], b.ws[:, :2])
    torch.testing.assert_close(mixed.ws[:, 2], (b.ws[:, 2] + c.ws[:, 2]) / 2)  # the later one on top
    torch.testing.assert_close(mixed.ws[:, 3:5], (a.ws[:, 3:5] + c.ws[:, 3:5]) / 2)
    assert torch.equal(mixed.ws[:, 5:], a.ws[:, 5:])
    assert torch.equal(mix(a, [b], ["coarse"]).ws, mix(a, b).ws)
    assert mixed.edits == {"mix:face2:0-2": 1.0, "mix:face3:2-4": 0.5}


def test_it_is_known_what_the_face_was_before(faces):
    a, b, c = faces
    twice = mix(mix(a, b, "coarse"), c, "middle", 0.5)
    assert torch.equal(twice.origin, a.ws)
    assert torch.equal(twice.unedited().ws, a.ws)
    assert twice.edits == {"mix:face2:0-2": 1.0, "mix:face3:3-7": 0.5}


def test_one_w_for_all_layers_is_still_called_w(tiny_generator):
    a, b = (invented(tiny_generator, seed, space="w") for seed in (1, 2))
    assert mix(a, b, "all", 0.5).space == "w"
    assert mix(a, b, "coarse").space == "w+"
    assert mix(invented(tiny_generator, 3), b, "all").space == "w"


def test_grid_cells_are_single_mixes(faces):
    rows, cols = faces[:2], faces[1:]
    grid = mix_grid(rows, cols, iter([1, 2]), 0.5)
    for row, line in zip(rows, grid, strict=True):
        for col, cell in zip(cols, line, strict=True):
            same_but(cell, mix(row, col, [1, 2], 0.5))
    with pytest.raises(UsageError, match="0 rows and 2 columns"):
        mix_grid([], cols)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"layers": "8"}, "layer 8 is not in this network"),
        ({"layers": "fine"}, "a network of 32 px has no fine layers"),
        ({"strength": float("nan")}, "the strength is nan"),
        ({"strength": 3e38}, r"the strength is 3e\+38"),
        ({"strength": [1.0, 2.0]}, "2 strengths came for 1 inversions"),
    ],
)
def test_what_cannot_be_mixed(faces, arguments, match):
    with pytest.raises(UsageError, match=match):
        mix(*faces[:2], **arguments)


@pytest.mark.parametrize(
    ("layers", "strength", "match"),
    [
        ("coarse", 1.0, "1 choices of layers came for 2 inversions"),
        (["coarse"], 1.0, "1 choices"),
        (["coarse", "fine", "all"], 1.0, "3 choices"),
        (["coarse", "middle"], [1.0], "1 strengths came for 2"),
    ],
)
def test_several_faces_need_a_choice_each(faces, layers, strength, match):
    with pytest.raises(UsageError, match=match):
        mix(faces[0], faces[1:], layers, strength)
    with pytest.raises(UsageError, match="for 0 inversions"):
        mix(faces[0], [])


def test_unknown_layers(faces):
    with pytest.raises(UnknownNameError, match="did you mean middle"):
        mix(*faces[:2], layers="midle")


def test_another_network_is_refused(faces):
    a, b, _ = faces
    with pytest.raises(UsageError, match=r"face1 belongs to tiny@.* and face2 to other@.* are different networks"):
        mix(a, b.replace(network="other@0123456789ab"))
    renamed = b.replace(network="renamed@" + a.network.partition("@")[2])  # the weights count, not the name
    assert torch.equal(mix(a, renamed, "all").ws, b.ws)


def test_latents_of_another_size_under_the_same_name_are_refused(faces):
    a, b, _ = faces
    with pytest.raises(UsageError, match="have latents of different sizes"):
        mix(a, b.replace(ws=b.ws[:, :-1]))

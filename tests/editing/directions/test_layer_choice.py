import numpy as np
import pytest
import torch

from editing.layers import GROUPS, layer_numbers, layer_size, layer_text
from relatent.core.errors import UnknownNameError, UsageError
from stylegan.networks.generator import RESOLUTIONS
from stylegan.networks.synthesis import SynthesisNetwork

EVERY = list(range(4, 19, 2))  # L from 8 px to 1024 px


@pytest.mark.parametrize(("num_ws", "resolution"), list(zip(EVERY, RESOLUTIONS, strict=True)))
def test_the_groups_are_the_network_s_own_sizes(num_ws, resolution):
    network = SynthesisNetwork(resolution, 4, {size: 1 for size in (4, *RESOLUTIONS) if size <= resolution})
    assert network.num_ws == num_ws
    sizes = [*(layer.resolution for layer in network.layers), resolution]  # the last one is ToRGB
    assert [layer_size(layer, num_ws) for layer in range(num_ws)] == sizes
    for name, (smallest, largest) in GROUPS.items():
        wanted = tuple(layer for layer, size in enumerate(sizes) if smallest <= size <= largest)
        if wanted:
            assert layer_numbers(name, num_ws) == wanted
        else:
            with pytest.raises(UsageError, match=f"a network of {resolution} px has no {name} layers"):
                layer_numbers(name, num_ws)
    named = [layer_numbers(name, num_ws) for name in ("coarse", "middle", "fine") if resolution >= GROUPS[name][0]]
    assert sum(named, ()) == layer_numbers("all", num_ws)  # every layer has one name


def test_the_groups_of_the_largest_network():
    assert layer_numbers("coarse", 18) == (0, 1, 2)
    assert layer_numbers("middle", 18) == (3, 4, 5, 6)
    assert layer_numbers("fine", 18) == tuple(range(7, 18))
    assert layer_numbers("coarse,middle", 18) == layer_numbers("0-6", 18)  # the old tool's default


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("0-3", (0, 1, 2, 3)),
        ("7, 0-2 ,2", (0, 1, 2, 7)),
        ("coarse,9", (0, 1, 2, 9)),
        (4, (4,)),
        (0, (0,)),
        ([3, 1, 3], (1, 3)),
        (range(2, 4), (2, 3)),
        ((layer for layer in (5, 6)), (5, 6)),
        (np.arange(3), (0, 1, 2)),
        (torch.tensor([4, 2]), (2, 4)),
        (np.int64(4), (4,)),
        (torch.tensor(4), (4,)),
    ],
)
def test_every_spelling(choice, expected):
    assert layer_numbers(choice, 10) == expected


@pytest.mark.parametrize(
    ("choice", "match"),
    [
        ("0-10", "layer 10 is not in this network; its layers are 0 to 9"),
        (10, "layer 10"),
        ([-1], "layer -1"),
        ([], "no layer was named"),
        ("", "no layer was named"),
        ("3-1", "runs backwards"),
        ([1.5], "1.5; expected a whole number"),
        (True, "True; expected a whole number"),
        (["1"], "'1'; expected a whole number"),
        (None, "None; expected a whole number"),
        (1.5, "1.5; expected a whole number"),
    ],
)
def test_what_is_no_layer(choice, match):
    with pytest.raises(UsageError, match=match):
        layer_numbers(choice, 10)


def test_a_name_like_another_is_offered():
    with pytest.raises(UnknownNameError, match="did you mean coarse"):
        layer_numbers("corse", 10)


@pytest.mark.parametrize(
    ("layers", "text"), [((0, 1, 2, 7), "0-2,7"), ((5,), "5"), ((3, 1, 2), "1-3"), ((), ""), ((0, 2), "0,2")]
)
def test_text_reads_back(layers, text):
    assert layer_text(layers) == text
    if layers:
        assert layer_numbers(text, 10) == tuple(sorted(layers))

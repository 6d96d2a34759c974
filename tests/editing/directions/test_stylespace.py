"""A style channel moved through w changes as asked; where that drags others along, the facts say how far."""

import numpy as np
import pytest
import torch
from planted import brightness

from editing.directions import channels
from editing.directions.channels import mean_region, strongest_for_attribute, strongest_in_region
from editing.directions.sampling import sample_scores, score_latents
from editing.directions.stylespace import StyleSpace
from relatent.core.errors import ShapeError, UsageError


@pytest.fixture
def narrow_generator():
    """More channels than w has dimensions: no step of w moves one channel alone."""
    from stylegan import Generator, GeneratorConfig

    config = GeneratorConfig(resolution=16, z_dim=6, w_dim=6, mapping_layers=1, channel_base=128, channel_max=8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Generator(config, name="narrow").eval().requires_grad_(False)


def styles(space, ws):
    """What every affine map makes of ws, in deviations: a list of [N, channels]."""
    found = []
    for (affine, layer), deviation in zip(space.readers, space.deviations, strict=True):
        found.append(affine(ws[:, layer]).double() / deviation)
    return found


def changes(space, direction):
    network = space.network
    ws = network.sample_w(2, 9)[:, None].repeat(1, network.num_ws, 1)
    pairs = zip(styles(space, ws), styles(space, direction.apply(ws, 1.0)), strict=True)
    return [(after - before)[0] for before, after in pairs]


def test_one_channel_changes_by_one_deviation_and_no_other_where_w_has_room(tiny_generator):
    space = StyleSpace(tiny_generator, 500)
    layer, channel = 10, 3  # ToRGB at 32 px: 8 channels, and w has 24 dimensions
    direction = space.channel((layer, channel))
    moved = changes(space, direction)
    assert direction.facts["reached"] == pytest.approx(1)
    assert direction.facts["spill"] == pytest.approx(0, abs=1e-3)
    assert moved[layer][channel] == pytest.approx(1, abs=1e-3)
    moved[layer][channel] = 0
    assert all(torch.allclose(one, torch.zeros_like(one), atol=1e-3) for one in moved)
    assert direction.space == "s"
    assert direction.name == "style_10_3"


def test_where_w_has_no_room_the_spill_is_told(narrow_generator):
    space = StyleSpace(narrow_generator, 500)
    direction = space.channel((3, 2))
    moved = changes(space, direction)
    assert moved[3][2] == pytest.approx(1, abs=1e-3)
    moved[3][2] = 0
    spill = torch.cat(moved).norm()
    assert spill > 0.3
    assert direction.facts["spill"] == pytest.approx(float(spill), rel=1e-3)
    assert direction.facts["reached"] < 0.9


def test_the_step_that_is_listed_is_the_step_that_is_taken(narrow_generator):
    space = StyleSpace(narrow_generator, 500)
    moves = space.moves(3)
    for channel, step in zip(moves.channels, moves.steps, strict=True):
        assert torch.allclose(space.channel(channel).vector[3].double(), step, atol=1e-4)


def test_channels_of_several_layers_make_one_direction(tiny_generator):
    space = StyleSpace(tiny_generator, 500)
    wanted = {(8, 1): 0.5, (10, 2): -1.5}
    direction = space.direction(wanted, "both", facts={"from": "a list"})
    moved = [one * deviation for one, deviation in zip(changes(space, direction), space.deviations, strict=True)]
    assert moved[8][1] == pytest.approx(0.5, abs=1e-3)
    assert moved[10][2] == pytest.approx(-1.5, abs=1e-3)
    assert direction.facts["from"] == "a list"
    assert direction.layers == (5, 7)


def test_a_lasting_direction_needs_no_space_of_ones_own(tiny_generator):
    direction = StyleSpace(tiny_generator).direction({(10, 3): 1.0}, "imported", source="imported: a list")
    assert (direction.name, direction.source, direction.space) == ("imported", "imported: a list", "s")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({(99, 0): 1.0}, "style layer 99"),
        ({(10, 8): 1.0}, "no channel 8"),
        ({(-1, 0): 1.0}, "style layer -1"),
        ({}, "9_41"),
    ],
)
def test_channels_that_are_not_there_are_refused(tiny_generator, wanted, message):
    with pytest.raises(UsageError, match=message):
        StyleSpace(tiny_generator, 200).direction(wanted, "none")


def measured_squares(space, mask):
    """Mean squared change under a mask for a small step of every channel, drawn one by one."""
    network = space.network
    ws = network.sample_w(channels.PROBES, 0)[:, None].repeat(1, network.num_ws, 1)
    before, found = network.synthesis(ws), {}
    for layer in range(network.num_ws):
        moves = space.moves(layer)
        for channel, step in zip(moves.channels, moves.steps, strict=True):
            moved = ws.clone()
            moved[:, layer] += 1e-2 * step.float()
            squares = ((network.synthesis(moved) - before) / 1e-2).square() * mask
            found[channel] = float(squares.sum(dim=(1, 2, 3)).mean())
    return found


def test_the_strongest_channels_of_a_region_are_those_that_drawing_shows(narrow_generator, monkeypatch):
    monkeypatch.setattr(channels, "SIGNS", 40)
    mask = torch.zeros(16, 16)
    mask[8:, :8] = 1
    space = StyleSpace(narrow_generator, 500)
    inside, outside = measured_squares(space, mask), measured_squares(space, 1 - mask)
    found = strongest_in_region(space, mask, len(inside))
    assert {effect.channel for effect in found} == set(inside)
    truth = np.array([inside[one.channel] for one in found])
    told = np.array([one.inside**2 * 3 * 64 for one in found])
    assert np.corrcoef(np.log(truth), np.log(told))[0, 1] > 0.98
    shares = np.array([inside[one.channel] / (inside[one.channel] + outside[one.channel]) for one in found])
    assert np.corrcoef(shares, [one.share for one in found])[0, 1] > 0.9
    ranks = [one.rank for one in found]
    assert ranks == sorted(ranks, reverse=True)


def test_a_mask_must_fit_and_show_something(tiny_generator):
    space = StyleSpace(tiny_generator, 200)
    with pytest.raises(ShapeError, match="32, 32"):
        strongest_in_region(space, torch.ones(16, 16), 1)
    with pytest.raises(UsageError, match="empty"):
        strongest_in_region(space, torch.zeros(32, 32), 1)


def test_the_strongest_channels_of_an_attribute_move_it_as_told(tiny_generator):
    scores = {"brightness": brightness}
    space = StyleSpace(tiny_generator, 500)
    samples = sample_scores(tiny_generator, scores, 300)
    found = strongest_for_attribute(space, samples, scores, "brightness", 4)
    assert len(found) == 4
    assert [abs(effect) for _, effect in found] == sorted((abs(effect) for _, effect in found), reverse=True)
    channel, effect = found[0]
    ws = tiny_generator.sample_w(64, 4)[:, None].repeat(1, tiny_generator.num_ws, 1)
    step = space.channel(channel)
    ahead, back = (score_latents(tiny_generator, step.apply(ws, sign), scores)["brightness"] for sign in (1.0, -1.0))
    assert (ahead - back).mean() / 2 / samples.deviation("brightness") == pytest.approx(effect, abs=0.1)
    assert abs(effect) > 0.1


def test_a_region_lies_where_landmarks_put_it(tiny_generator, monkeypatch):
    from drawn_landmarks import neutral_face

    points = np.stack([neutral_face() / 100 * 32, np.full((68, 2), np.nan)])
    monkeypatch.setattr(channels, "FacePoints", lambda alignment: lambda pictures: points)
    mask = mean_region(tiny_generator, "mouth")
    assert mask.shape == (32, 32)
    assert mask[24, 16] > 0.9  # 74 and 50 of 100
    assert mask[4, 4] == 0
    monkeypatch.setattr(channels, "FacePoints", lambda alignment: lambda pictures: points[1:])
    with pytest.raises(UsageError, match="no face"):
        mean_region(tiny_generator, "mouth")

import math

import pytest
import torch
from invented import invented

from editing.interpolation import blend, blend_tuned, morph, morph_seeds, slerp, slowing_at_faces
from editing.seeds import seed_inversion
from relatent.core.errors import ShapeError, UnknownNameError, UsageError


@pytest.fixture
def faces(tiny_generator):
    return [invented(tiny_generator, seed) for seed in (1, 2, 3)]


def test_the_way_to_the_next_face_goes_from_0_to_1_and_never_back():
    values = [slowing_at_faces(index / 100) for index in range(101)]
    assert values[0] == 0
    assert values[-1] == pytest.approx(1)
    assert values[50] == pytest.approx(0.5)
    assert values == sorted(values)
    assert values[1] < 0.001
    assert values[99] > 0.999


def test_an_open_path_goes_from_the_first_to_the_last(faces, tiny_generator):
    frames = list(morph(faces, tiny_generator).frames(9))
    for index, face in ((0, faces[0]), (4, faces[1]), (8, faces[2])):
        assert torch.equal(frames[index].ws, face.ws)
        assert all(torch.equal(x, y) for x, y in zip(frames[index].noise, face.noise, strict=True))
    share = slowing_at_faces(0.25)
    torch.testing.assert_close(frames[1].ws, (1 - share) * faces[0].ws + share * faces[1].ws)


@pytest.mark.parametrize("count", [2, 3])
def test_a_loop_ends_where_it_begins_and_never_jumps(faces, tiny_generator, count):
    path = morph(faces[:count], tiny_generator, loop=True)
    assert torch.equal(path.at(0).ws, path.at(1).ws)
    frames = list(path.frames(60))
    assert len(frames) == 60
    steps = [(b.ws - a.ws).norm() for a, b in zip(frames, frames[1:] + frames[:1], strict=True)]  # and round again
    legs = [(b.ws - a.ws).norm() for a, b in zip(faces[:count], (*faces[1:count], faces[0]), strict=True)]
    assert max(steps) <= max(legs) * count / 60 * math.pi / 2 * 1.01  # the fastest that the easing ever is
    assert any(torch.equal(frame.ws, faces[1].ws) for frame in frames)


def test_t_beyond_the_ends_stays_there(faces, tiny_generator):
    path = morph(faces, tiny_generator)
    assert torch.equal(path.at(-1).ws, faces[0].ws)
    assert torch.equal(path.at(2).ws, faces[2].ws)


def test_two_of_w_stay_in_w(tiny_generator):
    a, b = (invented(tiny_generator, seed, space="w") for seed in (1, 2))
    between = blend(a, b, 0.3)
    assert between.space == "w"
    torch.testing.assert_close(between.ws, (0.7 * a.ws + 0.3 * b.ws))
    assert blend(a, invented(tiny_generator, 3), 0.3).space == "w+"


def test_noise_keeps_its_strength_on_the_way(faces, tiny_generator):
    half = morph(faces[:2], tiny_generator).at(0.5)
    for level, a, b in zip(half.noise, faces[0].noise, faces[1].noise, strict=True):
        expected = (a.square().mean().sqrt() + b.square().mean().sqrt()) / 2
        torch.testing.assert_close(level.square().mean().sqrt(), expected)  # a straight line would lose 0.3 of it
    like = faces[0].replace(noise=tuple(level + 0.1 for level in faces[0].noise))
    for level, a, b in zip(blend(faces[0], like, 0.5).noise, faces[0].noise, like.noise, strict=True):
        torch.testing.assert_close(level, (a + b) / 2, atol=0.01, rtol=0)  # of noises almost alike there is one between


def test_noise_may_be_held(faces, tiny_generator):
    for frame in morph(faces, tiny_generator, loop=True, noise="hold").frames(7):
        assert all(torch.equal(x, y) for x, y in zip(frame.noise, faces[0].noise, strict=True))


def test_the_network_s_own_noise_takes_part(faces, tiny_generator):
    plain = faces[1].replace(noise=None)
    end = morph([faces[0], plain], tiny_generator).at(1)
    torch.testing.assert_close(end.tensor(tiny_generator), plain.tensor(tiny_generator))
    assert morph([plain, plain], tiny_generator).at(0.5).noise is None


def test_masked_edits_begin_and_end_as_they_are(faces, tiny_generator):
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., :16, :] = 1
    edited = faces[0].replace(origin=faces[0].ws, ws=faces[2].ws, mask=mask, edits={"smile": 1.0})
    for first, last in ((edited, faces[1]), (faces[1], edited)):
        path = morph([first, last], tiny_generator)
        torch.testing.assert_close(path.at(0).tensor(tiny_generator), first.tensor(tiny_generator))
        torch.testing.assert_close(path.at(1).tensor(tiny_generator), last.tensor(tiny_generator))


def test_slerp_moves_along_the_arc():
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 4.0])
    third = slerp(a, b, 1 / 3)
    angle = math.atan2(float(third[1]), float(third[0]))
    assert angle == pytest.approx(math.pi / 6, abs=1e-6)
    assert float(third.norm()) == pytest.approx(2 + 2 / 3, abs=1e-6)
    assert torch.equal(slerp(a, b, 0), a)
    assert torch.equal(slerp(a, b, 1), b)


@pytest.mark.parametrize(
    ("a", "b"),
    [([1.0, 0.0], [1.0, 0.0]), ([1.0, 0.0], [3.0, 0.0]), ([1.0, 0.0], [-1.0, 0.0]), ([0.0, 0.0], [1.0, 2.0])],
)
def test_slerp_where_no_arc_is_given(a, b):
    a, b = torch.tensor(a), torch.tensor(b)
    torch.testing.assert_close(slerp(a, b, 0.25), 0.75 * a + 0.25 * b)


def test_seeds_through_z_are_faces_of_z(tiny_generator):
    path = morph_seeds([5, 6], tiny_generator, psi=0.7, loop=True)
    torch.testing.assert_close(path.at(0).ws, seed_inversion(tiny_generator, 5, 0.7).ws)
    torch.testing.assert_close(path.at(0.5).ws, seed_inversion(tiny_generator, 6, 0.7).ws)
    straight = morph([seed_inversion(tiny_generator, seed, 0.7) for seed in (5, 6)], tiny_generator, loop=True)
    assert not torch.allclose(path.at(0.25).ws, straight.at(0.25).ws)


def factors(seed):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(4, 2, generator=rng), torch.randn(2, 9, generator=rng)


def test_the_photos_own_weights_move_on_a_line():
    a, b = {"x": factors(1), "y": factors(2)}, {"x": factors(3)}
    between = blend_tuned(a, b, 0.25)
    product = {name: left @ right for name, (left, right) in between.items()}
    torch.testing.assert_close(product["x"], 0.75 * a["x"][0] @ a["x"][1] + 0.25 * b["x"][0] @ b["x"][1])
    torch.testing.assert_close(product["y"], 0.75 * a["y"][0] @ a["y"][1])
    assert torch.equal(blend_tuned(a, b, 0)["x"][0], a["x"][0])
    assert blend_tuned(a, b, 1).keys() == {"x"}
    assert blend_tuned(None, b, 0) is None


def test_what_is_no_path(faces, tiny_generator):
    with pytest.raises(UsageError, match="1 faces; expected at least two"):
        morph(faces[:1], tiny_generator)
    with pytest.raises(UsageError, match="at least two"):
        morph([], tiny_generator)
    with pytest.raises(UsageError, match="from 2 to 100000"):
        morph(faces, tiny_generator).frames(1)
    with pytest.raises(UnknownNameError, match="noise of a morph"):
        morph(faces, tiny_generator, noise="loud")
    with pytest.raises(UsageError, match="only latents of one network"):
        morph([faces[0], faces[1].replace(network="other@0123456789ab")], tiny_generator)
    with pytest.raises(UsageError, match="belongs to the network other"):
        morph([face.replace(network="other@0123456789ab") for face in faces], tiny_generator)


def test_damaged_faces_are_refused_before_the_first_frame(faces, tiny_generator):
    a, b, _ = faces
    for damaged in (b.replace(noise=b.noise[1:]), b.replace(mask=torch.ones(1, 1, 8, 8))):
        with pytest.raises(ShapeError, match="face2 has noise or a mask of another size"):
            morph([a, damaged], tiny_generator)

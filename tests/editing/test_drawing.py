import numpy as np
import pytest
import torch
from invented import invented

from editing.drawing import draw_many, with_noise
from editing.interpolation import morph_seeds
from editing.seeds import random_direction, seed_inversion, seed_z
from relatent.core.errors import ShapeError, UnknownNameError, UsageError
from stylegan import Generator, GeneratorConfig, network_id


def test_batches_draw_what_each_draws_alone(tiny_generator):
    faces = [invented(tiny_generator, seed, noise=seed % 2 == 0) for seed in range(5)]
    faces.append(faces[0].replace(mask=torch.full((1, 1, 32, 32), 0.5), origin=faces[1].ws))
    for batch_size in (None, 1, 2, 4):
        drawn = list(draw_many(faces, tiny_generator, batch_size))
        assert len(drawn) == 6
        for image, face in zip(drawn, faces, strict=True):
            torch.testing.assert_close(image, face.tensor(tiny_generator), atol=1e-5, rtol=0)


def test_no_more_is_taken_than_is_drawn_together(tiny_generator):
    taken = []

    def endless():
        for seed in range(10**9):
            taken.append(seed)
            yield invented(tiny_generator, seed)

    pictures = draw_many(endless(), tiny_generator, 3)
    next(pictures)
    assert taken == [0, 1, 2]


def test_what_does_not_fit_the_network_says_so(tiny_generator):
    good, other = (invented(tiny_generator, seed) for seed in (1, 2))
    with pytest.raises(ShapeError, match="ws has shape"):
        list(draw_many([good, other.replace(ws=other.ws[:, 1:])], tiny_generator))
    with pytest.raises(ShapeError, match="noise has shapes"):
        list(draw_many([good, other.replace(noise=other.noise[1:])], tiny_generator))
    with pytest.raises(UsageError, match="belongs to the network other"):
        list(draw_many([good, other.replace(network="other@0123456789ab")], tiny_generator))


def test_noise_modes_become_part_of_the_latent(tiny_generator):
    face = seed_inversion(tiny_generator, 1)
    assert with_noise(face, tiny_generator, "const") is face
    silent = with_noise(face, tiny_generator, "none").tensor(tiny_generator)
    torch.testing.assert_close(silent, tiny_generator.synthesis(face.ws, "none"))
    one, again, other = (with_noise(face, tiny_generator, "random", seed) for seed in (1, 1, 2))
    assert torch.equal(one.tensor(tiny_generator), again.tensor(tiny_generator))
    assert not torch.equal(one.tensor(tiny_generator), other.tensor(tiny_generator))
    with pytest.raises(UnknownNameError, match="noise mode"):
        with_noise(face, tiny_generator, "loud")


def test_a_seed_is_the_same_face_as_in_the_old_tools(tiny_generator):
    z = torch.from_numpy(np.random.RandomState(85).randn(1, 16)).float()
    face = seed_inversion(tiny_generator, 85, psi=0.5)
    torch.testing.assert_close(face.ws, tiny_generator.mapping(z, truncation_psi=0.5))
    assert (face.space, face.seed, face.noise, face.photo) == ("w", 85, None, "")
    assert torch.equal(seed_z(2**32 - 1, 16), seed_z(2**32 - 1, 16))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_what_is_no_seed(seed):
    with pytest.raises(UsageError, match=f"the seed is {seed}"):
        seed_z(seed, 16)


def test_what_is_no_truncation(tiny_generator):
    with pytest.raises(UsageError, match="the truncation is nan"):
        seed_inversion(tiny_generator, 1, psi=float("nan"))


def test_a_network_with_classes_asks_for_one():
    network = Generator(GeneratorConfig(resolution=8, z_dim=4, w_dim=4, c_dim=2, mapping_layers=1, channel_max=4))
    with pytest.raises(UsageError, match=r"has 2 classes, .* --class 0 to 1, or c= in Python"):
        seed_inversion(network, 1)
    with pytest.raises(UsageError, match="the class is 2; expected a whole number from 0 to 1"):
        seed_inversion(network, 1, c=2)
    one_hot = torch.tensor([[0.0, 1.0]])
    expected = network.mapping(seed_z(1, 4), one_hot, truncation_psi=0.5)
    torch.testing.assert_close(seed_inversion(network, 1, 0.5, c=1).ws, expected)
    torch.testing.assert_close(seed_inversion(network.of_class(1), 1, 0.5).ws, expected)
    assert network.chosen_class is None  # whoever chooses a class leaves the network as it is
    path = morph_seeds([1, 2], network, psi=0.5, c=1)
    torch.testing.assert_close(path.at(0).ws, expected)


def test_a_class_of_a_network_without_any(tiny_generator):
    with pytest.raises(UsageError, match="tiny has no classes, and class 1 was asked for"):
        seed_inversion(tiny_generator, 1, c=1)


def test_a_chosen_class_is_what_samples_are_of():
    network = Generator(GeneratorConfig(resolution=8, z_dim=4, w_dim=4, c_dim=3, mapping_layers=1, channel_max=4))
    chosen = network.of_class(2)
    z = torch.randn(5, 4, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(chosen.sample_w(5, 7), network.mapping.map(z, torch.eye(3)[[2] * 5]))
    assert network_id(chosen) == network_id(network)
    assert chosen.synthesis is network.synthesis
    assert random_direction(network, 4).vector.shape == (4,)  # the seed chooses one where nobody did

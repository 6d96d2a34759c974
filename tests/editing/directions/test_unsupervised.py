"""SeFa finds planted singular vectors, GANSpace planted variances; both in a definite order and sign."""

import pytest
import torch

from editing.directions.ganspace import ganspace_directions
from editing.directions.sefa import sefa_directions, style_affines
from relatent.core.errors import UsageError


def orthonormal(size, seed):
    return torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(seed))).Q


def plant_affines(generator, axes, lengths):
    """Give every affine map the right singular vectors ``axes`` (rows) with singular values like ``lengths``."""
    for seed, (affine, _) in enumerate(style_affines(generator)):
        rows = len(affine.weight)
        left = torch.linalg.qr(
            torch.randn(max(rows, len(axes)), len(axes), generator=torch.Generator().manual_seed(seed))
        )
        affine.weight.copy_((left.Q[:rows] * lengths) @ axes / affine.weight_gain)


@pytest.fixture
def square_generator():
    """As many channels as dimensions of w, so that a map of full rank can be planted into every layer."""
    from stylegan import Generator, GeneratorConfig

    config = GeneratorConfig(resolution=8, z_dim=8, w_dim=8, mapping_layers=1, channel_base=64, channel_max=8)
    return Generator(config, name="square").eval().requires_grad_(False)


def test_sefa_finds_the_planted_singular_vectors(square_generator):
    axes, lengths = orthonormal(8, 1), torch.tensor([8.0, 6, 5, 4, 3, 2, 1, 0.5])
    plant_affines(square_generator, axes, lengths)
    found = sefa_directions(square_generator, 3, samples=500)
    for direction, axis in zip(found, axes, strict=False):
        assert torch.cosine_similarity(direction.vector, axis, dim=0).abs() > 0.9999
        assert direction.vector[direction.vector.abs().argmax()] > 0
    energy = lengths.square() / lengths.square().sum()
    assert [one.facts["share_of_style_energy"] for one in found] == pytest.approx(energy[:3].tolist(), rel=1e-4)
    assert [one.name for one in found] == ["sefa_0", "sefa_1", "sefa_2"]


def test_sefa_of_some_layers_uses_their_weights_alone(square_generator):
    axes = orthonormal(8, 1)
    plant_affines(square_generator, axes, torch.tensor([9.0, 1, 1, 1, 1, 1, 1, 1]))
    for affine, layer in style_affines(square_generator):
        if layer == 2:
            affine.weight.copy_(torch.eye(8)[7].expand(len(affine.weight), 8))
    (one,) = sefa_directions(square_generator, 1, layers=[2], samples=200)
    assert torch.cosine_similarity(one.vector, torch.eye(8)[7], dim=0) > 0.9999
    assert one.layers == (2,)


def test_ganspace_finds_the_planted_variances(tiny_generator):
    axes = orthonormal(tiny_generator.w_dim, 2)[: tiny_generator.z_dim]
    deviations = torch.linspace(4, 0.5, tiny_generator.z_dim)
    tiny_generator.mapping.map = lambda z, c=None: (z * deviations) @ axes + 3
    found = ganspace_directions(tiny_generator, 3, samples=20_000)
    for direction, axis, deviation in zip(found, axes, deviations, strict=False):
        assert torch.cosine_similarity(direction.vector, axis, dim=0).abs() > 0.99
        assert direction.vector.norm() == pytest.approx(float(deviation), rel=0.03)
        assert direction.vector[direction.vector.abs().argmax()] > 0
    share = float(deviations[0] ** 2 / deviations.square().sum())
    assert found[0].facts["share_of_variance"] == pytest.approx(share, rel=0.05)


@pytest.mark.parametrize("finder", [sefa_directions, ganspace_directions])
def test_one_step_is_one_deviation_of_w_along_it(tiny_generator, finder):
    w = tiny_generator.sample_w(3000, 0).double()
    for direction in finder(tiny_generator, 4, samples=3000, seed=0):
        unit = direction.vector.double() / direction.vector.norm()
        assert direction.vector.norm() == pytest.approx(float((w @ unit).std()), rel=1e-3)


@pytest.mark.parametrize("finder", [sefa_directions, ganspace_directions])
def test_the_same_seed_gives_the_same_directions_and_they_fit_the_network(tiny_generator, finder):
    first, second = (finder(tiny_generator, 2, layers=[1, 3], samples=200) for _ in range(2))
    assert all(torch.equal(a.vector, b.vector) for a, b in zip(first, second, strict=True))
    first[0].check_network(tiny_generator)
    moves = first[0].moves(tiny_generator.num_ws, tiny_generator.w_dim)
    assert moves.abs().sum(dim=1).nonzero()[:, 0].tolist() == [1, 3]


@pytest.mark.parametrize("finder", [sefa_directions, ganspace_directions])
def test_more_directions_than_dimensions_are_refused(tiny_generator, finder):
    with pytest.raises(UsageError, match="1 to 24"):
        finder(tiny_generator, 25, samples=200)


def test_each_affine_reads_the_w_it_is_said_to_read(tiny_generator):
    """Move one w, see which affine maps answer otherwise."""
    readers = style_affines(tiny_generator)
    ws = torch.randn(1, tiny_generator.num_ws, tiny_generator.w_dim)
    answers = {}
    for number, (affine, _) in enumerate(readers):
        affine.register_forward_hook(lambda module, inputs, output, number=number: answers.update({number: output}))
    tiny_generator.synthesis(ws)
    before = dict(answers)
    for layer in range(tiny_generator.num_ws):
        moved = ws.clone()
        moved[:, layer] += 1
        tiny_generator.synthesis(moved)
        changed = {number for number in before if not torch.equal(before[number], answers[number])}
        assert changed == {number for number, (_, index) in enumerate(readers) if index == layer}

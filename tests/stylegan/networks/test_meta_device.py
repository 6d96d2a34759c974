"""Networks of the published sizes on the meta device, which has no numbers: every tensor of a pass is made there."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from inversion.losses.perceptual import PerceptualDistance
from inversion.optim.low_rank import draw, tunable
from stylegan import AliasFreeConfig, Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from stylegan.networks import ops
from stylegan.networks.backbone import Backbone

META = torch.device("meta")


class OnlyMeta(TorchDispatchMode):
    """Refuses tensors that are made elsewhere, and float64."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                assert leaf.device == META, f"{func} makes a tensor on {leaf.device}"
                assert leaf.dtype != torch.float64, f"{func} makes float64"
        return result


@pytest.fixture(autouse=True)
def no_kernels_left():
    yield
    ops._kept_kernel.cache_clear()


def on_meta(make):
    with META:
        return make().to(META).eval()  # filters come from NumPy


def gradient(outputs, inputs):
    with OnlyMeta():
        return torch.autograd.grad(sum(output.sum() for output in outputs), inputs)


@pytest.fixture
def large():
    return on_meta(lambda: Generator(GeneratorConfig(resolution=1024)))


def warm(function, *arguments, **options):
    """Once outside, as kernels are made on the CPU, copied and kept; then strictly."""
    function(*arguments, **options)
    with OnlyMeta():
        return function(*arguments, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_1024_px(large, dtype):
    ws = torch.empty(2, large.num_ws, 512, device=META, requires_grad=True)
    noise = [torch.empty(2, *level.shape[1:], device=META) for level in large.synthesis.noise_buffers]
    image = warm(large.synthesis, ws, noise=noise, dtype=dtype)
    assert image.shape == (2, 3, 1024, 1024)
    assert image.dtype == torch.float32
    assert gradient([image], [ws])[0].shape == ws.shape


def test_mapping(large):
    assert warm(large.mapping, torch.empty(4, 512, device=META), truncation_psi=0.5).shape == (4, 18, 512)


def test_tuned_weights(large):
    factors = {}
    for name, weight in tunable(large).items():
        shapes = (weight.shape[0], 16), (16, weight[0].numel())
        factors[name] = tuple(torch.empty(shape, device=META, requires_grad=True) for shape in shapes)
    image = warm(draw, large, torch.empty(1, 18, 512, device=META), None, factors)
    leaves = [factor for pair in factors.values() for factor in pair]
    assert [g.shape for g in gradient([image], leaves)] == [leaf.shape for leaf in leaves]


def test_alias_free():
    network = on_meta(lambda: Generator(AliasFreeConfig(resolution=256)))
    ws = torch.empty(1, network.num_ws, network.w_dim, device=META, requires_grad=True)
    image = warm(network.synthesis, ws)
    assert image.shape == (1, 3, 256, 256)
    assert gradient([image], [ws])[0].shape == ws.shape


def test_discriminator():
    network = on_meta(lambda: Discriminator(DiscriminatorConfig(resolution=1024)))
    image = torch.empty(4, 3, 1024, 1024, device=META, requires_grad=True)
    logits = warm(network, image)
    assert logits.shape == (4, 1)
    assert gradient([logits], [image])[0].shape == image.shape


def test_distance():
    distance = on_meta(lambda: PerceptualDistance(Backbone(), "backbone"))
    first = torch.empty(2, 3, 1024, 1024, device=META, requires_grad=True)
    found = warm(distance, first, torch.empty(2, 3, 1024, 1024, device=META))
    assert found.shape == (2,)
    assert gradient([found], [first])[0].shape == first.shape

"""What a GPU draws, judges and measures is what the CPU does, and so are the gradients."""

from __future__ import annotations

import copy

import pytest
import torch

from inversion.encoders.encoder import resized
from inversion.encoders.training import EncoderSettings, new_encoder
from inversion.losses.perceptual import load_perceptual
from inversion.optim.low_rank import draw, tunable
from relatent.core.precision import computing_in
from stylegan.training.loss import r1_penalty

pytestmark = pytest.mark.cuda
CPU = torch.device("cpu")
BOTH = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def assert_close(found, expected, share=1e-4):
    """Every difference is small beside the largest value: a sum's rounding errors follow its largest terms."""
    assert found.isfinite().all()
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=share * float(expected.abs().max()))


def drawn(generator, device, dtype=torch.float32, features=torch.float32):
    """Pictures, and the gradient of a weighted sum of them in ws."""
    network = copy.deepcopy(generator).to(device, dtype)
    ws = numbers(3, network.num_ws, network.w_dim).to(device, dtype).requires_grad_(True)
    image = network.synthesis(ws, dtype=features)
    (gradient,) = torch.autograd.grad((image * numbers(*image.shape, seed=1).to(image)).sum(), ws)
    return image.detach(), gradient


@BOTH
def test_synthesis(tiny_generator, device, dtype):
    with computing_in("float32", device):
        found = drawn(tiny_generator, device, dtype)
    for ours, expected in zip(found, drawn(tiny_generator, CPU, dtype), strict=True):
        assert_close(ours, expected)


@pytest.mark.parametrize(("precision", "share"), [("bfloat16", 0.05), ("tf32", 0.01)])
def test_less_precise_synthesis(tiny_generator, gpu, precision, share):
    with computing_in(precision, gpu) as features:
        image, gradient = drawn(tiny_generator, gpu, features=features)
    exact, expected = drawn(tiny_generator, CPU)
    assert_close(image, exact, share)
    assert_close(gradient, expected, 3 * share)


@BOTH
def test_discriminator_and_its_penalty(tiny_discriminator, device, dtype):
    """Logits, and the penalty's gradient, which differentiates every layer twice."""

    def judged(where):
        network = copy.deepcopy(tiny_discriminator).to(where, dtype)
        image = numbers(4, 3, 32, 32).to(where, dtype).requires_grad_(True)
        logits = network(image)
        r1_penalty(logits, image).sum().backward()
        return logits.detach(), [p.grad for p in network.parameters() if p.grad is not None]

    with computing_in("float32", device):
        logits, gradients = judged(device)
    expected_logits, expected = judged(CPU)
    assert_close(logits, expected_logits)
    assert len(gradients) == len(expected) > 5
    for ours, theirs in zip(gradients, expected, strict=True):
        assert_close(ours, theirs, 1e-3)


def measured(where, dtype):
    """A distance, and its gradient in the first pictures."""
    a = numbers(2, 3, 64, 64).clamp(-1, 1).to(where, dtype).requires_grad_(True)
    b = numbers(2, 3, 64, 64, seed=1).to(where, dtype)
    distance = copy.deepcopy(load_perceptual("embedded", where)).to(dtype)(a, b)
    (gradient,) = torch.autograd.grad(distance.sum(), a)
    return distance.detach(), gradient


@BOTH
def test_perceptual_distance(device, dtype):
    with computing_in("float32", device):
        found = measured(device, dtype)
    for ours, expected in zip(found, measured(CPU, dtype), strict=True):
        # The largest of a pool's inputs, which alone gets a gradient, may be another one after rounding.
        assert_close(ours, expected, 1e-3 if dtype == torch.float32 else 1e-4)


@BOTH
def test_encoder(tiny_generator, device, dtype):
    """Latents of pictures, and the gradient of a weighted sum of them in the encoder's weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = new_encoder(EncoderSettings(network="", data="", start=""), tiny_generator).eval()

    def encoded(where):
        network, generator = (copy.deepcopy(one).to(where, dtype) for one in (encoder, tiny_generator))
        image = numbers(2, 3, 32, 32).clamp(-1, 1).to(where, dtype)
        drawn = generator.synthesis(generator.w_avg.expand(2, generator.num_ws, -1))
        ws = network.residual(resized(image, network.resolution), resized(drawn, network.resolution))
        weights = [parameter for parameter in network.model.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad((ws * numbers(*ws.shape, seed=1).to(ws)).sum(), weights, allow_unused=True)
        return [ws.detach(), *(gradient for gradient in gradients if gradient is not None)]

    with computing_in("float32", device):
        found = encoded(device)
    expected = encoded(CPU)
    assert len(found) == len(expected) > 3
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours, theirs, 1e-3 if dtype == torch.float32 else 1e-4)


@BOTH
def test_tuning(tiny_generator, device, dtype):
    """The picture with tuned weights, and its gradient in the factors."""

    def tuned(where):
        network = copy.deepcopy(tiny_generator).to(where, dtype)
        factors = {}
        for index, (name, weight) in enumerate(tunable(network).items()):
            shapes = (weight.shape[0], 2), (2, weight[0].numel())
            factors[name] = tuple(
                (numbers(*shape, seed=index).to(where, dtype) / 10).requires_grad_(True) for shape in shapes
            )
        image = draw(network, numbers(1, network.num_ws, network.w_dim).to(where, dtype), None, factors)
        leaves = [factor for pair in factors.values() for factor in pair]
        gradients = torch.autograd.grad((image * numbers(*image.shape, seed=1).to(image)).sum(), leaves)
        return [image.detach(), *gradients]

    with computing_in("float32", device):
        found = tuned(device)
    for ours, theirs in zip(found, tuned(CPU), strict=True):
        assert_close(ours, theirs)

"""Inversion on a device that refuses what a GPU would: steps never wait, nothing is float64 or on the wrong device.

The results are those of the CPU. The device is that of tests/pretend_device.py, and needs no GPU.
"""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from pretend_device import DEVICE

from inversion import invert_images
from inversion.encoders.encoder import start_from_encoder
from inversion.encoders.training import EncoderSettings, new_encoder
from inversion.losses.loss import LossWeights
from inversion.losses.perceptual import load_perceptual
from inversion.metrics import measure
from inversion.optim.optimisation import Optimisation
from inversion.optim.pivotal_tuning import Tuning
from inversion.optim.preconditioner import PreconditionerSettings, measure_preconditioner
from inversion.optim.projector import forget_captured_steps
from inversion.presets import PRECONDITIONED_PRESETS, PRESETS, LbfgsSettings

STEPS = 6


@pytest.fixture(autouse=True)
def nothing_kept():
    yield
    forget_captured_steps()


@pytest.fixture
def photos(tiny_generator):
    with torch.no_grad():
        w = tiny_generator.sample_w(2, seed=5)
        return tiny_generator.synthesis(tiny_generator.mapping.truncate(w, 0.8)).clamp(-1, 1)


@pytest.fixture
def strict(pretend, monkeypatch):
    """Every step of optimisation and tuning may not wait for the device, nor the device for the host."""
    for kind, name in ((Optimisation, "step"), (Tuning, "step"), (Tuning, "local_step")):
        monkeypatch.setattr(kind, name, on_the_device_strictly(pretend, getattr(kind, name)))
    return pretend


def on_the_device_strictly(pretend, step):
    inside = pretend.strict(step)
    return lambda self: (inside if self.network.w_avg.device == DEVICE else step)(self)


def there(module):
    return copy.deepcopy(module).to(DEVICE)


def warm_up(network):
    """What the first use copies to the device and keeps."""
    distance = load_perceptual("embedded", DEVICE)
    with torch.no_grad():
        distance.features(network.synthesis(network.w_avg.expand(1, network.num_ws, -1)))


def short(plan):
    """A preset with few steps, and gentle ones, as networks without training need."""
    gentle = LbfgsSettings(step=0.05, memory=3)

    def shortened(settings):
        return settings and dataclasses.replace(settings, num_steps=STEPS, lbfgs=settings.lbfgs and gentle)

    tuning = plan.tuning and dataclasses.replace(plan.tuning, num_steps=STEPS, rank=2)
    return dataclasses.replace(
        plan, refinement=shortened(plan.refinement), optimiser=shortened(plan.optimiser), tuning=tuning
    )


PATHS = [
    ("fast", True),
    ("balanced", True),
    ("balanced", False),
    pytest.param("best", True, marks=pytest.mark.slow),
    ("paper", False),
]


@pytest.mark.parametrize(("name", "preconditioned"), PATHS)
def test_presets(strict, monkeypatch, tiny_generator, tiny_preconditioner, photos, name, preconditioned):
    plans = PRECONDITIONED_PRESETS if preconditioned else PRESETS
    monkeypatch.setitem(plans, name, short(plans[name]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = new_encoder(EncoderSettings(network="", data="", start=""), tiny_generator).eval()
    chosen = {"preconditioner": tiny_preconditioner} if preconditioned else {}
    options = {"preset": name, "seed": 1, **chosen, **({} if name == "paper" else {"encoder": encoder})}
    network = there(tiny_generator)
    warm_up(network)
    if preconditioned:
        options["preconditioner"] = tiny_preconditioner.to(DEVICE)
    found = invert_images(photos, network, execution="graph", **options)
    assert strict.operators > 500
    if preconditioned:
        options["preconditioner"] = tiny_preconditioner
    if name != "paper":
        options["encoder"] = encoder.to("cpu")
    expected = invert_images(photos, tiny_generator, **options)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.ws.device.type == "cpu"
        moved = (theirs.ws - tiny_generator.w_avg).norm()
        assert (ours.ws - theirs.ws).norm() < 0.03 * moved  # steps amplify rounding
        assert ours.losses["total"] == pytest.approx(theirs.losses["total"], rel=0.01)
        assert (ours.tuned is None) == (theirs.tuned is None)


@pytest.mark.parametrize("kind", ["masks and pixels", "alias-free"])
def test_other_targets(strict, tiny_generator, tiny_alias_free, photos, kind):
    network = there(tiny_alias_free() if kind == "alias-free" else tiny_generator)
    warm_up(network)
    options = {}
    if kind == "masks and pixels":
        options["masks"] = torch.ones(2, 1, 32, 32)
        options["masks"][..., :9] = 0
    found = invert_images(photos, network, num_steps=3, seed=1, execution="graph", **options)
    assert all(one.ws.isfinite().all() for one in found)
    assert strict.operators > 100


def test_encoder(pretend, tiny_generator, photos):
    encoder = new_encoder(EncoderSettings(network="", data="", start=""), tiny_generator).eval()
    expected = start_from_encoder(encoder, photos, tiny_generator, 3)
    network, moved, images = there(tiny_generator), there(encoder), photos.to(DEVICE)
    start_from_encoder(moved, images, network, 3)
    with pretend.step():
        found = start_from_encoder(moved, images, network, 3)
    torch.testing.assert_close(found.cpu(), expected)


def test_measuring_a_preconditioner(pretend, tiny_generator):
    settings = PreconditionerSettings(pictures=4, probes=2, rank=6, batch=4)
    found, expected = (measure_preconditioner(one, settings) for one in (there(tiny_generator), tiny_generator))
    torch.testing.assert_close(found.covariance, expected.covariance)
    torch.testing.assert_close(found.values, expected.values, rtol=1e-3, atol=0)


def test_measures(pretend, photos):
    here, elsewhere = (measure(photos[:1], photos[1:], load_perceptual("embedded", one)) for one in ("cpu", DEVICE))
    assert here == elsewhere


def test_weights_of_all_terms(strict, tiny_generator, photos):
    """A step that has every term of the loss, on the network of the plain preset."""
    from inversion.losses.loss import Target
    from inversion.optim.projector import optimise
    from inversion.presets import BALANCED

    network = there(tiny_generator)
    warm_up(network)
    settings = dataclasses.replace(BALANCED, num_steps=3, weights=LossWeights(1.0, 2.0, 1e5, 0.1, 0.3))
    target = Target(photos.to(DEVICE), load_perceptual("embedded", DEVICE))
    latents, losses = optimise(network, target, settings, seed=0)
    assert losses.isfinite().all().cpu()
    assert latents.w.device == DEVICE

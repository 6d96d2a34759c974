"""What every test may use: two tiny seeded networks, nothing downloaded, no cache of the user's touched."""

from __future__ import annotations

import copy
import functools
import os
import sys
import tempfile
from pathlib import Path

import pytest

# pytest puts tests/ on the path, and tests/stylegan must not be taken for the package of that name.
sys.path.insert(0, str(Path(__file__).parents[1]))

for name in ("RELATENT_CACHE", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "MPLCONFIGDIR"):  # some are read on import
    os.environ[name] = str(Path(tempfile.gettempdir()) / "relatent-test-cache" / name)

BROWSER = "tests/relatent/web/browser/"


def pytest_addoption(parser):
    parser.addoption("--device", default=None, help="Where the tests marked cuda compute; cpu rehearses them.")


def pytest_xdist_auto_num_workers(config):
    """Processes for the tests: as many as processors, four at most; none for single files, which would only wait."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, 4) if whole and count > 1 else 0


def pytest_xdist_make_scheduler(config, log):
    """A process takes one file at a time, or all tests in the browser: they share one page and one Chromium."""
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return BROWSER if nodeid.startswith(BROWSER) else super()._split_scope(nodeid)

    return Files(config, log)


def pytest_collection_modifyitems(items):
    """The browser first: these tests are the longest that one process has to do alone, and others end beside them."""
    import torch  # not above: the process that only hands out tests does not wait for it

    torch.set_num_threads(1)  # tiny networks gain nothing from more, and lose much on a busy machine
    items.sort(key=lambda item: not item.nodeid.startswith(BROWSER))


@pytest.fixture
def set_default_dtype():
    """torch.set_default_dtype for the length of a test."""
    import torch

    before = torch.get_default_dtype()
    yield torch.set_default_dtype
    torch.set_default_dtype(before)


@pytest.fixture
def pretend(monkeypatch):
    """The device of tests/pretend_device.py, entered, and with PyTorch's fused Adam for it."""
    from pretend_device import DEVICE, PretendDevice

    from inversion.losses.perceptual import _load
    from inversion.optim.preconditioner_file import _kept
    from inversion.stages import _embedded_encoder
    from stylegan.networks.ops import _kept_kernel
    from stylegan.training.data.ada import _grey_axis
    from stylegan.training.data.batches import _epoch_order

    kinds = ["cpu", DEVICE.type]
    for name in ("adam", "optimizer"):  # PyTorch hides the modules, and moved the list from one to the other
        module = sys.modules[f"torch.optim.{name}"]
        monkeypatch.setattr(module, "_get_fused_kernels_supported_devices", lambda: kinds, raising=False)
    # They hold tensors of the device, or real ones of "meta" from before.
    caches = (_load, _kept, _embedded_encoder, _kept_kernel, _grey_axis, _epoch_order)
    for cache in caches:
        cache.cache_clear()
    with PretendDevice() as device:
        yield device
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def tiny_generator():
    """A generator of 32 px as `stylegan.load` would return it: frozen, with noise and a true w_avg."""
    return copy.deepcopy(_tiny_generator())


@functools.cache
def _tiny_generator():
    import torch

    from stylegan import Generator, GeneratorConfig

    config = GeneratorConfig(
        resolution=32, z_dim=16, w_dim=24, mapping_layers=2, channel_base=256, channel_max=16, conv_clamp=256
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = Generator(config, name="tiny")
    for layer in generator.synthesis.layers:
        torch.nn.init.constant_(layer.noise_strength, 0.3)
    generator.recompute_w_avg()
    return generator.eval().requires_grad_(False)


@pytest.fixture
def tiny_file(tiny_generator, tmp_path):
    """The tiny network as a file, cropping faces as the embedded one does."""
    from relatent.core.alignment import Alignment
    from stylegan import save_generator

    tiny_generator.alignment = Alignment(0.62, 0.08)
    path = tmp_path / "networks" / "tiny.safetensors"
    save_generator(tiny_generator, path)
    return path


@pytest.fixture
def tiny_alias_free():
    """A function that makes alias-free generators of 32 px, as `tiny_generator`; keywords change the configuration."""
    return lambda **changes: copy.deepcopy(_tiny_alias_free(**changes))


@functools.cache
def _tiny_alias_free(**changes):
    import torch

    from stylegan import AliasFreeConfig, Generator

    sizes = {"resolution": 32, "z_dim": 16, "w_dim": 24, "channel_base": 256, "channel_max": 16}
    config = AliasFreeConfig(**{**sizes, "num_layers": 4, "num_critical": 1, **changes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = Generator(config, name="smooth")
        torch.nn.init.normal_(generator.synthesis.input.affine.weight, std=0.2)  # else all are placed alike
    for index, layer in enumerate(generator.synthesis.layers):
        torch.nn.init.constant_(layer.magnitude_ema, 0.5 + 0.1 * index)
    generator.recompute_w_avg()
    return generator.eval().requires_grad_(False)


@pytest.fixture
def tiny_discriminator():
    """A discriminator for the tiny generator's pictures."""
    import torch

    from stylegan import Discriminator, DiscriminatorConfig

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Discriminator(DiscriminatorConfig(resolution=32, channel_base=256, channel_max=16))

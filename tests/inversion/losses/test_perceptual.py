"""The published distances: equal to the lpips package's, from fetched files alone, never by a download."""

import dataclasses
import json
import socket
import urllib.request

import pytest
import torch
from click.testing import CliRunner

from inversion.batch.run import project_photos
from inversion.config import InvertConfig
from inversion.losses import perceptual as module
from inversion.losses.perceptual import _silent_lpips, load_perceptual
from inversion.project import demo_photo, main
from relatent.core.errors import CheckpointError, MissingWeightsError, UsageError, WeightsError
from weights import manifest
from weights.fetching.cache import place_of

NETWORKS = {"vgg": "vgg16", "alex": "alexnet", "squeeze": "squeezenet1_1"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RELATENT_CACHE", str(tmp_path / "cache"))
    module._load.cache_clear()
    yield
    module._load.cache_clear()


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Every known way out is a failure."""

    def refuse(*_, **__):
        raise AssertionError("something was to be downloaded")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)


@pytest.fixture
def put(monkeypatch):
    """Puts a file with these weights where the fetched backbone would be, whatever hash is published."""
    known = {name: dataclasses.replace(entry, sha256=None) for name, entry in manifest.entries().items()}
    monkeypatch.setattr(manifest, "entries", lambda: known)

    def write(name, weights, **options):
        path = place_of(known[f"lpips-{name}"])
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(weights, path, **options)
        return path

    return write


def random_features(name):
    """The feature layers of torchvision's network, random, as torchvision's module."""
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # On "meta" the large layers behind the features cost nothing.
        with torch.device("meta"):
            features = getattr(torchvision.models, NETWORKS[name])(weights=None).features
        features.to_empty(device="cpu")
        for p in features.parameters():
            torch.nn.init.normal_(p, std=(2 / p[0].numel()) ** 0.5 if p.ndim == 4 else 0.05)
    return features.eval().requires_grad_(False)


def as_published(features):
    """Their state under torchvision's names, and something of the classifier behind them."""
    weights = {f"features.{name}": tensor for name, tensor in features.state_dict().items()}
    return weights | {"classifier.6.bias": torch.zeros(3)}


def pictures(count, size, seed):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("name", NETWORKS)
def test_equals_the_lpips_package(put, name):
    features = random_features(name)
    put(name, as_published(features))
    ours = load_perceptual(name)
    assert ours.backbone == name
    assert not any(p.requires_grad for p in ours.parameters())

    theirs = _silent_lpips(name, heads=True)
    for part in theirs.net.children():
        for number, layer in part.named_children():
            layer.load_state_dict(features[int(number)].state_dict())
    a, b = pictures(2, 64, seed=1), pictures(2, 64, seed=2)
    torch.testing.assert_close(ours(a, b), theirs(a, b).flatten(), rtol=1e-4, atol=1e-6)
    assert (ours(a, b) > 0).all()


def test_the_older_layout_of_torch_save(put):
    put("squeeze", as_published(random_features("squeeze")), _use_new_zipfile_serialization=False)
    assert load_perceptual("squeeze").backbone == "squeeze"


@pytest.mark.parametrize("name", ["embedded", "squeeze"])
def test_is_float32_and_the_same_whatever_the_default_dtype_is(put, name, set_default_dtype):
    put("squeeze", as_published(random_features("squeeze")))
    usual = load_perceptual(name)
    module._load.cache_clear()
    set_default_dtype(torch.float64)
    ours = load_perceptual(name)
    assert {tensor.dtype for tensor in (*ours.parameters(), *ours.buffers())} == {torch.float32}
    set_default_dtype(torch.float32)
    a, b = pictures(1, 64, seed=1), pictures(1, 64, seed=2)
    assert torch.equal(ours(a, b), usual(a, b))


@pytest.mark.parametrize("size", [16, 300])
def test_sizes_are_brought_into_range_as_with_the_embedded_backbone(put, size):
    put("squeeze", as_published(random_features("squeeze")))
    a, b = pictures(1, size, seed=1), pictures(1, size, seed=2)
    ours = load_perceptual("squeeze")
    torch.testing.assert_close(ours(a, b), ours(module.fit_size(a), module.fit_size(b)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: {n: t for n, t in w.items() if n != "features.0.bias"}, "missing"),
        (lambda w: w | {"features.0.bias": torch.zeros(3)}, "belongs"),
        (lambda w: w | {"features.99.bias": torch.zeros(3)}, "unexpected"),
        (lambda w: {"state_dict": w}, "no table of weights"),
        (lambda w: [1, 2], "no table of weights"),
    ],
)
def test_another_file_is_refused(put, change, words):
    path = put("squeeze", change(as_published(random_features("squeeze"))))
    with pytest.raises(CheckpointError, match=words) as caught:
        load_perceptual("squeeze")
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_as_published_is_refused():
    path = place_of(manifest.find_entry("lpips-alex"))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PK")
    with pytest.raises(WeightsError, match="published was 7be5be79"):
        load_perceptual("alex")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_missing_backbone_names_the_command(name):
    with pytest.raises(MissingWeightsError, match=f"python -m weights fetch lpips-{name}"):
        load_perceptual(name)
    assert issubclass(MissingWeightsError, UsageError)


def test_the_command_says_so_before_any_work(tmp_path):
    result = CliRunner().invoke(main, ["--demo", "--lpips", "vgg", "--outdir", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "python -m weights fetch lpips-vgg" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("few_steps")
def test_reports_name_the_backbone(put, tiny_file, tmp_path):
    put("squeeze", as_published(random_features("squeeze")))
    config = InvertConfig(lpips="squeeze", align=False)
    (outcome,) = project_photos([demo_photo()], tmp_path / "out", tiny_file, config)
    assert outcome.status == "done"
    report = json.loads((tmp_path / "out" / "astronaut" / "report.json").read_text())
    assert report["lpips_trunk"] == "squeeze"
    assert report["settings"]["lpips"] == "squeeze"


def test_the_embedded_backbone_needs_no_network():
    assert load_perceptual().backbone == "faces-backbone"

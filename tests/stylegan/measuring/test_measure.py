import dataclasses
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from skimage import data

from relatent.core.errors import CheckpointError, DatasetError, MissingWeightsError, ShapeError, UsageError
from stylegan.__main__ import main
from stylegan.measuring.config import MetricsConfig
from stylegan.measuring.features import BackboneFeatures, InceptionFeatures, in_colour, open_features
from stylegan.measuring.measure import as_uint8, compare, measure
from stylegan.training.metrics import kernel_distance
from stylegan.training.validation import draw_samples

CPU = torch.device("cpu")
SMALL = MetricsConfig(samples=20, paths=2, separability_samples=0, features="backbone")


@pytest.fixture(scope="module")
def backbone():
    return BackboneFeatures(CPU)


def test_a_generators_own_pictures_reach_the_floor(tiny_generator, backbone):
    real = as_uint8(draw_samples(tiny_generator, 60, seed=9))
    noise = torch.randint(0, 256, (60, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(60) % 2
    near = measure(tiny_generator, real, labels, [backbone], dataclasses.replace(SMALL, separability_samples=30))
    far = measure(tiny_generator, noise, labels, [backbone], dataclasses.replace(SMALL, paths=0))
    one, other = (found.measures["backbone"]["frechet"] for found in (near, far))
    assert one.generated_half < 2 * one.floor
    assert other.generated_half > 5 * other.floor
    assert set(near.measures) == {"backbone"}
    assert len(near.latent) == 6
    assert near.counts == {"generated": 20, "real": 40, "half": 20}
    table = near.table()
    assert "real against real" in table
    assert "FID" not in table
    assert "KID" not in table
    assert "Inception" not in table
    assert json.loads(near.to_json())["measures"]["backbone"]["kernel"].keys() == {
        "generated",
        "generated_half",
        "floor",
    }


def test_floor_and_generated_half_are_computed_alike(tiny_generator, backbone):
    """With the real pictures drawn from the same latents, the first half against itself is at distance 0."""
    real = as_uint8(draw_samples(tiny_generator, 20, seed=0))
    features = backbone.of(real)[0]
    logits = torch.zeros(20, 3)
    assert compare(features, features, logits)["frechet"] == pytest.approx(0, abs=0.01)
    assert compare(features, features, logits)["precision"] == 1


def test_kernel_distance_has_the_scale_of_kid(tiny_generator, backbone):
    """The cubic kernel is dominated by its constant where features are small, and explodes where they are large."""
    face = Image.fromarray(data.astronaut()[40:240, 120:320]).resize((64, 64))
    photo = torch.from_numpy(np.array(face)).permute(2, 0, 1)[None]
    scaled = backbone.kernel_scale * backbone.of(photo)[0]
    assert 0.5 < scaled.square().mean().sqrt() < 2
    real, noise = backbone.of(as_uint8(draw_samples(tiny_generator, 20)))[0], torch.randn(20, 512)
    logits = torch.zeros(20, 3)
    found = compare(noise, real, logits, kernel_scale=backbone.kernel_scale)["kernel"]
    assert found == pytest.approx(1000 * kernel_distance(noise / 8.5, real / 8.5))
    assert 0 < found < 1e5
    assert InceptionFeatures.kernel_scale == 1


def test_too_few_real_pictures(tiny_generator, backbone):
    with pytest.raises(DatasetError, match="too few to measure"):
        measure(tiny_generator, torch.zeros(39, 3, 32, 32, dtype=torch.uint8), None, [backbone], SMALL)


def test_real_pictures_that_are_all_the_same(tiny_generator, backbone):
    real = torch.full((60, 3, 32, 32), 90, dtype=torch.uint8)  # more than go through the backbone at once
    with pytest.raises(DatasetError, match="all 60 real pictures are the same"):
        measure(tiny_generator, real, None, [backbone], dataclasses.replace(SMALL, samples=30))


def test_more_neighbours_than_half_of_the_pictures_have(tiny_generator, backbone):
    real = torch.zeros(40, 3, 32, 32, dtype=torch.uint8)
    config = dataclasses.replace(SMALL, neighbours=20)
    with pytest.raises(UsageError, match=r"--neighbours is 20.*at most 19\. Lower --neighbours"):
        measure(tiny_generator, real, None, [backbone], config)


@pytest.mark.parametrize("seed", [-(2**63), 2**63 - 1])
def test_every_seed_that_is_allowed_measures(tiny_generator, backbone, seed):
    real = torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    config = dataclasses.replace(SMALL, seed=seed, separability_samples=20)
    assert measure(tiny_generator, real, None, [backbone], config).counts["half"] == 20


def test_choices_are_checked():
    with pytest.raises(UsageError, match="samples"):
        MetricsConfig(samples=3)
    with pytest.raises(UsageError, match="features"):
        MetricsConfig(features="vgg")


def test_grey_pictures_count_as_colour(backbone):
    grey = torch.randint(0, 256, (3, 1, 16, 16), dtype=torch.uint8)
    assert torch.equal(backbone.of(grey)[0], backbone.of(in_colour(grey))[0])
    with pytest.raises(ShapeError, match="uint8"):
        in_colour(grey.float())


class TestInception:
    @pytest.fixture
    def weights(self, tmp_path):
        """A file of the published layout with random weights."""
        module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
        with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng([]):
            torch.manual_seed(0)
            patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
            patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
            network = module.FeatureExtractorInceptionV3("inception", ["2048"])
        path = tmp_path / "inception.pth"
        torch.save(network.state_dict(), path)
        return path

    @pytest.mark.slow  # the library draws its initial weights slowly
    def test_of_the_library_from_a_file_read_as_data(self, weights):
        network = InceptionFeatures(CPU, weights)
        images = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
        features, logits = network.of(images)
        assert features.shape == (2, 2048)
        assert logits.shape == (2, 1008)
        assert torch.equal(features, network.network(images.expand(-1, 3, -1, -1))[0])

    @pytest.mark.slow
    def test_what_is_no_such_file(self, tmp_path):
        pytest.importorskip("torch_fidelity")
        torch.save({"a": torch.zeros(3)}, tmp_path / "other.pth")
        with pytest.raises(CheckpointError, match="FID's Inception"):
            InceptionFeatures(CPU, tmp_path / "other.pth")
        torch.save([1, 2], tmp_path / "list.pth")
        with pytest.raises(CheckpointError, match="table of weights"):
            InceptionFeatures(CPU, tmp_path / "list.pth")

    def test_not_fetched(self):
        pytest.importorskip("torch_fidelity")
        with pytest.raises(MissingWeightsError, match="fetch inception-v3"):
            open_features("inception", CPU)
        assert [one.name for one in open_features("available", CPU)] == ["backbone"]


def test_the_command(tiny_file, tmp_path):
    folder = tmp_path / "real"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(40):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    out = tmp_path / "measures.json"
    arguments = ["metrics", str(tiny_file), "--data", str(folder), "--samples", "20", "--paths", "0"]
    done = CliRunner().invoke(main, [*arguments, "--separability-samples", "0", "--out", str(out), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert "Frechet distance (backbone)" in done.output
    assert "fetch inception-v3" in done.output
    assert json.loads(out.read_text())["counts"]["half"] == 20
    missing = CliRunner().invoke(main, ["metrics", str(tiny_file), "--data", str(tmp_path / "nowhere")])
    assert missing.exit_code == 1
    assert "error:" in missing.output

"""The perceptual backbone: equal to lpips on the same weights, honest files only, sensible distances."""

import hashlib
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from relatent.core.errors import CheckpointError, ShapeError
from stylegan.networks.backbone import (
    FORMAT,
    LAYERS,
    MIN_SIDE,
    WIDTHS,
    Backbone,
    enlarge_small,
    load_backbone,
    sum_over_layers,
    unit_length,
)
from weights.embedded import backbone_path

SHARED = Path(__file__).parents[3].parent / "shared"
EMBEDDED = pytest.mark.skipif(not backbone_path().is_file(), reason="the backbone's file has not been made yet")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_backbone(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        backbone = Backbone("random")
        for p in backbone.parameters():
            torch.nn.init.normal_(p, std=(2 / p[0].numel()) ** 0.5 if p.ndim == 4 else 0.05)
    return backbone.eval().requires_grad_(False)


def pictures(n, side=64, seed=1, width=None):
    noise = torch.randn(n, 3, 9, 9, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, size=(side, width or side), mode="bicubic").clamp(-1, 1)


def lpips_of(backbone, heads):
    """lpips' own SqueezeNet distance on the backbone's weights, with uniform heads of weight 1 or without heads."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*'pretrained' is deprecated", category=UserWarning)
        warnings.filterwarnings("ignore", message="Arguments other than a weight enum", category=UserWarning)
        import lpips

        model = lpips.LPIPS(net="squeeze", pnet_rand=True, pretrained=False, lpips=heads, verbose=False)
    weights = {name.split(".", 1)[1]: tensor for name, tensor in backbone.state_dict().items()}
    model.net.load_state_dict({name: weights[name.split(".", 1)[1]] for name in model.net.state_dict()}, strict=True)
    for head in model.lins if heads else []:
        torch.nn.init.ones_(head.model[-1].weight)
    return model.eval().requires_grad_(False)


class TestAgainstLpips:
    @pytest.mark.parametrize(("height", "width"), [(64, 64), (97, 75), (128, 128)])
    def test_taps(self, height, width):
        backbone = random_backbone()
        model, image = lpips_of(backbone, heads=True), pictures(2, height, width=width)
        theirs, ours = model.net(model.scaling_layer(image)), backbone(image)
        assert [feature.shape[1] for feature in ours] == list(WIDTHS)
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize("heads", [True, False])
    def test_distance(self, heads):
        backbone = random_backbone(seed=3)
        a, b = pictures(3, 80, seed=4), pictures(3, 80, seed=5)
        expected = lpips_of(backbone, heads)(a, b).flatten()
        torch.testing.assert_close(backbone.distance(a, b), expected, atol=1e-5, rtol=1e-5)

    def test_names_are_torchvisions(self):
        import torchvision

        theirs = torchvision.models.squeezenet1_1(weights=None).features.state_dict()
        ours = random_backbone().state_dict()
        assert {n.removeprefix("features."): t.shape for n, t in ours.items()} == {
            n: t.shape for n, t in theirs.items()
        }


class TestDistance:
    def test_identical_pictures_are_at_distance_zero(self):
        image = pictures(2)
        assert random_backbone().distance(image, image.clone()).tolist() == [0.0, 0.0]

    def test_symmetric(self):
        backbone, a, b = random_backbone(), pictures(2, seed=6), pictures(2, seed=7)
        torch.testing.assert_close(backbone.distance(a, b), backbone.distance(b, a))
        assert (backbone.distance(a, b) > 0).all()

    def test_a_photos_value_does_not_depend_on_the_batch(self):
        backbone, a, b = random_backbone(), pictures(5, seed=8), pictures(5, seed=9)
        alone = torch.cat([backbone.distance(a[i : i + 1], b[i : i + 1]) for i in range(5)])
        torch.testing.assert_close(backbone.distance(a, b), alone, atol=1e-6, rtol=1e-5)

    def test_one_target_serves_many_pictures(self):
        backbone, a, b = random_backbone(), pictures(1, seed=8), pictures(3, seed=9)
        torch.testing.assert_close(
            backbone.distance_to(backbone.normalised(a), b), backbone.distance(a.repeat(3, 1, 1, 1), b)
        )

    def test_by_hand(self):
        ours, theirs = torch.tensor([[[[3.0]], [[4.0]]]]), torch.tensor([[[[0.0]], [[2.0]]]])
        square = (unit_length(ours) - unit_length(theirs)).square()
        assert float(sum_over_layers([square, square])) == pytest.approx(2 * (0.6**2 + 0.2**2))

    def test_zero_features_stay_zero_and_have_finite_gradients(self):
        feature = torch.zeros(1, 4, 2, 2, requires_grad=True)
        unit_length(F.relu(feature)).sum().backward()
        assert feature.grad is not None
        assert feature.grad.isfinite().all()

    def test_gradient_reaches_the_picture(self):
        backbone, image = random_backbone(), pictures(1, seed=2).requires_grad_()
        backbone.distance_to(backbone.normalised(pictures(1)), image).sum().backward()
        assert image.grad is not None
        assert image.grad.abs().sum() > 0

    @pytest.mark.parametrize("image", [torch.zeros(3, 64, 64), torch.zeros(1, 1, 64, 64)])
    def test_other_shapes_are_refused(self, image):
        with pytest.raises(ShapeError, match="expected"):
            random_backbone().normalised(image)

    def test_targets_of_another_size_are_refused(self):
        backbone = random_backbone()
        with pytest.raises(ShapeError, match="one size"):
            backbone.distance(pictures(1, 64), pictures(1, 96))
        with pytest.raises(ShapeError, match="one target"):
            backbone.distance(pictures(2), pictures(3))


class TestEnlargeSmall:
    def test_small_pictures_become_64(self):
        image = pictures(1, 32)
        expected = F.interpolate(image, size=(64, 64), mode="bilinear", align_corners=False)
        torch.testing.assert_close(enlarge_small(image), expected)
        assert enlarge_small(pictures(1, 32, width=48)).shape == (1, 3, 64, 96)

    def test_others_are_untouched(self):
        image = pictures(1, MIN_SIDE)
        assert enlarge_small(image) is image

    def test_distances_of_small_pictures_use_it(self):
        backbone, a, b = random_backbone(), pictures(2, 16, seed=1), pictures(2, 16, seed=2)
        torch.testing.assert_close(backbone.distance(a, b), backbone.distance(enlarge_small(a), enlarge_small(b)))


class TestPrecision:
    def test_half_precision_and_channels_last_are_close(self):
        backbone, a, b = random_backbone(), pictures(2, seed=1), pictures(2, seed=2)
        expected = backbone.distance(a, b)
        torch.testing.assert_close(
            backbone.to(memory_format=torch.channels_last).distance(a, b), expected, rtol=1e-4, atol=0
        )
        half = backbone.to(torch.bfloat16)
        assert half(a)[0].dtype == torch.bfloat16
        assert half.distance(a, b).dtype == torch.float32
        torch.testing.assert_close(half.distance(a, b), expected, rtol=0.05, atol=0)

    def test_double_precision_is_kept(self):
        assert random_backbone().double().distance(pictures(1), pictures(1, seed=2)).dtype == torch.float64


class TestLoadTrunk:
    def write(self, path, change=lambda tensors: tensors, metadata=None):
        tensors = {name: t.half().clone() for name, t in random_backbone().state_dict().items()}
        save_file(change(tensors), path, metadata={"format": FORMAT, "name": "mine"} if metadata is None else metadata)
        return path

    def test_a_file_comes_back_frozen(self, tmp_path):
        backbone = load_backbone(self.write(tmp_path / "backbone.safetensors"))
        assert backbone.name == "mine"
        assert not backbone.training
        assert not any(p.requires_grad for p in backbone.parameters())
        torch.testing.assert_close(backbone.features[0].weight, random_backbone().features[0].weight.half().float())

    def test_a_file_of_other_makers_is_named_after_itself(self, tmp_path):
        assert load_backbone(self.write(tmp_path / "theirs.safetensors", metadata={"licence": "MIT"})).name == "theirs"

    @pytest.mark.parametrize(
        "change",
        [
            lambda t: {n: x for n, x in t.items() if n != "features.0.bias"},
            lambda t: t | {"classifier.1.weight": torch.zeros(2)},
            lambda t: t | {"features.0.bias": torch.zeros(65)},
            lambda t: t | {"features.0.bias": torch.full((64,), float("nan"))},
            lambda t: t | {"features.0.bias": torch.zeros(64, dtype=torch.int64)},
            lambda t: {},
        ],
        ids=["missing", "unexpected", "shape", "nan", "integers", "empty"],
    )
    def test_wrong_contents_are_refused(self, tmp_path, change):
        with pytest.raises(CheckpointError, match=r"backbone\.safetensors"):
            load_backbone(self.write(tmp_path / "backbone.safetensors", change))

    def test_another_format_is_refused(self, tmp_path):
        with pytest.raises(CheckpointError, match="relatent-generator-1"):
            load_backbone(self.write(tmp_path / "g.safetensors", metadata={"format": "relatent-generator-1"}))

    @pytest.mark.parametrize("data", [b"", b"\x80\x04K\x01.", b"\xff" * 64, (2**40).to_bytes(8, "little") + b"{}"])
    def test_foreign_bytes_are_refused(self, tmp_path, data):
        path = tmp_path / "backbone.safetensors"
        path.write_bytes(data)
        with pytest.raises(CheckpointError):
            load_backbone(path)

    def test_a_cut_file_and_a_missing_file_are_refused(self, tmp_path):
        path = self.write(tmp_path / "backbone.safetensors")
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(CheckpointError):
            load_backbone(path)
        with pytest.raises(CheckpointError, match="does not exist"):
            load_backbone(tmp_path / "nothing.safetensors")


@EMBEDDED
class TestEmbeddedTrunk:
    def test_it_is_small_named_and_attributed(self):
        from stylegan.formats.checkpoint import read_safetensors

        assert backbone_path().stat().st_size < 2_000_000
        metadata = read_safetensors(backbone_path())[1]
        assert (metadata["format"], metadata["name"]) == (FORMAT, "faces-backbone")
        assert "FairFace" in metadata["attribution"]
        assert "keras-squeezenet" in metadata["attribution"]
        assert metadata["licence"] == "CC BY 4.0"
        assert load_backbone().name == "faces-backbone"

    def test_its_card_names_its_checksum(self):
        digest = hashlib.sha256(backbone_path().read_bytes()).hexdigest()
        assert digest in backbone_path().with_name("README.md").read_text()

    def test_every_tap_answers(self):
        features = load_backbone()(pictures(2))
        assert len(features) == len(LAYERS)
        for feature in features:
            assert feature.isfinite().all()
            assert feature.max() > 0

    def test_distance_grows_with_blur_and_noise(self):
        from relatent.core.images import read_photo, square, to_tensor

        skimage = pytest.importorskip("skimage")
        photo = read_photo(Path(skimage.__file__).parent / "data" / "astronaut.png")
        face = to_tensor(square(photo.pixels[:256, 96:352], 64))
        backbone = load_backbone()
        target = backbone.normalised(face)
        coarse = [F.interpolate(face, size=(s, s), mode="area") for s in (32, 16, 8, 4)]
        blurred = torch.cat([F.interpolate(x, size=(64, 64), mode="bicubic") for x in coarse])
        noise = torch.randn(face.shape, generator=torch.Generator().manual_seed(0))
        noisy = torch.cat([face + noise * sigma for sigma in (0.02, 0.05, 0.1, 0.2, 0.4)])
        for series in (blurred, noisy):
            distances = backbone.distance_to(target, series)
            assert (distances[1:] > distances[:-1]).all(), distances.tolist()
            assert float(distances[0]) > 0
            assert float(distances[-1]) < 14


@EMBEDDED
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the faces and the teacher of ../shared")
def test_embedded_backbone_ranks_as_its_teacher_does():
    """A small version of benchmarks/backbone.py: held-out faces under blur and noise of random strength."""
    from stylegan.training.data.dataset import ImageDataset

    data = ImageDataset(SHARED / "faces" / "fairface-128.zip", 64, "val")
    faces = (
        torch.stack([torch.from_numpy(data.picture(i).copy()).permute(2, 0, 1) for i in range(24)]).float() / 127.5 - 1
    )
    generator = torch.Generator().manual_seed(0)
    strength = torch.rand(24, 1, 1, 1, generator=generator)
    soft = F.interpolate(F.avg_pool2d(faces, 4), size=(64, 64), mode="bilinear")
    others = torch.cat(
        [torch.lerp(faces, soft, strength), faces + torch.randn(faces.shape, generator=generator) * strength * 0.3]
    )
    teacher = load_backbone(SHARED / "perceptual" / "squeezenet11-imagenet.safetensors")
    ours, theirs = (backbone.distance(faces.repeat(2, 1, 1, 1), others) for backbone in (load_backbone(), teacher))
    ranks = torch.stack([values.argsort().argsort().double() for values in (ours, theirs)])
    assert float(torch.corrcoef(ranks)[0, 1]) > 0.9

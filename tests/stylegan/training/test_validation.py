"""The distance to pictures kept back: what it measures, and how it reaches the log."""

import json

import pytest
import torch
from click.testing import CliRunner

from relatent.core.errors import DatasetError
from stylegan.__main__ import main
from stylegan.training.report.diagnosis import Log, describe_run
from stylegan.training.validation import Validation, deep_features, draw_samples

CPU = torch.device("cpu")


def to_uint8(images):
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def test_own_pictures_are_nearer_than_noise(tiny_generator):
    own = to_uint8(draw_samples(tiny_generator, 60, seed=5))
    noise = torch.randint(0, 256, own.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    near, far = (Validation(images, CPU, samples=60).distance(tiny_generator) for images in (own, noise))
    assert 0 <= near < far / 2


def test_the_same_latents_each_time(tiny_generator):
    validation = Validation(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), CPU, samples=4)
    assert validation.distance(tiny_generator) == validation.distance(tiny_generator)


def test_samples_are_clamped_and_follow_psi(tiny_generator):
    images = draw_samples(tiny_generator, 3, psi=0)
    assert images.abs().max() <= 1
    torch.testing.assert_close(images[0], images[1])
    assert not torch.equal(*draw_samples(tiny_generator, 2))


def test_features_do_not_depend_on_chunks():
    from stylegan.networks.backbone import enlarge_small, load_backbone

    images = torch.rand(60, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    backbone = load_backbone()
    whole = backbone(enlarge_small(images))[-1].mean(dim=(2, 3))
    torch.testing.assert_close(deep_features(backbone, images), whole, rtol=1e-4, atol=1e-4)


def test_one_picture_is_too_few():
    with pytest.raises(DatasetError, match="too few"):
        Validation(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), CPU)


class TestCommand:
    SIZES = "--resolution 8 --z-dim 8 --w-dim 8 --mapping-layers 2 --channel-base 64 --channel-max 8 --batch 4"
    SCHEDULE = "--tick 0.004 --snap 2 --kimg 0.016 --device cpu"

    def run(self, data, out, *args):
        return CliRunner().invoke(
            main, ["train", "--data", str(data), "--outdir", str(out), *args, *f"{self.SIZES} {self.SCHEDULE}".split()]
        )

    def test_snapshots_are_measured(self, picture_folder, tmp_path, monkeypatch):
        monkeypatch.setattr("stylegan.training.validation.SAMPLES", 8)
        result = self.run(picture_folder, tmp_path / "r", "--data-folder", "00", "--validation-folder", "01")
        assert result.exit_code == 0, result.output
        lines = [json.loads(line) for line in (tmp_path / "r" / "log.jsonl").read_text().splitlines()]
        assert ["distance" in line for line in lines] == [False, True, False, True]
        assert all(line["distance"] > 0 for line in lines[1::2])
        assert "look at the sample grids" in describe_run(Log(lines))  # two measures tell no trend

    def test_training_on_them_is_refused(self, picture_folder, tmp_path):
        result = self.run(picture_folder, tmp_path / "r", "--validation-folder", "01")
        assert result.exit_code == 1
        assert "20 pictures of the validation folder '01' are trained on, too" in result.output
        assert not (tmp_path / "r").exists()

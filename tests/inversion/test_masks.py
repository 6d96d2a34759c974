"""Masks: what is left out does not matter to the loss, and a mask lies where it was drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from inversion import invert_images
from inversion.losses.loss import LossWeights, Target
from inversion.losses.perceptual import load_perceptual
from inversion.masks import mask_of
from inversion.project import demo_photo, main
from relatent.core.alignment import Alignment
from relatent.core.errors import PhotoError, ShapeError, UsageError
from relatent.core.images import Photo, read_photo
from relatent.face import align_face, centre_square, find_faces
from stylegan import load

CASES = Path(__file__).parents[3] / "shared" / "cases"
WEIGHTS = LossWeights(pixels=5.0)


@pytest.fixture
def photos():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def left_half(count=2, size=32):
    mask = torch.zeros(count, 1, size, size)
    mask[..., : size // 2] = 1
    return mask


class TestLoss:
    def test_a_mask_of_ones_changes_nothing(self, photos):
        drawn, perceptual = photos.flip(0), load_perceptual()
        plain = Target(photos, perceptual).terms(drawn, WEIGHTS)
        torch.testing.assert_close(Target(photos, perceptual, torch.ones(2, 1, 32, 32)).terms(drawn, WEIGHTS), plain)
        half = torch.full((2, 1, 32, 32), 0.5)
        torch.testing.assert_close(Target(photos, perceptual, half).terms(drawn, WEIGHTS), plain)

    def test_pixels_outside_do_not_count(self, photos):
        target = Target(photos, load_perceptual(), left_half())
        pixels = LossWeights(lpips=0.0, pixels=1.0)
        drawn = photos.clone()
        drawn[..., 16:] = 0
        assert target.terms(drawn, pixels).tolist() == [0, 0]
        drawn[..., :16] += 0.1
        torch.testing.assert_close(target.terms(drawn, pixels), torch.full((2,), 0.01), rtol=1e-4, atol=1e-6)

    def test_features_outside_hardly_count(self, photos):
        perceptual = load_perceptual()
        drawn = photos.clone()
        drawn[..., 16:] = drawn.flip(0)[..., 16:]
        outside = Target(photos, perceptual, left_half()).perceptual_distance(drawn)
        inside = Target(photos, perceptual, 1 - left_half()).perceptual_distance(drawn)
        assert (outside < 0.35 * inside).all()  # features near the edge see across it

    def test_each_photo_keeps_its_own(self, photos):
        masks = torch.cat([left_half(1), 1 - left_half(1)])
        target = Target(photos, load_perceptual(), masks)
        together = target.terms(photos.flip(0), WEIGHTS)
        alone = [one.terms(photos.flip(0)[i : i + 1], WEIGHTS) for i, one in enumerate(target.each())]
        torch.testing.assert_close(torch.cat(alone), together)

    def test_the_inversion_follows_what_counts(self, tiny_generator):
        """Two faces side by side in one target: each half's mask brings its own face."""
        with torch.no_grad():
            ws = tiny_generator.mapping.truncate(tiny_generator.sample_w(2, seed=5))
            first, second = tiny_generator.synthesis(ws).clamp(-1, 1).split(1)
        target = torch.cat([first[..., :16], second[..., 16:]], dim=3).expand(2, -1, -1, -1)
        masks = torch.cat([left_half(1), 1 - left_half(1)])
        found = invert_images(target, tiny_generator, num_steps=100, masks=masks)
        drawn = torch.cat([one.tensor(tiny_generator) for one in found])
        errors = (drawn - target).square().mean(dim=1)  # [2, 32, 32]
        left, right = errors[..., :16].mean(dim=(1, 2)), errors[..., 16:].mean(dim=(1, 2))
        assert left[0] < 0.7 * left[1]
        assert right[1] < 0.7 * right[0]

    def test_other_shapes_are_refused(self, photos, tiny_generator):
        for masks in (left_half(1), left_half(2, 16), left_half().int()):
            with pytest.raises(ShapeError, match=r"expected float \[N, 1, 32, 32\]"):
                invert_images(photos, tiny_generator, masks=masks, num_steps=1)


@pytest.fixture(scope="module")
def photo():
    return read_photo(demo_photo())


@pytest.fixture(scope="module")
def aligned(photo):
    (face,) = find_faces(photo.pixels)
    return align_face(photo.pixels, face.landmarks, Alignment(), 64)


class TestPictures:
    def test_auto_is_the_faces_hull(self, photo, aligned):
        mask = mask_of("auto", aligned, photo, Alignment())[0, 0].numpy()
        inside = aligned.landmarks[17:].round().astype(int)  # brows, eyes, nose, mouth
        assert mask[inside[:, 1], inside[:, 0]].min() > 0.9
        assert mask[0].max() == mask[:, 0].max() == 0
        assert 0.1 < mask.mean() < 0.5

    def test_auto_without_landmarks(self, photo):
        square = centre_square(photo.pixels[:300, 80:380], 128)
        mask = mask_of("auto", square, Photo(photo.pixels[:300, 80:380], "me"), Alignment())
        assert 0.02 < float(mask.mean()) < 0.6

    def test_a_picture_over_the_photo(self, photo, aligned, tmp_path):
        drawn = np.zeros(photo.pixels.shape[:2], np.uint8)
        x, y = (aligned.face_to_photo @ [20, 40, 1])[:2].round().astype(int)
        drawn[y - 15 : y + 16, x - 15 : x + 16] = 255
        Image.fromarray(drawn).save(tmp_path / "mask.png")
        mask = mask_of(tmp_path / "mask.png", aligned, photo, Alignment())[0, 0]
        assert mask[40, 20] == 1
        rows, columns = np.nonzero(mask.numpy() > 0.5)
        assert abs(rows.mean() - 40) < 1
        assert abs(columns.mean() - 20) < 1

    def test_one_of_the_face_s_size_lies_on_the_face(self, photo, aligned, tmp_path):
        Image.fromarray((left_half(1, 64)[0, 0] * 255).byte().numpy()).save(tmp_path / "mask.png")
        mask = mask_of(str(tmp_path / "mask.png"), aligned, photo, Alignment())[0, 0]
        assert torch.equal(mask, left_half(1, 64)[0, 0])

    @pytest.mark.parametrize(
        "kind", ["RGBA", "LA", "0 and 1", "0 and 1 in RGB", "boolean", "16 bits", "0 and 1 of 16 bits"]
    )
    def test_however_it_was_written(self, photo, aligned, tmp_path, kind):
        half = left_half(1, 64)[0, 0].numpy() > 0
        picture = Image.fromarray(half.astype(np.uint8) * 255)
        if kind in ("RGBA", "LA"):  # white strokes on nothing
            opacity, picture = picture, Image.new(kind[:-1], (64, 64), "white")
            picture.putalpha(opacity)
        elif kind == "boolean":
            picture = Image.fromarray(half)
            assert picture.mode == "1"
        elif "16" in kind:
            picture = Image.fromarray(half.astype(np.uint16) * (1 if "1 of" in kind else 65535))
        elif "0 and 1" in kind:
            picture = Image.fromarray(half.astype(np.uint8)).convert("RGB" if "RGB" in kind else "L")
        picture.save(tmp_path / "mask.png")
        mask = mask_of(tmp_path / "mask.png", aligned, photo, Alignment())[0, 0]
        assert np.array_equal(mask.numpy(), half)

    def test_half_transparent_counts_half(self, photo, aligned, tmp_path):
        Image.new("RGBA", (64, 64), (255, 255, 255, 51)).save(tmp_path / "mask.png")
        mask = mask_of(tmp_path / "mask.png", aligned, photo, Alignment())
        torch.testing.assert_close(mask, torch.full((1, 1, 64, 64), 0.2))

    @pytest.mark.skipif(not CASES.is_dir(), reason="the pictures are not here")
    @pytest.mark.parametrize("name", ["mask-0-1.png", "mask-white-on-transparent.png"])
    def test_cases(self, photo, aligned, name):
        mask = mask_of(CASES / name, aligned, photo, Alignment())
        assert mask.max() == 1
        assert 0.05 < float(mask.mean()) < 0.95

    def test_refusals(self, photo, aligned, tmp_path):
        Image.new("L", (40, 30), 255).save(tmp_path / "odd.png")
        with pytest.raises(
            PhotoError, match=r"odd.png is 40 x 30; expected the photo's size, 512 x 512, or .* 64 x 64"
        ):
            mask_of(tmp_path / "odd.png", aligned, photo, Alignment())
        Image.new("L", (40, 40), 255).save(tmp_path / "square.png")
        with pytest.raises(PhotoError, match=r"square.png is 40 x 40; expected"):
            mask_of(tmp_path / "square.png", aligned, photo, Alignment())
        with pytest.raises(UsageError, match="the mask came as ndarray"):
            mask_of(np.ones((64, 64)), aligned, photo, Alignment())
        Image.new("L", (64, 64), 0).save(tmp_path / "black.png")
        with pytest.raises(PhotoError, match=r"leaves 0\.0% of the face"):
            mask_of(tmp_path / "black.png", aligned, photo, Alignment())
        with pytest.raises(PhotoError, match="does not exist"):
            mask_of(tmp_path / "nothing.png", aligned, photo, Alignment())


def test_the_command(tiny_file, few_steps, tmp_path):
    args = [str(demo_photo()), "--network", str(tiny_file)]
    result = CliRunner().invoke(main, [*args, "--outdir", str(tmp_path / "out"), "--mask", "auto"])
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out" / "astronaut" / "report.json").read_text())
    assert report["settings"]["mask"] == "auto"
    assert 0.1 < report["mask_share"] < 0.9
    assert f"{report['mask_share']:.0%} of the face counted" in result.stdout
    again = CliRunner().invoke(main, [*args, "--outdir", str(tmp_path / "out")])
    assert "another settings" in again.stderr
    result = CliRunner().invoke(main, [*args, "--outdir", str(tmp_path / "bad"), "--mask", str(tmp_path / "no.png")])
    assert result.exit_code == 1
    assert "no.png does not exist" in result.stderr
    assert load(tiny_file).resolution == 32

"""Pixel conventions: every conversion against numbers written by hand."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from relatent.core.errors import ShapeError
from relatent.core.folders import look_through
from relatent.core.images import (
    encode_png,
    from_uint8,
    grid,
    square,
    to_pixels,
    to_tensor,
)

ALL_VALUES = np.arange(256, dtype=np.uint8)


class TestConversions:
    def test_all_256_values_survive_the_round_trip(self):
        pixels = np.stack([ALL_VALUES, ALL_VALUES[::-1], np.roll(ALL_VALUES, 7)], axis=-1).reshape(16, 16, 3)
        assert np.array_equal(to_pixels(to_tensor(pixels))[0], pixels)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_all_256_values_survive_other_precisions(self, dtype):
        tensor = from_uint8(torch.from_numpy(ALL_VALUES.repeat(3).reshape(1, 16, 16, 3)).permute(0, 3, 1, 2))
        assert np.array_equal(to_pixels(tensor.to(dtype)).ravel(), ALL_VALUES.repeat(3))

    def test_known_values(self):
        values = from_uint8(torch.tensor([0, 51, 102, 153, 204, 255], dtype=torch.uint8))
        torch.testing.assert_close(values, torch.tensor([-1, -0.6, -0.2, 0.2, 0.6, 1]))

    def test_to_pixels_rounds_and_clamps(self):
        # 127.5 * (x + 1): -1.01 -> -1.3, 1.5 -> 318.8; 10 / 127.5 - 1 is pixel 10, and 0.4 or 0.6 of a step above it
        image = torch.tensor([-1.01, 1.5, -torch.inf, torch.inf, 10.4 / 127.5 - 1, 10.6 / 127.5 - 1])
        assert to_pixels(image.expand(1, 3, 1, 6))[0, 0, :, 0].tolist() == [0, 255, 0, 255, 10, 11]

    def test_channels_are_red_green_blue(self):
        pixels = np.zeros((2, 4, 3), np.uint8)
        pixels[0, 3] = (255, 127, 0)
        tensor = to_tensor(pixels)
        assert tensor.shape == (1, 3, 2, 4)
        torch.testing.assert_close(tensor[0, :, 0, 3], torch.tensor([1, 127 / 127.5 - 1, -1]))
        assert to_pixels(tensor)[0, 0, 3].tolist() == [255, 127, 0]

    def test_a_batch_keeps_its_order(self):
        pixels = np.stack([np.full((2, 2, 3), value, np.uint8) for value in (0, 51, 255)])
        tensor = to_tensor(pixels)
        torch.testing.assert_close(tensor.mean(dim=(1, 2, 3)), torch.tensor([-1, -0.6, 1]))
        assert tensor.is_contiguous()
        assert tensor.dtype == torch.float32

    def test_a_tensor_shares_no_memory_with_its_pixels(self):
        pixels = np.zeros((2, 2, 3), np.uint8)
        tensor = to_tensor(pixels)
        pixels[:] = 255
        assert (tensor == -1).all()

    def test_pixels_that_cannot_be_written_or_run_backwards_are_fine(self):
        pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
        pixels.setflags(write=False)
        assert np.array_equal(to_pixels(to_tensor(pixels[::-1, :, ::-1]))[0], pixels[::-1, :, ::-1])

    def test_gradients_and_half_precision_are_fine(self):
        image = torch.zeros(1, 3, 2, 2, dtype=torch.bfloat16, requires_grad=True)
        assert (to_pixels(image) == 128).all()  # 127.5 to the even neighbour

    def test_png_is_lossless(self):
        pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(pixels)))), pixels)

    @pytest.mark.parametrize(
        "pixels",
        [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)],
        ids=["float", "grey", "alpha"],
    )
    def test_wrong_pixels_are_refused(self, pixels):
        with pytest.raises(ShapeError, match=r"expected uint8 \[H, W, 3\]"):
            to_tensor(pixels)
        with pytest.raises(ShapeError, match=r"expected uint8 \[H, W, 3\]"):
            square(pixels, 2)

    @pytest.mark.parametrize(
        "image",
        [torch.zeros(3, 4, 4), torch.zeros(1, 1, 4, 4), torch.zeros(1, 3, 4, 4, dtype=torch.uint8)],
        ids=["no batch", "grey", "bytes"],
    )
    def test_wrong_images_are_refused(self, image):
        with pytest.raises(ShapeError, match=r"expected floats \[N, 3, H, W\]"):
            to_pixels(image)

    def test_floats_are_not_taken_for_bytes(self):
        with pytest.raises(ShapeError, match=r"torch\.float32; expected torch\.uint8"):
            from_uint8(torch.zeros(1))


class TestSquare:
    def test_the_centre_is_cut_from_a_wide_picture(self):
        pixels = np.zeros((4, 8, 3), np.uint8)
        pixels[:, 2:6] = 200
        assert (square(pixels, 4) == 200).all()

    def test_the_centre_is_cut_from_a_tall_picture_with_an_odd_pixel(self):
        pixels = np.zeros((7, 4, 3), np.uint8)  # 3 rows too many: 1 above, 2 below
        pixels[1:5] = 200
        assert (square(pixels, 4) == 200).all()

    def test_whole_number_shrinking_averages_boxes_exactly(self):
        pixels = np.random.default_rng(1).integers(0, 256, (12, 12, 3)).astype(np.uint8)
        means = pixels.reshape(4, 3, 4, 3, 3).mean(axis=(1, 3))  # [4, 4, 3]
        assert np.array_equal(square(pixels, 4), np.floor(means + 0.5).astype(np.uint8))

    def test_other_shrinking_counts_every_pixel(self):
        pixels = np.full((100, 100, 3), 100, np.uint8)
        pixels[::4] = 200  # every fourth row: the mean is 125, and plain sampling of a few rows would miss it
        small = square(pixels, 7).astype(float)
        assert abs(small.mean() - 125) < 1
        assert abs(small - 125).max() < 20

    def test_enlarging_keeps_a_flat_colour(self):
        assert (square(np.full((5, 5, 3), 77, np.uint8), 16) == 77).all()

    def test_the_result_is_a_new_array_that_can_be_written(self):
        pixels = np.zeros((4, 4, 3), np.uint8)
        for size in (2, 3, 4, 8):
            result = square(pixels, size)
            assert result.shape == (size, size, 3)
            result[:] = 9
        assert not pixels.any()

    @pytest.mark.parametrize("size", [0, -1])
    def test_a_side_of_nothing_is_refused(self, size):
        with pytest.raises(ShapeError, match="at least 1"):
            square(np.zeros((4, 4, 3), np.uint8), size)


class TestGrid:
    def test_three_pictures_in_two_columns(self):
        images = torch.stack([torch.full((3, 1, 2), value) for value in (-1.0, -0.6, 0.6)])
        expected = [[0, 0, 51, 51], [204, 204, 255, 255]]  # the fourth place is white
        assert grid(images, 2)[..., 0].tolist() == expected

    def test_one_row_and_one_column(self):
        images = torch.stack([torch.full((3, 2, 1), value) for value in (-1.0, 1.0)])
        assert grid(images, 2)[..., 1].tolist() == [[0, 255], [0, 255]]
        assert grid(images, 1)[..., 2].tolist() == [[0], [0], [255], [255]]

    def test_pixels_stay_where_they_are_inside_a_picture(self):
        images = to_tensor(np.arange(2 * 2 * 3 * 3, dtype=np.uint8).reshape(2, 2, 3, 3))
        assert np.array_equal(grid(images, 1)[2:], to_pixels(images)[1])


class TestFindPhotos:
    def test_sorted_recursive_and_any_case(self, tmp_path):
        wanted = ["IMG_1.HEIC", "a.PNG", "b.jpg", "c/d.Jpeg", "c/e/f.webp", "e.avif", "h.heif", "z.tiff"]
        for name in [*wanted, "notes.txt", "jpg", "c/model.safetensors"]:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "folder.png").mkdir()
        assert [path.relative_to(tmp_path).as_posix() for path in look_through(tmp_path).photos] == wanted

    def test_hidden_files_and_folders_are_skipped_but_not_a_hidden_start(self, tmp_path):
        start = tmp_path / ".cache"
        for name in ("a.png", ".b.png", ".c/d.png", "e/.f/g.png"):
            (start / name).parent.mkdir(parents=True, exist_ok=True)
            (start / name).touch()
        assert look_through(start).photos == [start / "a.png"]

    def test_links_in_circles_and_into_nothing_are_harmless(self, tmp_path):
        (tmp_path / "a.png").touch()
        (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
        (tmp_path / "broken.png").symlink_to(tmp_path / "missing.png")
        (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
        (tmp_path / "linked.png").symlink_to(tmp_path / "a.png")
        assert look_through(tmp_path).photos == [tmp_path / "a.png", tmp_path / "linked.png"]

    def test_nothing_is_passed_over_unnamed(self, tmp_path):
        files = ("a.png", "notes.txt", ".b.png", ".c/d.png", "e/f.mov", "e/g.jpg")
        for name in files:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
        (tmp_path / "broken.png").symlink_to(tmp_path / "missing.png")
        found = look_through(tmp_path)
        assert [path.relative_to(tmp_path).as_posix() for path in found.photos] == ["a.png", "e/g.jpg"]
        others = [path.relative_to(tmp_path).as_posix() for path in found.others]
        assert others == [".b.png", ".c", "broken.png", "e/f.mov", "loop", "notes.txt"]

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="nothing is forbidden to this user")
    def test_a_folder_that_may_not_be_read_is_named(self, tmp_path):
        (tmp_path / "closed").mkdir(mode=0)
        assert look_through(tmp_path).others == [tmp_path / "closed"]

    def test_no_folder_holds_no_photos(self, tmp_path):
        assert look_through(tmp_path / "missing").photos == []
        assert look_through(Path(__file__)).photos == []

"""What an upload may be, and that every refusal names the limit."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from relatent.core.errors import UnreadablePhotoError, UsageError
from relatent.web.uploads import Limits, check_count, check_upload, read_upload

LIMITS = Limits(upload_bytes=20_972, pixels=10_000, photos=2)


def picture(path, width, height):
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(path)
    return path


def test_a_photo_within_the_limits_is_read(tmp_path):
    photo = read_upload(picture(tmp_path / "me.png", 100, 100), LIMITS)
    assert photo.pixels.shape == (100, 100, 3)
    assert photo.name == "me.png"  # and no path of the server


def test_too_many_pixels(tmp_path):
    with pytest.raises(UnreadablePhotoError, match=r"\(101 x 100\); at most 0.01 megapixels"):
        read_upload(picture(tmp_path / "me.png", 101, 100), LIMITS)


def test_too_many_bytes(tmp_path):
    file = tmp_path / "me.png"
    file.write_bytes(bytes(20_973))
    with pytest.raises(UnreadablePhotoError, match=r"at most 0\.02 MB"):
        read_upload(file, LIMITS)
    with pytest.raises(UsageError, match=r"at most 0\.02 MB"):
        check_upload(file, LIMITS)


def test_empty_missing_and_broken_files(tmp_path):
    (tmp_path / "empty.png").touch()
    with pytest.raises(UsageError, match="empty"):
        check_upload(tmp_path / "empty.png", LIMITS)
    with pytest.raises(UsageError, match="Upload it again"):
        check_upload(tmp_path / "gone.png", LIMITS)
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(UnreadablePhotoError, match=r"text\.png is not a picture"):
        read_upload(tmp_path / "text.png", LIMITS)


def test_counts():
    check_count([1, 2], LIMITS)
    with pytest.raises(UsageError, match="3 photos came; at most 2"):
        check_count([1, 2, 3], LIMITS)
    with pytest.raises(UsageError, match="no photo came"):
        check_count([], LIMITS)

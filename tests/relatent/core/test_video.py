import cv2
import numpy as np
import pytest
from PIL import Image

from relatent.core.errors import Cancelled, OutputError, ShapeError, UsageError
from relatent.core.video import enlarged, write_video


def ramp(count, height, width):
    """Frames that differ from each other, dark to bright."""
    return [np.full((height, width, 3), 20 + 10 * index, np.uint8) for index in range(count)]


def read(path):
    """Frames of a video, and its rate."""
    video = cv2.VideoCapture(str(path))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1][..., ::-1])
    return frames, video.get(cv2.CAP_PROP_FPS)


@pytest.mark.parametrize(("size", "stored"), [((16, 24), (16, 24)), ((17, 33), (18, 34)), ((64, 15), (64, 16))])
def test_mp4_has_every_frame_and_even_sides(tmp_path, size, stored):
    frames = ramp(7, *size)
    write_video(iter(frames), tmp_path / "a.mp4", fps=12)
    found, fps = read(tmp_path / "a.mp4")
    assert [frame.shape[:2] for frame in found] == [stored] * 7
    assert fps == 12
    for drawn, frame in zip(found, frames, strict=True):
        assert abs(drawn.astype(float) - frame[0, 0, 0]).max() <= 4  # the padded row and column, too


def test_an_odd_side_is_padded_and_nothing_is_scaled(tmp_path):
    rows = np.linspace(0, 255, 17).round().astype(np.uint8)
    frame = np.broadcast_to(rows[:, None, None], (17, 33, 3))
    write_video([frame] * 3, tmp_path / "a.mp4")
    drawn = read(tmp_path / "a.mp4")[0][0].astype(float)
    assert np.abs(drawn[:17, :33] - frame).max() <= 6
    assert np.abs(drawn[17] - 255).max() <= 6
    assert np.abs(drawn[:, 33] - drawn[:, 32]).max() <= 6


@pytest.mark.parametrize("size", [(16, 24), (17, 33)])
def test_gif_has_every_frame_at_its_size(tmp_path, size):
    frames = ramp(7, *size)
    write_video(frames, tmp_path / "a.GIF", fps=24)
    with Image.open(tmp_path / "a.GIF") as file:
        assert (file.n_frames, file.size, file.info["loop"]) == (7, size[::-1], 0)
        total = 0
        for index, frame in enumerate(frames):
            file.seek(index)
            total += file.info["duration"]
            np.testing.assert_array_equal(np.asarray(file.convert("RGB")), frame)
    assert total == round(7 / 24 * 100) * 10  # 24 a second is no whole number of hundredths; the sum is right


@pytest.mark.parametrize("name", ["a.mp4", "a.gif"])
def test_the_comment_is_in_the_file_on_one_line(tmp_path, name):
    write_video(ramp(2, 16, 16), tmp_path / name, comment="drawn\nby\0 tiny@0123")
    assert b"drawn by tiny@0123" in (tmp_path / name).read_bytes()
    write_video(ramp(2, 16, 16), tmp_path / name)
    assert b"drawn" not in (tmp_path / name).read_bytes()


def test_frames_are_taken_one_at_a_time(tmp_path):
    alive = []

    def frames():
        for frame in ramp(5, 16, 16):
            alive.append(frame)
            yield frame
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        write_video(frames(), tmp_path / "a.mp4")
    assert len(alive) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "fps", "match"),
    [
        ("a.avi", 24, "ends in .mp4 or .gif"),
        ("a", 24, "ends in .mp4 or .gif"),
        ("a.gif", 60, "from 0.1 to 50"),
        ("a.mp4", 0, "from 0.1 to 240"),
        ("a.mp4", 1e-9, "from 0.1 to 240"),
        ("a.gif", 0.001, "from 0.1 to 50"),
        ("a.mp4", None, "expected a number"),
        ("a.mp4", float("nan"), "from 0.1 to 240"),
    ],
)
def test_requests_that_cannot_be_met_draw_nothing(tmp_path, name, fps, match):
    def frames():
        raise AssertionError("a frame was drawn")
        yield

    with pytest.raises(UsageError, match=match):
        write_video(frames(), tmp_path / name, fps)


@pytest.mark.parametrize("name", ["a.mp4", "a.gif"])
def test_frames_that_do_not_fit(tmp_path, name):
    with pytest.raises(UsageError, match="without frames"):
        write_video([], tmp_path / name)
    with pytest.raises(ShapeError, match=r"float64 \[8, 8, 3\]"):
        write_video([np.zeros((8, 8, 3))], tmp_path / name)
    with pytest.raises(ShapeError, match=r"\[8, 8\]"):
        write_video([np.zeros((8, 8), np.uint8)], tmp_path / name)
    with pytest.raises(ShapeError, match=r"expected uint8 \[8, 8, 3\]"):
        write_video([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 10, 3), np.uint8)], tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_one(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="not a folder"):
        write_video(ramp(2, 8, 8), tmp_path / "file" / "a.gif")


def test_no_ffmpeg(tmp_path, monkeypatch):
    import imageio_ffmpeg

    def missing():
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    with pytest.raises(UsageError, match="no ffmpeg"):
        write_video(ramp(2, 8, 8), tmp_path / "a.mp4")


def test_enlarged_is_smooth():
    frame = np.repeat(np.array([[[0] * 3, [200] * 3]], np.uint8), 2, axis=0)  # [2, 2, 3], black beside white
    big = enlarged(frame, 17)
    assert big.shape == (16, 16, 3)
    steps = np.diff(big[0, :, 0].astype(int))
    assert big[0, 0, 0] < 10
    assert big[0, -1, 0] > 190
    assert np.abs(steps).max() < 60  # no edge of a pixel is left
    np.testing.assert_array_equal(enlarged(frame, 1), frame)

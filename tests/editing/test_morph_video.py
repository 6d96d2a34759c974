import pytest
from invented import invented
from PIL import Image

from editing.interpolation import morph
from editing.video import write_morph
from relatent.core.errors import Cancelled, UsageError


@pytest.fixture
def path(tiny_generator):
    return morph([invented(tiny_generator, seed) for seed in (1, 2)], tiny_generator)


def test_frames_are_drawn_as_they_are_written(path, tiny_generator, tmp_path):
    seen = []
    write_morph(
        path,
        str(tmp_path / "a.gif"),
        tiny_generator,
        frames=7,
        batch_size=3,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(number, 7) for number in range(1, 8)]
    with Image.open(tmp_path / "a.gif") as file:
        assert file.size == (256, 256)  # eight times 32
        assert tiny_generator.name.encode() in file.info["comment"]


@pytest.mark.parametrize("name", ["a.gif", "a.mp4"])
def test_cancelled_half_way_nothing_is_left(path, tiny_generator, tmp_path, name):
    with pytest.raises(Cancelled):
        write_morph(path, tmp_path / name, tiny_generator, frames=9, progress=lambda done, _: done < 4)
    assert list(tmp_path.iterdir()) == []


def test_requests_are_checked_first(path, tiny_generator, tmp_path):
    with pytest.raises(UsageError, match="ends in"):
        write_morph(path, tmp_path / "a.webm", tiny_generator)
    with pytest.raises(UsageError, match="from 2 to 100000"):
        write_morph(path, tmp_path / "a.gif", tiny_generator, frames=1)

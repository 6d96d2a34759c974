import json

import pytest
from PIL import Image

from relatent.core.errors import DatasetError, UsageError
from stylegan.training.report.diagnosis import Log, describe_run, write_curves


def log(count=8, **columns):
    lines = []
    for index in range(count):
        line = {"kimg": index + 1, "loss_g": 1.0, "loss_d": 1.0, "real_accuracy": 0.7, "fake_accuracy": 0.7}
        for name, values in columns.items():
            line[name] = values[index] if isinstance(values, list) else values
        lines.append(line)
    return Log(lines)


def test_a_balanced_game():
    text = describe_run(log())
    assert "After 8 thousand pictures" in text
    assert "70% of the real" in text
    assert "balanced" in text


def test_the_discriminator_winning_names_what_to_change():
    text = describe_run(log(real_accuracy=0.97, fake_accuracy=0.95))
    assert "winning" in text
    assert "--augment" in text


def test_only_the_recent_past_counts():
    text = describe_run(log(real_accuracy=[0.99] * 6 + [0.7] * 2, fake_accuracy=[0.99] * 6 + [0.7] * 2))
    assert "balanced" in text


def test_a_weak_discriminator():
    assert "too weak" in describe_run(log(real_accuracy=0.5, fake_accuracy=0.52))


def test_collapse_and_variety():
    assert "collapsed" in describe_run(log(pairwise_fake=0.1, pairwise_real=0.5))
    assert "no collapse" in describe_run(log(pairwise_fake=0.45, pairwise_real=0.5))


def test_progress():
    assert "still falling" in describe_run(log(distance=[8, 7, 6, 5, 4, 3, 2, 1]))
    assert "stopped falling" in describe_run(log(distance=[8, 4, 3, 2, 2, 2, 2, 2]))


def test_curves_are_drawn_from_the_file(tmp_path):
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, log().lines)) + '\n{"kimg": 9, "loss')
    path, text = write_curves(tmp_path)
    with Image.open(path) as picture:
        assert picture.size[0] > 500
    assert "After 8 thousand" in text


def test_what_is_not_a_log(tmp_path):
    with pytest.raises(DatasetError, match="does not exist"):
        write_curves(tmp_path)
    (tmp_path / "log.jsonl").write_text("hello\n[1]\n")
    with pytest.raises(DatasetError, match="no line"):
        write_curves(tmp_path)


DAMAGED = [
    b"\xff\xfe",
    b'{"kimg": "x", "loss_g": 1, "loss_d": 1}',
    b'{"kimg": 1, "loss_g": null, "loss_d": 1}',
    b'{"kimg": 1, "loss_g": [1], "loss_d": {}}',
    b'{"kimg": 1, "loss_g": NaN, "loss_d": true}',
    b'{"kimg": 1' + b"0" * 400 + b', "loss_g": 1, "loss_d": 1}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("line", DAMAGED)
def test_damaged_lines_are_passed_over(tmp_path, line):
    path = tmp_path / "log.jsonl"
    path.write_bytes(line)
    with pytest.raises(DatasetError, match=r"log\.jsonl holds no line .* numbers kimg, loss_d, loss_g"):
        write_curves(tmp_path)
    path.write_bytes(b"\n".join([line, *(json.dumps(one).encode() for one in log().lines)]))
    assert Log.read(path) == log()


def test_values_that_are_no_numbers_leave_gaps(tmp_path):
    lines = [dict(one) for one in log().lines]
    lines[1]["real_accuracy"], lines[2]["loss_g"] = "x", 1e299
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert len(Log.read(tmp_path / "log.jsonl").column("real_accuracy")) == 7
    path, _ = write_curves(tmp_path)
    assert path.is_file()


def test_a_log_that_cannot_be_read(tmp_path):
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(DatasetError, match=r"log\.jsonl cannot be read"):
        write_curves(tmp_path)
    with pytest.raises(DatasetError, match="too long"):
        write_curves(tmp_path / ("n" * 300))


@pytest.mark.parametrize("name", [None, "faces", "Gesicht \u2603 \ud800;", [1]])
def test_curves_replace_their_own_picture_only(tmp_path, name):
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, log().lines)))
    if name:
        (tmp_path / "settings.json").write_text(json.dumps({"name": name}))
    picture = tmp_path / "curves.png"
    Image.new("RGB", (4, 4)).save(picture)
    content = picture.read_bytes()
    with pytest.raises(UsageError, match=r"curves\.png exists, and does not say that Relatent made it"):
        write_curves(tmp_path)
    assert picture.read_bytes() == content
    picture.unlink()
    for _ in range(2):
        write_curves(tmp_path)

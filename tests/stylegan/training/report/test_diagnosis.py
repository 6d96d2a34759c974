import json

import pytest
from PIL import Image

from relatent.core.errors import DatasetError
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

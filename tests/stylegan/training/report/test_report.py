import json
import re

import numpy as np
import pytest
from PIL import Image

from relatent.core.errors import DatasetError
from stylegan.training.report.interpolation import COLUMNS, ROWS, interpolation_frames
from stylegan.training.report.page import as_script_data, report_data, thinned, write_report
from stylegan.training.run import write_snapshot
from stylegan.training.tick import Tick


def tick(kimg, **changes):
    values = {"seconds": 60 * kimg, "seconds_per_kimg": 60.0, "loss_g": 1.0, "loss_d": 1.2, "r1": 0.1}
    values |= {"real_accuracy": 0.97, "fake_accuracy": 0.95, "pairwise_real": 0.5, "pairwise_fake": 0.4}
    return Tick(kimg=kimg, **{**values, "augment": 0.0, "path_length": 0.0, "memory_mb": 1.0, **changes})


@pytest.fixture
def run(tmp_path):
    """The files of a run of eight ticks with two snapshots."""
    lines = [{k: v for k, v in vars(tick(float(k))).items() if v is not None} for k in range(1, 9)]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "settings.json").write_text(
        json.dumps({"name": "<i>x</i>", "data": "a.zip", "generator": {"z_dim": 8}})
    )
    for stamp in (4, 8):
        Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(tmp_path / f"samples-{stamp:06d}.png")
    return tmp_path


def data_of(folder):
    text = (folder / "index.html").read_text()
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


def test_the_page_holds_everything(run):
    write_report(run)
    data = data_of(run)
    assert data["samples"] == [[4, "samples-000004.png", 12], [8, "samples-000008.png", 12]]
    assert [chart["title"] for chart in data["charts"]][:2] == ["Losses", "Discriminator's accuracy"]
    assert data["charts"][0]["lines"][0]["points"][0] == [1, 1]
    assert ["generator.z_dim", "8"] in data["settings"]
    balance = dict(data["readings"])["Balance"]
    assert "winning" in balance
    assert "--augment" in balance


def test_damaged_samples_are_left_out(run):
    (run / "samples-000004.png").write_bytes(b"not a picture")
    (run / "samples-000006.png").mkdir()
    assert report_data(run)["samples"] == [(8, "samples-000008.png", 12)]


@pytest.mark.parametrize(("seconds", "text"), [(62, "62 seconds"), (480, "8 minutes"), (8640, "2.4 hours")])
def test_the_summary_says_how_long_it_took(run, seconds, text):
    line = {"kimg": 8.0, "loss_g": 1.0, "loss_d": 1.0, "seconds": seconds}
    (run / "log.jsonl").write_text(json.dumps(line))
    assert f"8 thousand pictures in {text}; data: a.zip" in report_data(run)["summary"]


def test_columns_that_are_off_have_no_chart(run):
    titles = [chart["title"] for chart in report_data(run)["charts"]]
    assert "Augmentation strength" not in titles
    assert "Distance to real pictures" not in titles


def test_it_needs_nothing_from_elsewhere_and_runs_nothing_of_the_settings(run):
    text = write_report(run).read_text()
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert "<i>x" not in text
    assert "</script" not in as_script_data({"a": "</script><script>alert(1)</script>"})
    assert json.loads(as_script_data(["<&>\u2028"])) == ["<&>\u2028"]


def test_measures_of_snapshots_become_a_curve(run):
    for stamp, value in ((4, 20.0), (8, 10.0)):
        one = {"generated": 3185 * value, "generated_half": value + 1, "floor": 2.0}
        found = {"measures": {"backbone": {"frechet": one}}, "latent": {"path length": 3.0}, "counts": {"half": 50}}
        (run / f"network-{stamp:06d}.metrics.json").write_text(json.dumps(found))
    data = report_data(run)
    chart = data["charts"][-1]
    assert chart["title"] == "Frechet distance (backbone)"
    assert chart["lines"][0]["points"] == [[4, 21], [8, 11]]
    assert data["measures"][1]["rows"][1] == ["Frechet distance (backbone)", "31850", "11", "2"]
    assert [one["title"] for one in data["measures"]] == ["After 4 thousand pictures", "After 8 thousand pictures"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe",
        b"[",
        b"[1]",
        b"{}",
        b'{"measures": [1]}',
        b'{"measures": {"backbone": [1]}}',
        b'{"measures": {"backbone": {"frechet": {"generated": 1}}}}',
        b'{"measures": {"backbone": {"frechet": {"generated": 1, "generated_half": "x", "floor": 1}}}}',
        b'{"measures": {}, "latent": [1]}',
        b'{"measures": {}, "counts": 1}',
    ],
)
def test_damaged_measures_are_named_and_left_out(run, content):
    one = {"generated": 1.0, "generated_half": 2.0, "floor": float("inf")}
    (run / "network-000004.metrics.json").write_text(json.dumps({"measures": {"backbone": {"frechet": one}}}))
    (run / "network-000008.metrics.json").write_bytes(content)
    write_report(run)
    first, second = data_of(run)["measures"]
    assert first["rows"][1] == ["Frechet distance (backbone)", "1", "2", "inf"]
    assert second["rows"][0][0].startswith("network-000008.metrics.json is not what")
    assert "Infinity" not in (run / "index.html").read_text()  # which no browser reads


def test_long_curves_are_thinned_to_their_last_point():
    points = [[k, k] for k in range(5001)]
    found = thinned(points)
    assert len(found) <= 800
    assert found[-1] == [5000, 5000]
    assert thinned(points[:3]) == points[:3]


def test_what_is_no_run(tmp_path):
    with pytest.raises(DatasetError, match="does not exist"):
        write_report(tmp_path)
    (tmp_path / "log.jsonl").write_text('{"kimg": 1, "loss_g": 1, "loss_d": 1}')
    (tmp_path / "settings.json").write_text("[")
    with pytest.raises(DatasetError, match=r"settings\.json cannot be read"):
        write_report(tmp_path)


def test_a_snapshot_redraws_the_page(tiny_trainer, tmp_path):
    trainer = tiny_trainer()
    write_snapshot(trainer, tmp_path)
    assert not (tmp_path / "index.html").exists()  # nothing has been trained, and there is nothing to say
    (tmp_path / "settings.json").write_text(trainer.settings.to_json())
    (tmp_path / "log.jsonl").write_text(json.dumps({"kimg": 1, "loss_g": 1, "loss_d": 1}))
    write_snapshot(trainer, tmp_path)
    assert (tmp_path / "index.html").is_file()


def test_frames_move_and_close(tiny_generator):
    frames = list(interpolation_frames(tiny_generator, frames=2))
    assert len(frames) == 8
    assert frames[0].shape == (ROWS * 32 * 6, COLUMNS * 32 * 6, 3)
    assert (frames[0] != frames[1]).any()
    # The step from the last frame to the first is like the others: it is half the way to a stop.
    steps = [np.abs(a.astype(int) - b).mean() for a, b in zip(frames, [*frames[1:], frames[0]], strict=True)]
    assert steps[-1] < 2 * max(steps[:-1])


def test_tensorboard_has_ticks_and_samples(run):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from stylegan.training.report.board import Board

    board = Board(run)  # of a resumed run: its older grids are not added again
    board.add(tick(9.0, distance=3.5))
    Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(run / "samples-000009.png")
    (run / "samples-000010.png").write_bytes(b"not a picture")  # no training ends because of this
    Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(run / "samples-best.png")  # or of this
    board.close()
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert events.Scalars("loss_d")[0].value == pytest.approx(1.2)
    assert events.Scalars("distance")[0].step == 9000
    assert [image.step for image in events.Images("samples")] == [9000]

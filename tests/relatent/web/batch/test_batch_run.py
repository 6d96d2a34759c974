import json

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.ExifTags import IFD, Base

from editing import Direction
from inversion import Inversion
from inversion.project import demo_photo
from relatent.core.errors import Cancelled, PhotoError, UnknownNameError, UsageError
from relatent.web.batch.run import Batch, BatchOptions
from relatent.web.pictures import for_screen
from stylegan import load, network_id, save_generator


@pytest.fixture
def network(tiny_generator, tmp_path):
    save_generator(tiny_generator, tmp_path / "tiny.safetensors")
    return load(tmp_path / "tiny.safetensors").eval().requires_grad_(False)


@pytest.fixture
def photos(tmp_path):
    """A face, no face, and the face once more under another name."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "me.png").write_bytes(demo_photo().read_bytes())
    Image.new("RGB", (90, 60), "green").save(folder / "meadow.png")
    Image.open(demo_photo()).rotate(3).save(folder / "again.png")
    return [folder / name for name in ("me.png", "meadow.png", "again.png")]


@pytest.fixture
def run(network, tmp_path):
    """Work off photos with three steps each; the rows."""

    def start(photos, watch=lambda rows: None, **options):
        batch = Batch(photos, tmp_path / "out", network, BatchOptions(num_steps=3, **options))
        try:
            for index in range(len(photos)):
                batch.take(index, watch)
        except Cancelled:
            batch.cancel()
        return batch.rows()

    return start


def test_one_bad_photo_stops_no_other(run, photos, tmp_path):
    seen = []
    rows = run(photos, watch=seen.append)
    assert [row.state for row in rows] == ["done", "failed", "done"]
    assert [row.name for row in rows] == ["me.png", "meadow.png", "again.png"]
    assert rows[1].reason.startswith("No face found in meadow.png (90 x 60)")
    assert "--" not in rows[1].reason
    assert (rows[0].faces, rows[0].finished) == (1, None)
    assert [row.folder and row.folder.name for row in rows] == ["me", None, "again"]
    report = json.loads((tmp_path / "out" / "me" / "report.json").read_text())
    assert rows[0].psnr == report["psnr"]
    assert rows[0].loss == report["losses"]["total"]
    target = np.asarray(Image.open(tmp_path / "out" / "me" / "target.png"))
    drawn = np.asarray(Image.open(tmp_path / "out" / "me" / "proj.png"))
    np.testing.assert_array_equal(rows[0].picture, np.concatenate([target, drawn], axis=1))
    assert [row.state for row in seen[0]] == ["working", "waiting", "waiting"]
    steps = [shown[0].step for shown in seen if shown[0].state == "working"]
    assert steps == [0, 1, 2, 3]


def test_reports_do_not_say_where_photos_lay(run, photos, tmp_path):
    run(photos[:1])
    text = (tmp_path / "out" / "me" / "report.json").read_text()
    assert str(tmp_path) not in text
    assert json.loads(text)["photo"]["file"] == "me.png"


def test_edits_are_applied_and_pasted_back(run, photos, network, tmp_path):
    torch.manual_seed(3)
    Direction(torch.randn(24), "smile", network_id(network)).save(tmp_path / "directions" / "smile.safetensors")
    rows = run(photos, strengths={"smile": 2.0}, folders=(tmp_path / "directions",))
    assert [row.state for row in rows] == ["done", "failed", "done"]
    folder = tmp_path / "out" / "me"
    assert Inversion.load(folder / "edited.safetensors").edits == {"smile": 2.0}
    before, after = (np.asarray(Image.open(file).convert("RGB")) for file in (photos[0], rows[0].finished))
    assert before.shape == after.shape
    assert (before != after).any()
    np.testing.assert_array_equal(
        rows[0].picture, np.concatenate([for_screen(one, 128)[0] for one in (before, after)], 1)
    )
    assert not (folder / "pasted.png").exists()  # it would say where the photo was taken
    assert str(tmp_path) not in (folder / "report.json").read_text()


def test_a_finished_photo_comes_back_as_it_came_but_for_its_place(run, network, tmp_path):
    Direction(torch.ones(24), "smile", network_id(network)).save(tmp_path / "directions" / "smile.safetensors")
    exif = Image.Exif()
    exif.get_ifd(IFD.GPSInfo).update({1: "N", 2: (48.0, 8.0, 0.0)})
    exif[Base.Model] = "a camera"
    with Image.open(demo_photo()) as opened:
        two = Image.new("RGB", (1024, 512))  # side by side
        two.paste(opened.convert("RGB"), (0, 0))
        two.paste(opened.convert("RGB"), (512, 0))
    two.save(tmp_path / "us.jpg", exif=exif)
    rows = run([tmp_path / "us.jpg"], strengths={"smile": 2.0}, folders=(tmp_path / "directions",), face="all")
    assert [(row.state, row.faces) for row in rows] == [("done", 2), ("done", 2)]
    assert rows[0].finished == rows[1].finished  # both faces are in it
    assert [path.name for path in rows[0].finished.parent.iterdir()] == ["us-edited.jpg"]
    with Image.open(rows[0].finished) as opened:
        assert opened.format == "JPEG"
        assert opened.getexif()[Base.Model] == "a camera"
        assert not opened.getexif().get_ifd(IFD.GPSInfo)
        assert "smile" in opened.getexif()[Base.Software]
    assert rows[0].picture.shape == (64, 256, 3)


def test_what_was_done_before_a_cancel_stays(run, photos):
    def stop_at_the_third(rows):
        return rows[2].step < 2

    rows = run(photos, watch=stop_at_the_third)
    assert [row.state for row in rows] == ["done", "failed", "cancelled"]
    assert rows[0].folder.is_dir()


def test_a_photo_at_work_changes_nothing_after_a_cancel(network, photos, tmp_path):
    batch = Batch(photos, tmp_path / "out", network, BatchOptions(num_steps=3))

    def cancel(rows):
        batch.cancel()
        return True  # the page has not told the job yet

    with pytest.raises(Cancelled):
        batch.take(0, cancel)
    assert [row.state for row in batch.rows()] == ["cancelled"] * 3


def test_errors_in_a_photos_place_are_rows(run, photos):
    rows = run([PhotoError("a.png in x.zip is encrypted."), photos[0]])
    assert [(row.state, row.reason) for row in rows] == [("failed", "a.png in x.zip is encrypted."), ("done", "")]


def test_photos_too_large_to_be_decoded_name_the_limit(run, photos):
    (row,) = run(photos[:1], max_pixels=100_000)
    assert row.state == "failed"
    assert "me.png claims too many pixels (512 x 512); at most 0.1 megapixels" in row.reason


def test_what_suits_no_photo_is_refused_at_once(run, photos):
    with pytest.raises(UnknownNameError, match="smiel"):
        run(photos, strengths={"smiel": 1.0})
    with pytest.raises(UsageError, match="does not optimise"):
        run(photos, preset="fast")

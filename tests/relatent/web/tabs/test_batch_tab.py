import asyncio
import io
import zipfile

import pytest
from PIL import Image
from wiring import everything, handler_of, said, shown, widget

from inversion.project import demo_photo
from relatent.core.errors import PhotoError, UsageError
from relatent.web.tabs.batch import gather
from relatent.web.uploads import Limits

pytest.importorskip("gradio")
STEPS = 3


@pytest.fixture
def photos(tmp_path):
    """A zip of a face, a meadow and a text; and a photo beside it."""
    picture = io.BytesIO()
    Image.new("RGB", (90, 60), "green").save(picture, "PNG")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as packed:
        packed.writestr("a/me.png", demo_photo().read_bytes())
        packed.writestr("../meadow.png", picture.getvalue())
        packed.writestr("readme.txt", "hello")
    (tmp_path / "again.png").write_bytes(demo_photo().read_bytes() + b"another file")
    return [str(tmp_path / "photos.zip"), str(tmp_path / "again.png")]


@pytest.fixture
def start(page, session):
    def run(uploads, **strengths):
        names = list(page.app.directions)
        values = [strengths.get(name, 0.0) for name in names]
        run = handler_of(page.blocks, "batch-start", "click")
        return run(session, uploads, "balanced", "largest", STEPS, "difference", *values)

    return run


def test_a_zip_and_a_photo_come_back_as_one_zip(page, session, start, photos):
    updates = everything(start(photos, smile=2.0))
    assert said(updates, widget(page.blocks, "batch-status")).count("2 done, 1 failed") == 1
    assert "1 other file in the zip was passed over: readme.txt." in said(updates, widget(page.blocks, "batch-status"))
    assert shown(updates[-1:]) == shown(updates)  # a slow browser may lose the messages before
    rows = said(updates, widget(page.blocks, "batch-table"))
    assert rows.count("<tr>") == 4
    assert rows.count("<img") == 2
    assert "No face found in meadow.png (90 x 60)" in rows
    with zipfile.ZipFile(said(updates, widget(page.blocks, "batch-results"))) as packed:
        names = set(packed.namelist())
        table = packed.read("results.csv").decode()
    assert {
        "results.csv",
        "photos/me-edited.png",
        "photos/again-edited.png",
        "for researchers/me/inversion.safetensors",
        "for researchers/again/edited.png",
        "for researchers/again/report.json",
    } <= names
    assert "meadow.png,failed" in table
    left = {path.name for path in session.folder.rglob("*") if path.is_file()}
    assert "relatent-results.zip" in left
    assert "inversion.safetensors" not in left  # what is in the zip lies nowhere else


def test_a_batch_is_cancelled_between_two_photos_and_within_one(page, session, start, photos):
    cancel = handler_of(page.blocks, "batch-cancel", "click")

    async def watch():
        updates = []
        async for update in start([*photos, photos[1]]):
            updates.append(update)
            if "▸ working" in str(update) or "Photo 2" in str(update):
                cancel(session)
        return updates

    updates = asyncio.run(watch())
    rows = said(updates, widget(page.blocks, "batch-table"))
    assert "– cancelled" in rows
    assert "… waiting" not in rows
    assert "▸ working" not in rows


def test_a_batch_goes_on_when_the_browser_leaves(page, session, start, photos):
    """A reload ends the stream of updates; the visitor who comes back gets the rest, and the results."""
    show = coming_back(page)

    async def watch():
        stream = start(photos)
        async for update in stream:
            if "Photo 1" in str(update):
                break
        await stream.aclose()
        session.leave()
        again = [str(update) async for update in start(photos)]
        return again, [update async for update in show(session)]

    refused, updates = asyncio.run(watch())
    assert "your last batch is still at work" in refused[-1].lower()
    assert "of 3, " in str(updates)  # photos are seen at work
    assert "2 done, 1 failed" in said(updates, widget(page.blocks, "batch-status"))
    assert zipfile.is_zipfile(said(updates, widget(page.blocks, "batch-results")))
    assert everything(show(session))[-1].keys() == updates[-1].keys()  # and once more, when all is done
    session.end()
    assert "Photo" not in str(everything(show(session)))


def test_a_session_that_ends_takes_its_batch_along(page, session, start, photos):
    async def begin():
        async for update in start(photos):
            if "Photo 1" in str(update):
                break

    asyncio.run(begin())
    batch = session.batch
    session.end()
    assert batch.wait(60)
    assert batch.results is None
    assert not batch.folder.exists()


def coming_back(page):
    (found,) = [one.fn for one in page.blocks.fns.values() if one.fn and one.fn.__name__ == "show_batch"]
    return found


def test_nothing_to_do_says_so(page, start):
    assert "No photo came" in said(everything(start(None)), widget(page.blocks, "status"))


def test_too_many_photos_name_the_limit(photos, tmp_path):
    with pytest.raises(UsageError, match="3 photos came; at most 2"):
        gather([tmp_path / "photos.zip", tmp_path / "again.png"], tmp_path / "out", Limits(photos=2))


def test_a_zip_alone_that_is_none(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"hello")
    with pytest.raises(PhotoError, match=r"x\.zip is not a zip file"):
        gather([tmp_path / "x.zip"], tmp_path / "out", Limits())

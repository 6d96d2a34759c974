"""File names that are no UTF-8, or that the console cannot show."""

from __future__ import annotations

import os
import shutil

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from editing import Direction
from editing.__main__ import main as editing
from inversion import Inversion
from inversion.project import demo_photo, main
from relatent.core.images import read_photo
from stylegan import load, network_id

LATIN = os.fsdecode(b"caf\xe9")  # as an old camera or archive has written it


@pytest.fixture
def photo(request, tmp_path):
    path = tmp_path / "photos" / f"{request.param}.png"
    path.parent.mkdir()
    try:
        shutil.copy(demo_photo(), path)
    except OSError:
        pytest.skip("this file system takes no such name")
    return path


# The kinds of name behave alike in most encodings; both are tried for the one that neither can hold.
@pytest.mark.parametrize(
    ("photo", "charset"),
    [(LATIN, "ascii"), (LATIN, "utf-8"), ("café", "ascii"), ("笑顔", "ascii"), ('"quoted"', "utf-8")],
    ids=["latin-1-ascii", "latin-1-utf-8", "accent", "kanji", "quotes"],
    indirect=["photo"],
)
def test_nothing_ends_in_a_traceback(photo, tiny_file, few_steps, tmp_path, charset):
    for name, turn in (("a.png", 2), ("z.png", -2)):  # before and after it, and not copies of it
        Image.open(photo).rotate(turn).save(photo.with_name(name))
    (photo.parent / f"{photo.stem}.txt").touch()
    out, network = tmp_path / "out", tiny_file.with_stem(photo.stem)  # the network has such a name, too
    shutil.copy(tiny_file, network)
    runner = CliRunner(charset=charset)
    flags = ["--network", str(network), "--outdir", str(out), "--batch-size", "2"]
    result = runner.invoke(main, [str(photo.parent), *flags], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == sorted(["a", photo.stem, "z"])
    if photo.stem == LATIN and charset == "utf-8":  # to ASCII, click itself writes question marks
        assert "out/caf\\xe9: PSNR" in result.stdout
        assert "photos/caf\\xe9.txt" in result.stderr
    saved = Inversion.load(out / photo.stem)
    assert saved.photo == photo.name
    assert saved.network_file == str(network)

    smile = Direction(torch.ones(24), "smile", network_id(load(network)))
    smile.save(tmp_path / f"{photo.stem}.safetensors")
    flags = ["--set", f"{tmp_path / photo.stem}.safetensors=1"]
    result = runner.invoke(editing, ["edit", str(out / photo.stem), *flags], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "note:" not in result.stderr  # the photo was found
    assert read_photo(out / photo.stem / "pasted.png").pixels.shape == (512, 512, 3)
    result = runner.invoke(main, [str(photo.with_suffix(".jpg")), "--network", str(network)], catch_exceptions=False)
    assert result.exit_code == 1
    assert "does not exist" in result.stderr

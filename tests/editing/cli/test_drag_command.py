"""`python -m editing drag`, from the command line to the files, with the tiny network."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from editing.__main__ import main
from editing.results import open_saved


def ask(*args):
    return CliRunner().invoke(main, ["drag", *map(str, args)])


@pytest.fixture
def asked(tmp_path, tiny_file):
    def run(*args):
        return ask("7", "--outdir", tmp_path / "out", "--network", tiny_file, "--limit", 100, *args)

    return run


def test_a_drag_is_written_as_an_edit_is(asked, tmp_path):
    mask = np.full((32, 32), 255, np.uint8)
    mask[:4] = 0
    Image.fromarray(mask).save(tmp_path / "mask.png")
    result = asked("--from", "15,15", "--to", "16.5,15", "--mask", tmp_path / "mask.png", "--save-video")
    assert result.exit_code == 0, result.output
    folder = tmp_path / "out" / "7"
    assert result.stdout.strip() == str(folder)
    names = {path.name for path in folder.iterdir()}
    assert {"edited.png", "drawn.png", "edited.safetensors", "report.json", "drag.mp4"} <= names
    report = json.loads((folder / "report.json").read_text())["drag"]
    assert report["points"][0]["distance_after_percent"] < report["points"][0]["distance_before_percent"]
    assert report["steps"] >= 1
    assert report["ended_because"]
    edited = open_saved(folder / "edited.safetensors").inversion
    assert list(edited.edits) == ["drag:15,15>16.5,15"] == list(report["edits"])
    assert edited.mask is not None
    with Image.open(folder / "drawn.png") as picture:
        assert "drag:15,15" in str(picture.info) + str(dict(picture.getexif()))


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "nothing to do"),
        (["--from", "5,5"], "1 handles came with 0 targets"),
        (["--from", "5,5", "--to", "5,5"], "is to end there"),
        (["--from", "5,5", "--to", "90,5"], "outside the face"),
        (["--from", "5,nan", "--to", "6,5"], "expected X,Y"),
        (["--landmark", "moth=1,2"], "'moth'"),
        (["--landmark", "chin=1,2", "--landmark", "chin=1,3"], "twice"),
        (["--from", "5,5", "--to", "6,5", "--mask", "moth"], "--mask is 'moth'"),
        (["--from", "5,5", "--to", "6,5", "--tolerance", "0"], "tolerance is 0"),
    ],
)
def test_what_cannot_be_dragged_gets_a_sentence_and_leaves_nothing(asked, tmp_path, args, said):
    result = asked(*args)
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list((tmp_path / "out").glob("*/*")) if (tmp_path / "out").exists() else True

"""The benchmark of quality, at a size that takes seconds: whole, cut and gone on with."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from benchmarks import inverting
from benchmarks.contact_sheet import varied
from benchmarks.quality import main
from benchmarks.quality_table import COLUMNS, against, summaries, table
from editing.directions.direction import Direction
from stylegan import load, network_id

pytestmark = pytest.mark.slow  # runs a benchmark at a tiny size


LABELS = """file,age,gender,race
val/0.png,20-29,Male,White
val/1.png,20-29,Male,White
val/2.png,3-9,Female,Black
val/3.png,3-9,Male,White
"""


@pytest.fixture
def quality(faces, tiny_file, tmp_path):
    """Runs the benchmark with two methods of two steps into tmp_path."""
    (tmp_path / "labels.csv").write_text(LABELS)
    direction = tmp_path / "push.safetensors"
    Direction(torch.full((24,), 0.3), "push", network_id(load(tiny_file))).save(direction)

    def run(*arguments):
        options = {
            "--faces": faces, "--labels": tmp_path / "labels.csv", "--network": tiny_file, "--folder": tmp_path,
            "--num-steps": 2, "--batch": 2, "--count": 3, "--edit": f"{direction}=1",
        }  # fmt: skip
        flat = [str(part) for pair in options.items() for part in pair]
        result = CliRunner().invoke(main, [*flat, "--method", "paper", "--method", "balanced", *map(str, arguments)])
        assert result.exit_code == 0, result.output
        return json.loads((tmp_path / "quality.json").read_text())

    return run


def test_every_face_is_measured_in_every_way(quality, tmp_path):
    result = quality()
    assert set(result["methods"]) == {"paper", "balanced"}
    for rows in result["each"].values():
        assert list(rows) == ["val/0.png", "val/1.png", "val/2.png", "astronaut"]
        for row in rows.values():
            assert row.keys() == COLUMNS.keys()
            assert all(row[column] is not None for column in COLUMNS.keys() - {"identity_distance"})
    assert result["methods"]["balanced"]["settings"]["optimiser"]["num_steps"] == 2
    assert result["ws_distance_of_samples"] == pytest.approx(1.0, abs=0.1)
    text = (tmp_path / "quality.md").read_text()
    assert "| balanced | 2 |" in text
    assert "LPIPS (faces-backbone)" in text
    sheet = np.asarray(Image.open(tmp_path / "quality.png"))
    assert sheet.shape == (3 * 32, 3 * 32, 3)  # photos and two methods, three faces
    photo = inverting.validation_faces(tmp_path / "faces.zip", "val", ["val/0.png"], 32)
    np.testing.assert_array_equal(sheet[:32, :32], inverting.to_pixels(photo)[0])


def test_a_preset_in_bfloat16_differs_in_that_alone(quality):
    result = quality("--method", "balanced-bfloat16", "--edited", 0)
    plain, coarse = (result["methods"][name]["settings"] for name in ("balanced", "balanced-bfloat16"))
    assert coarse == {**plain, "precision": "bfloat16"}


def test_a_run_that_was_cut_goes_on_where_it_was(quality, tmp_path, monkeypatch):
    whole = quality()
    rows = tmp_path / "quality.parts" / "balanced.jsonl"
    rows.write_text(rows.read_text()[:-20])  # in the middle of the astronaut
    (tmp_path / "quality.parts" / "balanced-1.png").unlink()
    seen = []
    original = inverting.run_plan
    monkeypatch.setattr(
        inverting, "run_plan", lambda *args, **kw: seen.append(len(args[3].images)) or original(*args, **kw)
    )
    again = quality()
    assert seen == [2, 2]  # the two faces, and once more after their edit
    for face in ("val/0.png", "val/2.png"):
        assert again["each"]["balanced"][face] == whole["each"]["balanced"][face]
    assert again["each"]["balanced"]["astronaut"]["lpips"] == pytest.approx(
        whole["each"]["balanced"]["astronaut"]["lpips"], rel=0.02
    )
    assert again["each"]["paper"] == whole["each"]["paper"]


def test_what_differs_in_tuning_alone_is_inverted_once(quality, monkeypatch):
    seen = []
    original = inverting.run_plan
    monkeypatch.setattr(
        inverting, "run_plan", lambda *args, **kw: seen.append(args[0].tuning is not None) or original(*args, **kw)
    )
    result = quality("--method", "best", "--edit", "none", "--count", 1)
    assert sorted(seen) == [False, True]  # the paper's, and one for balanced and best
    best, balanced = (result["each"][name]["val/0.png"] for name in ("best", "balanced"))
    assert best["lpips"] < balanced["lpips"]
    assert best["seconds"] > 0


def test_edits_of_some_faces_alone(quality):
    rows = quality("--edited", 1)["each"]["balanced"]
    known = [key for key, row in rows.items() if row["lpips_edited_and_back"] is not None]
    assert known == ["val/0.png"]


def test_without_an_edit(quality):
    result = quality("--edit", "none", "--method", "balanced", "--count", 1)
    assert result["methods"]["balanced"]["lpips_edited_and_back"] is None
    assert {row["lpips_edited_and_back"] for row in result["each"]["paper"].values()} == {None}


def test_the_faces_shown_are_of_many_kinds():
    kinds = [(race, age, gender) for race in "abc" for age in "xyz" for gender in "mf" for _ in range(3)]
    labels = {f"{n}": dict(zip(("race", "age", "gender"), kind, strict=True)) for n, kind in enumerate(kinds)}
    chosen = varied(labels, 6)
    assert len(set(chosen)) == 6
    for attribute, each in (("race", 2), ("age", 2), ("gender", 3)):
        found = [labels[name][attribute] for name in chosen]
        assert {found.count(value) for value in found} == {each}
    assert varied(labels, 6) == chosen
    assert len(varied(labels, 99)) == len(labels)


def test_against_the_paper_face_by_face():
    def rows(*pairs):
        return {str(n): dict.fromkeys(COLUMNS) | {"lpips": a, "psnr": b} for n, (a, b) in enumerate(pairs)}

    paper = rows((0.5, 20), (0.4, 21), (0.3, 22))
    ours = rows((0.3, 25), (0.3, 20), (0.4, 23))
    assert against(ours, paper)["lpips"] == {"difference": -0.1, "better": 0.6667}
    assert against(ours, paper)["psnr"] == {"difference": 1, "better": 0.6667}
    assert "ms_ssim" not in against(ours, paper)
    medians = summaries({"paper": paper, "ours": ours})
    assert (medians["paper"]["lpips"], medians["ours"]["lpips"]) == (0.4, 0.3)
    assert medians["ours"]["seconds"] is None
    for summary in medians.values():
        summary["settings"] = {"optimiser": {"num_steps": 300}, "tuning": {"num_steps": 100}}
    lines = table(medians, "t").splitlines()
    assert lines[0].startswith("| method | steps | LPIPS (t) |")
    assert "| ours | 300 + 100 | 0.3000 |  |  | 23.00 |" in lines[3]
    assert lines[-1].startswith("| ours | 67 |")

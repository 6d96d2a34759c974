"""Groups are merged until each is worth a median, and the gap named is the largest."""

import json

import pytest
from click.testing import CliRunner

from benchmarks import groups, inverting
from benchmarks.groups import as_markdown, largest_gap, merge_neighbours, merge_small, read_groups, summary
from inversion import presets as settings
from relatent.core.errors import DatasetError


def sized(**sizes):
    start, members = 0, {}
    for name, size in sizes.items():
        members[name.replace("_", "-")] = list(range(start, start + size))
        start += size
    return members


def row(identity=0.3, **other):
    return {"lpips": 0.2, "psnr": 25.0, "ms_ssim": 0.9, "seconds": 1.0, "identity_distance": identity, **other}


def test_small_groups_become_one():
    merged = merge_small(sized(a=40, b=10, c=35, d=25))
    assert {name: len(members) for name, members in merged.items()} == {"a": 40, "c": 35, "b and d": 35}
    assert sorted(i for members in merged.values() for i in members) == list(range(110))


def test_ages_join_their_neighbours():
    ages = {"more than 70": list(range(5)), "0-2": list(range(5, 15)), "3-9": list(range(15, 45))}
    ages["20-29"] = list(range(45, 90))
    merged = merge_neighbours(ages)
    assert {name: len(members) for name, members in merged.items()} == {"0-2, 3-9": 40, "20-29, more than 70": 50}


def test_too_few_for_any_group():
    assert merge_neighbours(sized(a=3, b=4)) == {"a, b": [0, 1, 2, 3, 4, 5, 6]}


def test_summary_passes_over_faces_that_could_not_be_compared():
    result = summary([row(0.2), row(0.4), row(0.7), row(None)])
    assert result["identity_distance"] == 0.4
    assert (result["faces"], result["compared"], result["same_person"]) == (4, 3, 2)


def test_largest_gap_and_table():
    tables = {
        "gender": {"a": summary([row(0.3)]), "b": summary([row(0.35)])},
        "age": {"c": summary([row(0.5)]), "d": summary([row(0.2)])},
    }
    gap = largest_gap(tables)
    assert gap == {"attribute": "age", "best": "d", "worst": "c", "gap": pytest.approx(0.3)}
    text = as_markdown({"lpips_trunk": "t", "all": summary([row()]), "groups": tables, "largest_gap": gap})
    assert "0.300, c against d (age)" in text
    assert "| age: c | 1 | 0.200 | 25.0 | 0.900 | 0.500 | 1 of 1 |" in text


def test_labels_must_know_every_face(tmp_path):
    (tmp_path / "labels.csv").write_text("file,age,gender,race\nval/0.webp,0-2,Male,White\n")
    assert read_groups(tmp_path / "labels.csv", ["val/0.webp"])["gender"] == {"Male": [0]}
    with pytest.raises(DatasetError, match=r"nothing of val/1\.webp"):
        read_groups(tmp_path / "labels.csv", ["val/0.webp", "val/1.webp"])


@pytest.mark.slow
def test_a_run_keeps_its_inversions_and_goes_on(tiny_file, faces, tmp_path, monkeypatch, few_steps):
    labels = tmp_path / "labels.csv"
    rows = [f"val/{number}.png,20-29,Female,White" for number in range(4)]
    labels.write_text("\n".join(["file,age,gender,race", *rows]))
    monkeypatch.setattr(settings, "PRESETS", few_steps)
    monkeypatch.setattr(groups, "FOLDER", tmp_path / "results")
    arguments = ["--faces", faces, "--labels", labels, "--network", tiny_file, "--work", tmp_path / "work"]
    for _ in range(2):
        done = CliRunner().invoke(groups.main, [str(one) for one in arguments])
        assert done.exit_code == 0, done.output
        monkeypatch.setattr(inverting, "invert_images", None)  # what is kept is not inverted again
    result = json.loads((tmp_path / "results" / "groups.json").read_text())
    assert result["all"]["faces"] == 5  # and the astronaut
    assert next(iter(result["groups"]["gender"].values()))["faces"] == 4
    assert set(result["each"]) == {f"val/{number}.png" for number in range(4)}

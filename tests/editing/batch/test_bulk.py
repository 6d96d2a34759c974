"""Edits in bulk by a plan: checked before anything runs, killed without loss, done once."""

import json
import multiprocessing
import os
import random
import re
import signal
import warnings
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from editing import Direction
from editing.__main__ import main
from editing.batch import bulk
from editing.batch import edit as edit_module
from editing.batch.bulk import edit_plan
from editing.batch.edit import EditOptions
from inversion import Inversion
from inversion.batch.opening import opened_manifest
from inversion.batch.status import status
from relatent.core.errors import NoSpaceError, UsageError

DOCS = Path(__file__).parents[3] / "docs"


def run(*arguments):
    return CliRunner().invoke(main, ["edit", *map(str, arguments)], catch_exceptions=False)


def results(home):
    return sorted(path.name for path in (home / "out" / "edits").iterdir())


def edits_of(home, name):
    return Inversion.load(home / "out" / "edits" / name / "edited.safetensors").edits


def test_a_table(home):
    (home / "edits.csv").write_text(
        "photo,direction,strength,age,only,name\n"
        "me,smile,2,,,\n"
        "you.png,smile,-1,0.5,,\n"
        "me,,,1,,older\n"
        "me-2,smile,1,,mouth,\n"
        "\n"
        f"{home / 'photos' / 'b' / 'me.png'},smile,3,,,\n"
    )
    result = run("out", "--plan", "edits.csv")
    assert result.exit_code == 0, result.output
    assert results(home) == ["me", "me-2", "me-2-2", "older", "you"]
    assert edits_of(home, "me") == {"smile": 2}
    assert edits_of(home, "you") == {"smile": -1, "age": 0.5}
    assert edits_of(home, "older") == {"age": 1}
    assert edits_of(home, "me-2-2") == {"smile": 3}
    assert (home / "out" / "edits" / "me" / "pasted.png").is_file()
    report = json.loads((home / "out" / "edits" / "me-2" / "report.json").read_text())
    assert report["edit"]["only"] == ["mouth"]
    assert status(home / "out").splitlines()[1] == "edits: 5 done, 0 failed, 0 pending"
    before = {path: path.stat().st_mtime_ns for path in (home / "out").rglob("*.png")}
    again = run("out", "--plan", "edits.csv")
    assert again.stderr.count("done before") == 5
    assert {path: path.stat().st_mtime_ns for path in (home / "out").rglob("*.png")} == before


def test_lines_of_json(home):
    rows = [{"photo": "me", "set": {"smile": 2, "age": -1}}, {"photo": "you", "direction": "age", "strength": 1.5}]
    (home / "edits.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert run("out", "--plan", "edits.jsonl", "--outdir", "elsewhere").exit_code == 0
    assert Inversion.load(home / "elsewhere" / "me" / "edited.safetensors").edits == {"smile": 2, "age": -1}
    assert Inversion.load(home / "elsewhere" / "you" / "edited.safetensors").edits == {"age": 1.5}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("me,smlie,2", "row 3, column direction: unknown direction 'smlie': did you mean smile?"),
        ("mee,smile,2", "row 3, column photo: unknown photo 'mee': did you mean me"),
        ("me.png,smile,2", "row 3, column photo: me.png was inverted to several folders: me, me-2. Name one of them."),
        ("me,smile,much", "row 3, column strength: 'much' is no number"),
        ("me,smile,", "row 3, column strength: '' is no number"),
        ("me,smile,inf", "row 3, column strength: "),
        (",smile,2", "row 3, column photo: the cell is empty"),
        ("me,,", "row 3: nothing to do"),
        ("me,smile,2,3", "row 3: 4 cells, and the header has 3"),
    ],
)
def test_a_wrong_row_is_refused_before_anything_runs(home, lines, words):
    (home / "edits.csv").write_text(f"photo,direction,strength\nyou,smile,1\n{lines}\n")
    result = run("out", "--plan", "edits.csv")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: edits.csv, ")
    assert words in line
    assert not (home / "out" / "edits").exists()
    assert "edits" not in status(home / "out")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"photo": "me", "glasses": 1}, "row 2, column glasses: unknown direction 'glasses'"),
        ({"photo": "me", "smile": 1, "only": "elbow"}, "row 2, column only: unknown region 'elbow'"),
        ({"photo": "me", "smile": 1, "layers": "deep"}, "row 2, column layers: unknown layers 'deep'"),
        ({"photo": "me", "smile": 1, "blend": "glue"}, "row 2, column blend: unknown blend 'glue'"),
        ({"photo": "me", "smile": 1, "truncation": "x"}, "row 2, column truncation:"),
        ({"photo": "me", "smile": 1, "name": "../away"}, "row 2, column name: '../away' is no name for a folder"),
        ({"photo": "me", "smile": 1, "direction": "smile", "strength": 2}, "row 2, column smile: smile comes twice"),
        ({"photo": "me", "smile": 1, "name": "you"}, "row 2, column name: the name you comes twice"),
    ],
)
def test_what_a_row_may_not_say(home, row, words):
    with pytest.raises(UsageError) as caught:
        list(
            edit_plan(
                "out", [{"photo": "you", "smile": 1, "name": "you"}, row], EditOptions(folders=(home / "directions",))
            )
        )
    assert words in str(caught.value)
    assert not (home / "out" / "edits").exists()


@pytest.mark.parametrize(
    "content", [b"photo,photo\n", b"photo,\nme,2\n", b"\xff\xfe\x00", b'{"photo": \n', b"[1]\n", None]
)
def test_files_that_are_no_plans(home, content):
    path = home / ("edits.jsonl" if content in (b'{"photo": \n', b"[1]\n") else "edits.csv")
    if content is not None:
        path.write_bytes(content)
    result = run("out", "--plan", path)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "edits." in result.stderr


def test_another_direction_or_inversion_is_another_edit(home):
    rows = [{"photo": "me", "smile": 1}]
    options = EditOptions(folders=(home / "directions",))
    network = Inversion.load(home / "out" / "me").network
    assert [one.note for one in edit_plan("out", rows, options)] == [""]
    assert [one.note for one in edit_plan("out", rows, options)] == ["done before"]
    Direction(torch.ones(24), "smile", network).save(home / "directions" / "smile.safetensors")
    assert [one.folder.name for one in edit_plan("out", rows, options)] == ["me-2"]
    (home / "out" / "edits" / "me-2" / "report.json").unlink()
    (again,) = edit_plan("out", rows, options)
    assert again.error is None


def test_failures_and_retries(home):
    (home / "out" / "you" / "inversion.safetensors").write_bytes(b"damaged")
    rows = [{"photo": "you", "smile": 1}, {"photo": "me", "smile": 1}]
    options = EditOptions(folders=(home / "directions",))
    first, second = edit_plan("out", rows, options)
    assert first.error is not None
    assert second.folder is not None
    assert "Failed before" in str(next(iter(edit_plan("out", rows, options))).error)
    assert "Failed before" not in str(next(iter(edit_plan("out", rows, options, retry_failed=True))).error)


def test_a_full_disk_stops_the_plan(home, monkeypatch):
    original = Path.write_bytes

    def full(self, data):
        if "you" in self.parts:
            raise OSError(28, "No space left on device", str(self))
        return original(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    rows = [{"photo": name, "smile": 1} for name in ("me", "you", "me-2")]
    options = EditOptions(folders=(home / "directions",))
    with pytest.raises(NoSpaceError, match="disk is full"):
        list(edit_plan("out", rows, options))
    assert "edits: 1 done, 0 failed, 2 pending" in status(home / "out")
    monkeypatch.undo()
    monkeypatch.chdir(home)
    assert [one.note for one in edit_plan("out", rows, options)] == ["done before", "", ""]


def after_fork(rows, options):
    list(edit_plan("out", rows, options))


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments(home, times):
    rng = random.Random(times)
    rows = [
        {"photo": name, "smile": strength / 7}
        for strength in range(1, 2 + times // 3)
        for name in ("me", "me-2", "you")
    ]
    options = EditOptions(folders=(home / "directions",))
    done = 0
    for kills in range(200):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # later Pythons dislike forks
            child = multiprocessing.get_context("fork").Process(target=after_fork, args=(rows, options))
            child.start()
        child.join(rng.uniform(0.05, 0.5) if kills < times else None)
        if not child.is_alive():
            break
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        with opened_manifest(home / "out") as manifest:
            finished = manifest.rows("SELECT COUNT(*) FROM edits WHERE state = 'done'")[0][0]
            assert manifest.unfinished_edits() == []
        assert finished >= done
        done = finished
    assert child.exitcode == 0
    assert len(results(home)) == len(rows)
    found = []
    for name in results(home):
        folder = home / "out" / "edits" / name
        assert {path.name for path in folder.iterdir()} == {
            "edited.png", "drawn.png", "pasted.png", "edited.safetensors", "report.json",
        }  # fmt: skip
        found.append(
            (json.loads((folder / "report.json").read_text())["source"]["file"], *edits_of(home, name).values())
        )
    expected = [(str(home / "out" / str(row["photo"]) / "inversion.safetensors"), row["smile"]) for row in rows]
    assert sorted(found) == sorted(expected)
    assert [one.note for one in edit_plan("out", rows, options)] == ["done before"] * len(rows)


@pytest.mark.slow
def test_workers_write_what_one_process_writes(home):
    rows = [{"photo": name, "smile": strength} for strength in (1, 2) for name in ("me", "you")]
    for outdir, workers in (("here", 0), ("there", 2)):
        options = EditOptions(folders=(home / "directions",))
        outcomes = list(edit_plan("out", rows, options, editsdir=home / outdir, workers=workers))
        assert [one.error for one in outcomes] == [None] * 4
    for path in (home / "here").rglob("*.png"):
        assert path.read_bytes() == (home / "there" / path.relative_to(home / "here")).read_bytes()


def test_a_thousand_faces_are_not_held_at_once(home, monkeypatch):
    """Each photo's faces are written and let go before the next is read."""
    held, most = [], []
    original = edit_module._edited

    def counted(*arguments, **more):
        task = original(*arguments, **more)
        held.append(task.claim)
        most.append(sum(claim._lock >= 0 for claim in held))
        return task

    monkeypatch.setattr(edit_module, "_edited", counted)
    assert run("out", "--set", "smile=1").exit_code == 0
    assert len(most) == 3
    assert max(most) == 1


def test_the_documented_lines_of_python(home, monkeypatch):
    text = (DOCS / "scale.md").read_text()
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "edit_plan" in block]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    monkeypatch.setattr(bulk, "EditOptions", lambda: EditOptions(folders=(home / "directions",)))
    exec(compile(code, "scale.md", "exec"), {"__name__": "__main__"})
    assert results(home) == ["me", "you"]

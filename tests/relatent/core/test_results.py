"""Which files are Relatent's own, and what becomes of all others."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from relatent.core.claims import Claim, take, take_first
from relatent.core.errors import OutputError
from relatent.core.provenance import MarkedImage, software_tag
from relatent.core.results import (
    CLAIM_FILE,
    finished_report,
    has_mark,
    is_free,
    is_own,
    own_files,
    read_report,
    without_results,
)

ROOT = Path(__file__).parents[3]
ME = {"photo": {"sha256": "0123", "face": 1}}
YOU = {"photo": {"sha256": "4567", "face": 1}}


def is_me(known):
    return known.get("photo") == ME["photo"]


def taken(folder, owner=ME) -> Claim:
    claim = take(folder, owner, lambda known: known.get("photo") == owner["photo"])
    assert claim is not None
    return claim


def write(folder, content="new", names=("target.png", "proj.png"), obsolete=(), owner=ME):
    claim = taken(folder, owner)
    with claim.writing() as scratch:
        for name in names:
            (scratch / name).write_text(content)
        claim.finish({"versions": {}}, obsolete)
    claim.release()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_result_lists_its_files(tmp_path):
    write(tmp_path / "out" / "me")
    folder = tmp_path / "out" / "me"
    assert names(folder) == ["proj.png", "report.json", "target.png"]
    assert set(own_files(folder)) == {"proj.png", "report.json", "target.png"}
    assert read_report(folder)["photo"] == ME["photo"]
    assert names(tmp_path / "out") == ["me"]


def test_foreign_files_survive(tmp_path):
    folder = tmp_path / "me"
    write(folder, "old", ("target.png", "proj.png", "proj.mp4"))
    (folder / "me.jpg").write_text("my photo")
    (folder / "deep").mkdir()
    write(folder, "new", obsolete=("target.png", "proj.png", "proj.mp4"))
    assert names(folder) == ["deep", "me.jpg", "proj.png", "report.json", "target.png"]
    assert (folder / "me.jpg").read_text() == "my photo"
    assert (folder / "proj.png").read_text() == "new"


def test_what_is_not_obsolete_stays_listed(tmp_path):
    folder = tmp_path / "me"
    write(folder, "old", ("edited.png",))
    write(folder, "new", ("proj.png",))
    assert set(own_files(folder)) == {"edited.png", "proj.png", "report.json"}


@pytest.mark.parametrize("when", ["foreign", "changed"])
def test_nothing_is_written_over_somebody_else_s_file(tmp_path, when):
    folder = tmp_path / "me"
    write(folder, "old", ("proj.png",) if when == "changed" else ("target.png",))
    (folder / "proj.png").write_text("retouched for hours")
    claim = taken(folder)
    with pytest.raises(OutputError, match=r"proj\.png is not a file that Relatent wrote"):
        claim.require_room(["proj.png"])
    with claim.writing() as scratch:
        (scratch / "proj.png").write_text("new")
        with pytest.raises(OutputError, match=r"proj\.png"):
            claim.finish({})
    claim.release()
    assert (folder / "proj.png").read_text() == "retouched for hours"


def test_a_changed_file_is_not_deleted_either(tmp_path):
    folder = tmp_path / "me"
    write(folder, "old", ("proj.mp4",))
    (folder / "proj.mp4").write_text("cut by me")
    write(folder, "new", ("proj.png",), obsolete=("proj.mp4",))
    assert (folder / "proj.mp4").read_text() == "cut by me"


def test_folders_of_earlier_versions_are_known_by_names(tmp_path):
    for name in ("target.png", "inversion.safetensors", "edited.png", "notes.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / "report.json").write_text(json.dumps(ME))
    own = own_files(tmp_path)
    assert is_own(tmp_path / "target.png", own)
    assert not is_own(tmp_path / "edited.png", own)  # nothing was edited
    assert not is_own(tmp_path / "notes.txt", own)
    (tmp_path / "report.json").write_text(json.dumps({**ME, "edit": {}}))
    assert is_own(tmp_path / "edited.png", own_files(tmp_path))


@pytest.mark.parametrize("text", ["[1]", '{"name": "x"}', "{", "\\xff", "[" * 100_000])
def test_a_foreign_report_is_none(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    assert read_report(tmp_path) is None
    assert own_files(tmp_path) == {}
    assert not is_free(tmp_path)


def test_a_claim_that_was_given_up_leaves_nothing(tmp_path):
    claim = taken(tmp_path / "me")
    assert not is_free(tmp_path / "me")
    claim.release()
    claim.release()
    assert names(tmp_path) == []


def test_names_are_claimed_before_the_work(tmp_path):
    folders = [tmp_path / "me", tmp_path / "me-2"]
    mine = take_first(folders, ME, is_me)
    yours = take_first(folders, YOU, lambda known: known.get("photo") == YOU["photo"])
    assert [mine.folder.name, yours.folder.name] == ["me", "me-2"]
    with pytest.raises(OutputError, match="being written by another process"):
        take_first(folders, ME, is_me)
    mine.release()
    yours.release()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="no free folder"):
        take_first([tmp_path / "file"], ME, is_me)


def test_an_empty_folder_is_free_and_stays(tmp_path):
    (tmp_path / "me").mkdir()
    taken(tmp_path / "me").release()
    assert names(tmp_path) == ["me"]


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from relatent.core.claims import take
    moment, folder = sys.argv[1], Path(sys.argv[2])
    claim = take(folder, {"photo": {"sha256": "0123", "face": 1}}, lambda known: True)
    kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    if moment == "working":
        kill()
    with claim.writing() as scratch:
        for name in ("proj.png", "target.png"):
            (scratch / name).write_text("new")
        if moment == "writing":
            kill()
        really = Path.replace
        Path.replace = lambda self, to: kill() if to.name == "target.png" else really(self, to)
        claim.finish({"versions": {}})
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("moment", ["working", "writing", "moving"])
def test_after_a_crash(tmp_path, moment, existing):
    """Whatever was going on: foreign files are there, the folder is known for whose it is, and the next run works."""
    folder = tmp_path / "me"
    if existing:
        write(folder, "old", ("target.png", "proj.png", "edited.png"))
        (folder / "me.jpg").write_text("my photo")
    command = [sys.executable, "-c", textwrap.dedent(KILLED), moment, str(folder)]
    assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL
    assert (folder / CLAIM_FILE).exists()
    report = finished_report(folder)
    assert (report is not None) == (existing and moment != "moving")
    assert take(folder, YOU, lambda known: known.get("photo") == YOU["photo"]) is None  # it is not free
    write(folder, "newer")
    expected = ["proj.png", "report.json", "target.png"]
    assert names(folder) == sorted([*expected, *(["edited.png", "me.jpg"] if existing else [])])
    assert (folder / "target.png").read_text() == (folder / "proj.png").read_text() == "newer"
    assert not existing or (folder / "me.jpg").read_text() == "my photo"
    assert finished_report(folder) is not None


def test_two_processes_never_write_one_folder(tmp_path):
    code = """
        import sys, time
        from pathlib import Path
        from relatent.core.claims import take
        claim = take(Path(sys.argv[1]), {"photo": {"sha256": "0123", "face": 1}}, lambda known: True)
        print("claimed", flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "me")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "claimed\n"
        with pytest.raises(OutputError, match="another process"):
            take(tmp_path / "me", ME, is_me)
        assert take(tmp_path / "me", YOU, lambda known: known.get("photo") == YOU["photo"]) is None
        other.communicate("")
    write(tmp_path / "me")  # what it left behind is taken over
    assert names(tmp_path / "me") == ["proj.png", "report.json", "target.png"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_pictures_of_ours_are_known_wherever_they_lie(tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    MarkedImage(pixels, software_tag("faces-128@0123456789ab", {"smile": 2.0})).save(tmp_path / f"ours{suffix}")
    MarkedImage(pixels, "Camera 3").save(tmp_path / f"mine{suffix}")
    write(tmp_path / "me", names=("target.png",))
    (tmp_path / "me" / "me.jpg").write_text("my photo")
    assert has_mark(tmp_path / f"ours{suffix}")
    found = [tmp_path / f"ours{suffix}", tmp_path / f"mine{suffix}", tmp_path / "me/target.png", tmp_path / "me/me.jpg"]
    assert without_results(found) == ([found[1], found[3]], [found[0], found[2]])

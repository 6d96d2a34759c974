"""A batch loses nothing: crashes, kills, full disks, changed settings, several runs."""

import csv
import json
import multiprocessing
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stand_in import SETTINGS, StandIn, run

from inversion import InvertConfig
from inversion.batch import database
from inversion.batch.manifest import Manifest
from inversion.batch.opening import opened_manifest
from inversion.batch.run import BatchOptions, project_photos
from inversion.batch.status import status
from inversion.batch.summary import summarise
from inversion.batch.workers import Workers
from inversion.project import demo_photo
from relatent.core.errors import NoSpaceError, OutputError, RelatentError

POSIX = pytest.mark.skipif(os.name == "nt", reason="signals differ")
STAND_IN = Path(__file__).with_name("stand_in.py")
ROOT = Path(__file__).parents[3]


def make_photos(folder, *names):
    """Files with contents of their own; the stand-in does not look at pictures."""
    paths = [folder / f"{name}.png" for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"photo {path}".encode())
    return paths


@pytest.fixture
def photos(tmp_path):
    return lambda *names: make_photos(tmp_path / "photos", *names)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def forked(function, *arguments):
    """A started process that has everything imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # later Pythons dislike forks
        child = multiprocessing.get_context("fork").Process(target=function, args=arguments)
        child.start()
    return child


def statuses(outcomes):
    return [one.status for one in outcomes]


def folders(outdir):
    return sorted(path.name for path in outdir.iterdir() if path.is_dir())


def states(outdir):
    """State by the photo's stem."""
    manifest = Manifest(outdir, read_only=True)
    rows = manifest.database.execute("SELECT path, state FROM photos").fetchall()
    manifest.close()
    return {Path(path).stem: state for path, state in rows}


def check_whole(outdir, photos):
    """Every photo has exactly one result, complete; nothing else lies in OUT."""
    found = {}
    for folder in (path for path in outdir.iterdir() if path.is_dir()):
        assert sorted(path.name for path in folder.iterdir()) == ["inversion.safetensors", "report.json", "target.png"]
        report = json.loads((folder / "report.json").read_text())
        known = report["photo"]
        for name in ("target.png", "inversion.safetensors"):
            expected = f"{name} {known['sha256']} {known['face']}".encode() * 50
            assert (folder / name).read_bytes() == expected
        found[known["file"], known["face"]] = folder.name
    assert sorted(found) == sorted(
        (str(path), face) for path in photos for face in ((1, 2) if "pair" in path.stem else (1,))
    )
    assert {path.name for path in outdir.iterdir() if path.is_file()} <= {
        "manifest.sqlite",
        "report.csv",
        "report.html",
    }
    assert set(states(outdir).values()) == {"done"}


def test_a_rerun_does_what_is_missing(photos, out, tmp_path):
    first, second = photos("a", "b/a"), photos("c", "d-pair")
    work = StandIn(tmp_path / "log")
    assert statuses(run(first, out, work=work)) == ["done", "done"]
    assert folders(out) == ["a", "a-2"]
    assert statuses(run([*first, *second], out, work=work, face="all")) == ["skipped"] * 2 + ["done"] * 3
    assert (tmp_path / "log").read_text().split() == ["photos/a", "b/a", "photos/c", "photos/d-pair"]
    assert folders(out) == ["a", "a-2", "c", "d-pair", "d-pair-face2"]
    (out / "a-2" / "inversion.safetensors").unlink()
    assert statuses(run(first, out, work=work)) == ["skipped", "done"]  # what somebody has removed is done again
    check_whole(out, [*first, *second])


def test_failures_are_remembered_until_they_are_to_be_retried(photos, out):
    good, bad = photos("good", "bad")
    assert statuses(run([good, bad], out)) == ["done", "failed"]
    (again,) = run([bad], out, work=StandIn(settings=SETTINGS))
    assert again.message == f"no face found in {bad}. (Failed before; --retry-failed tries again.)"
    assert statuses(run([good, bad], out, retry_failed=True)) == ["skipped", "failed"]
    assert statuses(run([good, bad], out, hash_first=False)) == ["skipped", "failed"]
    assert states(out) == {"good": "done", "bad": "failed"}
    bad.write_bytes(b"another photo")
    (changed,) = run([bad], out)
    assert "Failed before" not in changed.message
    (other,) = run([bad], out, work=StandIn(settings={**SETTINGS, "seed": 2}))
    assert "Failed before" not in other.message
    assert "no face found" in status(out)


def test_changed_settings_are_said(photos, out):
    (photo,) = photos("a")
    assert statuses(run([photo], out)) == ["done"]
    assert statuses(run([photo], out)) == ["skipped"]  # a tuple is a list in the manifest
    other = StandIn(settings={**SETTINGS, "seed": 2, "network": "other@1"})
    (refused,) = run([photo], out, work=other)
    assert refused.status == "failed"
    assert f"{out / 'a'} holds a.png inverted with another network and seed." in refused.message
    assert states(out) == {"a": "done"}
    assert statuses(run([photo], out, work=other, overwrite=True)) == ["done"]
    assert statuses(run([photo], out, work=other)) == ["skipped"]


def test_a_missing_photo_is_tried_again_when_it_is_there(photos, out, tmp_path):
    gone = tmp_path / "photos" / "gone.png"
    (failed,) = run([gone], out)
    assert failed.message == f"{gone} does not exist. Check the path."
    photos("gone")
    assert statuses(run([gone], out)) == ["done"]


def test_copies_are_inverted_once(photos, out, tmp_path):
    (photo,) = photos("a")
    copies = [tmp_path / "photos" / f"copy{number}.png" for number in range(3)]
    for copy in copies:
        copy.write_bytes(photo.read_bytes())
    work = StandIn(tmp_path / "log")
    outcomes = list(run([photo, *copies[:2]], out, work=work, hash_first=False))
    assert statuses(outcomes)[0] == "done"
    again = list(run(copies, out, work=work))
    assert statuses(again) == ["skipped"] * 3
    assert again[2].message == f"the same photo as {photo}, done before; --overwrite does it again"
    assert again[2].folder == out / "a"
    assert folders(out) == ["a"]
    assert set(states(out).values()) == {"done"}
    summarise(out)
    with (out / "report.csv").open(newline="") as file:
        rows = {Path(row["photo"]).name: (row["folder"], row["reason"]) for row in csv.DictReader(file)}
    assert rows == {"a.png": ("a", ""), **{copy.name: ("a", f"the same photo as {photo}") for copy in copies}}
    photo.unlink()  # the archive was moved: nothing is a copy of what is no longer there
    assert next(run(copies[:1], out, work=work)).message == "done before; --overwrite does it again"


def test_status_while_a_batch_runs(photos, out):
    paths = photos("a", "b", "bad", "c")
    outcomes = run(paths, out)
    for _ in range(3):
        next(outcomes)
    counted, running, failed = status(out).splitlines()
    assert counted == "photos: 2 done, 1 failed, 1 pending"
    assert re.fullmatch(rf"Process {os.getpid()} has been at work for .* a second; about .* left\.", running)
    assert failed == f"failed: no face found in {paths[2]}."
    assert statuses(outcomes) == ["done"]


def test_files_in_the_way_leave_a_photo_pending(photos, out):
    (photo,) = photos("a")
    assert statuses(run([photo], out)) == ["done"]
    (out / "a" / "target.png").write_text("painted by hand")
    (refused,) = run([photo], out, overwrite=True)
    assert "is not a file that Relatent wrote" in refused.message
    assert (out / "a" / "target.png").read_text() == "painted by hand"
    assert states(out) == {"a": "pending"}
    (out / "a" / "target.png").unlink()
    assert statuses(run([photo], out)) == ["skipped"]  # the earlier result is still known


def test_thousands_of_one_stem_get_numbers(photos, out):
    paths = photos(*(f"{number}/img" for number in range(12)))
    assert statuses(run(paths, out)) == ["done"] * 12
    assert set(folders(out)) == {"img", *(f"img-{number}" for number in range(2, 13))}
    assert statuses(run(reversed(paths), out)) == ["skipped"] * 12


def test_a_second_run_is_told(photos, out):
    (photo,) = photos("a")
    with opened_manifest(out), pytest.raises(OutputError, match=r"another run is writing to .*inversion status"):
        list(run([photo], out))
    assert statuses(run([photo], out)) == ["done"]


def test_stopping_finishes_what_is_in_hand(photos, out):
    paths, asked = photos("a", "b", "c"), []
    outcomes = list(run(paths, out, stop=lambda: len(asked) == 2 or asked.append(1)))
    assert statuses(outcomes) == ["done", "done"]
    assert states(out) == {"a": "done", "b": "done", "c": "pending"}
    assert "1 pending" in status(out)
    assert "cut off" not in status(out) or "go on" in status(out)
    assert statuses(run(paths, out)) == ["skipped", "skipped", "done"]


def test_a_full_disk_stops_the_batch(photos, out, monkeypatch):
    paths = photos("a", "b", "c")
    original = Path.write_bytes

    def full(self, data):
        if self.parent.parent.name == "b":
            raise OSError(28, "No space left on device", str(self))
        return original(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    outcomes = []
    with pytest.raises(NoSpaceError, match="disk is full"):
        outcomes += run(paths, out)
    assert folders(out) == ["a"]
    assert states(out) == {"a": "done", "b": "pending", "c": "pending"}
    monkeypatch.undo()
    assert statuses(run(paths, out)) == ["skipped", "done", "done"]
    check_whole(out, paths)


def with_small_files(photos, outdir, said):
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
    try:
        said.send(len(list(run(photos, outdir))))
    except OutputError as error:
        said.send(str(error))


@POSIX
def test_a_disk_that_takes_no_more_bytes(photos, out):
    """The file system refuses, rather than a stand-in for it: the manifest's file meets it first."""
    paths = photos(*(f"photo{number}" for number in range(40)))
    said, says = multiprocessing.Pipe()
    child = forked(with_small_files, paths, out, says)
    child.join(60)
    told = said.recv()
    assert str(told).startswith("cannot"), told
    done = [stem for stem, state in states(out).items() if state == "done"]
    assert 0 < len(done) < 40
    assert sorted(done) == folders(out)
    assert statuses(run(paths, out)).count("done") == 40 - len(done)
    check_whole(out, paths)


class RefusingWal(sqlite3.Connection):
    """What SQLite says where the file system has no shared memory."""

    def execute(self, query, *values):
        if "WAL" in query:
            raise sqlite3.OperationalError("locking protocol")
        return super().execute(query, *values)


def test_a_rollback_journal_where_wal_is_refused(photos, out, monkeypatch):
    original = sqlite3.connect
    monkeypatch.setattr(database.sqlite3, "connect", lambda *a, **more: original(*a, **more, factory=RefusingWal))
    paths = photos("a", "b")
    assert statuses(run(paths, out)) == ["done", "done"]
    manifest = Manifest(out)
    assert manifest.database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    manifest.close()
    assert statuses(run(paths, out)) == ["skipped", "skipped"]
    check_whole(out, paths)


@pytest.mark.parametrize("content", [b"not a database, but long enough to look like one" * 20, None])
def test_another_file_of_that_name(photos, out, content):
    out.mkdir()
    if content is None:
        with sqlite3.connect(out / "manifest.sqlite") as other:
            other.execute("CREATE TABLE diary (day TEXT)")
        other.close()
    else:
        (out / "manifest.sqlite").write_bytes(content)
    before = (out / "manifest.sqlite").read_bytes()
    with pytest.raises(OutputError, match=r"manifest\.sqlite.*choose another --outdir"):
        list(run(photos("a"), out))
    assert (out / "manifest.sqlite").read_bytes() == before
    assert [path.name for path in out.iterdir()] == ["manifest.sqlite"]


def test_a_manifest_of_a_later_version(photos, out):
    list(run(photos("a"), out))
    with sqlite3.connect(out / "manifest.sqlite") as later:
        later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(OutputError, match="later version"):
        list(run(photos("a"), out))


def test_reports_show_the_hardest_first(photos, out):
    paths = photos("a", "b", "c-pair", "=formula-bad", "<b>")
    list(run(paths, out, face="all"))
    summarise(out)
    with (out / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["loss"]) for row in rows if row["loss"]]
    assert losses == sorted(losses, reverse=True)
    assert len(losses) == 5
    assert rows[-1]["state"] == "failed"
    assert "no face found" in rows[-1]["reason"]
    page = (out / "report.html").read_text()
    assert page.count("data:image/jpeg") == 5
    assert "<b>" not in page.replace("<body>", "")
    assert "http" not in page
    assert "4 done, 1 failed" in page
    assert status(out).startswith("photos: 4 done, 1 failed, 0 pending\nThe last run has ended.")


def test_status_needs_a_batch(tmp_path):
    with pytest.raises(OutputError, match=r"has no manifest\.sqlite"):
        status(tmp_path)


# Kills


def after_fork(photos, outdir, log, ready):
    ready.set()
    list(run(photos, outdir, work=StandIn(log), face="all"))


def kill_often(paths, tmp_path, times, seed):
    """Run batches and kill them at random moments; when one is complete, the next begins in a new folder."""
    rng, number, kills = random.Random(seed), 0, 0
    while kills < times:
        number += 1
        out, done = tmp_path / f"out{number}", {}
        while True:
            log, ready = tmp_path / "log", multiprocessing.Event()
            log.write_text("")
            child = forked(after_fork, paths, out, log, ready)
            assert ready.wait(30)
            child.join(rng.uniform(0, 0.2) if kills < times else None)
            killed = child.is_alive()
            child.kill()
            child.join()
            kills += killed
            worked_on = {name.partition("/")[2] for name in log.read_text().split()}
            assert not worked_on & {stem for stem, state in done.items() if state == "done"}, "done twice"
            if not killed:
                assert child.exitcode == 0
                break
            if (out / "manifest.sqlite").exists():
                with opened_manifest(out):
                    pass  # removes what was left half
                done = states(out)
                for folder in folders(out):
                    assert (out / folder / "report.json").is_file()
        check_whole(out, paths)


@POSIX
@pytest.mark.parametrize("times", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_at_random_moments(photos, tmp_path, times):
    paths = photos(*(f"{number % 3}/photo{number // 3}{'-pair' if number % 5 == 0 else ''}" for number in range(30)))
    kill_often(paths, tmp_path, times, seed=times)


def start_stand_in(tmp_path, out, workers=2):
    return subprocess.Popen(
        [sys.executable, str(STAND_IN), str(tmp_path / "photos"), str(out), str(tmp_path / "log"), str(workers)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def processes_of(group):
    """Processes below one, as /proc tells."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue
        if int(rest.split()[1]) in group:
            found.append(int(stat.parent.name))
    return found + processes_of(found) if found else []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.slow
def test_workers_end_with_a_killed_parent(photos, tmp_path, out):
    paths = photos(*(f"photo{number}" for number in range(200)))
    for kill in range(3):
        parent = start_stand_in(tmp_path, out)
        assert parent.stdout.readline() == "ready\n"
        while parent.stdout.readline() != "done\n":  # what is skipped is told before there are workers
            assert parent.poll() is None
        below = processes_of([parent.pid])
        assert len(below) >= 2
        parent.kill()
        parent.wait()
        parent.stdout.close()
        deadline = time.monotonic() + 60
        while any(Path(f"/proc/{one}").exists() for one in below):
            assert time.monotonic() < deadline, f"orphans after kill {kill}"
            time.sleep(0.05)
    assert set(statuses(run(paths, out, face="all"))) == {"skipped", "done"}
    check_whole(out, paths)


@POSIX
@pytest.mark.parametrize("size", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_photo_that_crashes_its_worker_is_passed_over(photos, out, tmp_path, size):
    paths = photos("a", "crash", "b", "bug", "c")
    work = StandIn(tmp_path / "log")
    outcomes = list(run(paths, out, Workers(1, work, size=size), work))
    reasons = {one.photo.stem: one.message for one in outcomes if one.status == "failed"}
    assert reasons == {
        "crash": f"{paths[1]} crashed the worker process that read it (SIGSEGV).",
        "bug": f"{paths[3]}: unexpected ZeroDivisionError: a bug. Please report this.",
    }
    assert states(out) == {"a": "done", "b": "done", "c": "done", "crash": "failed", "bug": "failed"}
    assert statuses(run(paths, out, work=work)).count("failed") == 2  # and are not tried again
    assert not multiprocessing.active_children()


class CannotOpen(StandIn):
    def open(self):
        raise RelatentError("the network has gone")


class DiesAtOnce(StandIn):
    def open(self):
        os._exit(7)


@pytest.mark.slow
def test_workers_that_cannot_start(photos, out):
    with pytest.raises(RelatentError, match="the network has gone"):
        list(run(photos("a"), out, Workers(2, CannotOpen())))
    with pytest.raises(RelatentError, match=r"ended while it was starting \(exit code 7\)"):
        list(run(photos("a"), out, Workers(2, DiesAtOnce())))
    assert states(out) == {"a": "pending"}
    assert not multiprocessing.active_children()


@POSIX
@pytest.mark.slow
def test_an_interrupt_ends_the_workers(photos, out):
    """An exception in the caller's loop, as Ctrl-C twice or SIGTERM makes one, ends what is at work."""
    work = StandIn()
    outcomes = run(photos("a", "slow", "b"), out, Workers(2, work), work)
    assert next(outcomes).status == "done"
    started = {child.pid for child in multiprocessing.active_children()}
    outcomes.close()
    assert started
    assert not multiprocessing.active_children()
    assert states(out)["slow"] == "pending"
    with opened_manifest(out):
        pass  # the claim is free


@POSIX
@pytest.mark.slow
def test_ctrl_c_finishes_what_is_in_hand(tmp_path, out):
    """The whole command; its workers are in the terminal's group and get the signal as well."""
    for number in range(9):
        (tmp_path / f"{number}.png").write_bytes(demo_photo().read_bytes() + bytes([number]))
    command = [
        sys.executable,
        "-m",
        "inversion.project",
        *map(str, sorted(tmp_path.glob("*.png"))),
        "--outdir",
        str(out),
    ]
    process = subprocess.Popen(
        [*command, "--preset", "fast", "--workers", "1"], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert "PSNR" in process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    rest, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "finishing the photos in hand" in errors
    assert "run the same command again to go on" in errors
    assert len(folders(out)) == 1 + len(rest.splitlines())
    assert 1 <= len(folders(out)) < 9
    assert (out / "report.html").is_file()


def contents(path):
    """What a file holds; the header of a safetensors file names its metadata in any order."""
    data = path.read_bytes()
    if path.suffix != ".safetensors":
        return data
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def turned_photos(folder):
    """Three photos of the demo's face, each turned a little."""
    photos = [folder / f"{name}.png" for name in "abc"]
    for angle, photo in enumerate(photos):
        Image.open(demo_photo()).rotate(angle * 4).save(photo)
    return photos


def check_equal(here, there, pairs):
    """Results of the photos of :func:`turned_photos`: ``there`` as ``here``, and ``pairs`` within a level."""
    for name in "abc":
        for file in ("target.png", "proj.png", "inversion.safetensors", "projected_w.npz"):
            assert contents(here / name / file) == contents(there / name / file)
        one, other = (np.asarray(Image.open(folder / name / "proj.png")).astype(int) for folder in (here, pairs))
        assert np.abs(one - other).max() <= 1


@pytest.mark.slow
def test_workers_give_what_one_process_gives(tiny_file, tmp_path):
    """Bit by bit, at one batch size and in one thread, as in all tests; a batch of two is as good as two of one."""
    photos = turned_photos(tmp_path)
    config = InvertConfig(num_steps=4)
    for name, options in {
        "here": BatchOptions(),
        "workers": BatchOptions(workers=2, batch_size=1),
        "pairs": BatchOptions(workers=1, batch_size=2),
    }.items():
        outcomes = list(project_photos(photos, tmp_path / name, tiny_file, config, options))
        assert sorted(outcome.photo for outcome in outcomes) == photos
        assert statuses(outcomes) == ["done"] * 3
    check_equal(tmp_path / "here", tmp_path / "workers", tmp_path / "pairs")


def test_company_makes_no_difference_in_workers(tiny_file, tmp_path):
    """Workers optimise photos together, and fill up the last batch: a photo's result is the same alone, bit by bit."""
    photos = turned_photos(tmp_path)
    config = InvertConfig(num_steps=4)
    for name, some in {"all": photos, "one": photos[1:2]}.items():
        options = BatchOptions(workers=1)
        assert statuses(project_photos(some, tmp_path / name, tiny_file, config, options)) == ["done"] * len(some)
    for file in ("proj.png", "inversion.safetensors", "projected_w.npz"):
        assert contents(tmp_path / "all" / "b" / file) == contents(tmp_path / "one" / "b" / file)

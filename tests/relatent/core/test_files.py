"""Writing results: all or nothing, with the permissions of any new file, and errors that are really the output's."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import urllib.error
from pathlib import Path

import pytest

from relatent.core.errors import OutputError, UsageError
from relatent.core.files import atomic_file, output_errors, write_bytes

ROOT = Path(__file__).parents[3]


def fill(temporary: Path) -> None:
    """Some content."""
    temporary.write_text("new")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def system_error(number: int, name: Path | str | None = None) -> OSError:
    return OSError(number, os.strerror(number), *([str(name)] if name else []))


@pytest.fixture
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


# --- success ---------------------------------------------------------------------------------------------------------


def test_a_file_is_written_and_its_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "c.png"
    with atomic_file(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".png"
        assert temporary.name.startswith(".")  # a batch that looks for photos passes it over
        assert not path.exists()
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["c.png"]


def test_a_file_is_replaced(tmp_path):
    path = tmp_path / "c.json"
    path.write_text("old")
    write_bytes(path, b"new")
    assert path.read_text() == "new"
    assert names(tmp_path) == ["c.json"]


def test_names_may_be_as_long_as_the_system_allows(tmp_path):
    for name in ("n" * 251 + ".txt", "ü" * 120 + ".json", "🙂" * 60, ".hidden"):
        with atomic_file(tmp_path / name) as temporary:
            fill(temporary)
        assert names(tmp_path) == [name]
        (tmp_path / name).unlink()


def test_relative_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with atomic_file(Path("me")) as temporary:
        fill(temporary)
    assert names(tmp_path) == ["me"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002, 0o000], indirect=True, ids=oct)
def test_permissions_follow_the_umask(tmp_path, umask):
    write_bytes(tmp_path / "file", b"")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~umask


def test_the_umask_is_never_touched(tmp_path, monkeypatch):
    # It belongs to the whole process: reading it means changing it under the feet of other threads.
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("umask was called"))
    write_bytes(tmp_path / "file", b"")


# --- failure inside --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("bug"), KeyboardInterrupt(), SystemExit(3), UsageError("no")], ids=repr)
def test_any_exception_passes_and_leaves_nothing_behind(tmp_path, error):
    def fail() -> None:
        with atomic_file(tmp_path / "me") as temporary:
            fill(temporary)
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert names(tmp_path) == []


def test_what_was_there_survives_an_exception(tmp_path):
    path = tmp_path / "me"
    with atomic_file(path) as temporary:
        fill(temporary)
    before = path.stat().st_ino
    with pytest.raises(ValueError, match="bug"), atomic_file(path) as temporary:
        raise ValueError("bug")
    assert path.stat().st_ino == before
    assert names(tmp_path) == ["me"]


@pytest.mark.parametrize("existing", [True, False])
def test_a_rename_that_fails_leaves_things_as_they_were(tmp_path, monkeypatch, existing):
    path = tmp_path / "me"
    if existing:
        with atomic_file(path) as temporary:
            fill(temporary)
    before = names(tmp_path)
    really = Path.replace

    def full(source: Path, target: Path) -> None:
        if Path(target) == path and Path(source).exists() and not restoring:
            restoring.append(1)
            raise OSError(errno.ENOSPC, "No space left on device", str(source), None, str(target))
        really(source, target)

    restoring: list[int] = []
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="the disk is full"), atomic_file(path) as temporary:
        fill(temporary)
    assert restoring
    assert names(tmp_path) == before
    assert not existing or path.read_text() == "new"


def test_an_interrupt_between_the_renames_brings_the_old_back(tmp_path, monkeypatch):
    path = tmp_path / "me"
    with atomic_file(path) as temporary:
        fill(temporary)
    really = Path.replace

    def interrupted(source: Path, target: Path) -> None:
        if Path(target) == path and not interrupts:
            interrupts.append(1)
            raise KeyboardInterrupt
        really(source, target)

    interrupts: list[int] = []
    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), atomic_file(path) as temporary:
        pass
    assert names(tmp_path) == ["me"]
    assert path.read_text() == "new"


def test_a_full_disk_while_writing(tmp_path, monkeypatch):
    def full(self: Path, text: str) -> int:
        raise system_error(errno.ENOSPC)  # a write knows no name

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError) as caught, atomic_file(tmp_path / "me") as temporary:
        fill(temporary)
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'me'}: the disk is full. Free some space or choose another folder."
    )
    assert names(tmp_path) == []


# --- which errors are the output's -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "the disk is full. Free some space or choose another folder."),
        (errno.EDQUOT, "the disk quota is used up. Free some space or choose another folder."),
        (errno.EACCES, "this user may not write there. Choose another folder."),
        (errno.EPERM, "this user may not write there. Choose another folder."),
        (errno.EROFS, "the file system is read-only. Choose another folder."),
        (errno.ENOTDIR, "part of that path is a file, not a folder. Choose another folder."),
        (errno.EISDIR, "that is a folder; expected the name of a file. Choose another name."),
        (errno.ENAMETOOLONG, "the name is too long for that file system. Choose a shorter one."),
        (errno.EFBIG, "the file is too large for that file system. Choose another folder."),
        (errno.ELOOP, "Too many levels of symbolic links. Choose another folder."),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else "",
)
def test_the_reasons_in_words(tmp_path, number, reason):
    path = tmp_path / "out" / "me.png"
    for name in (path, path.parent, tmp_path):
        with pytest.raises(OutputError) as caught, output_errors(path):
            raise system_error(number, name)
        assert str(caught.value) == f"cannot write {path}: {reason}"
        assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize(
    "error",
    [
        system_error(errno.ENOENT, "/photos/nobody.jpg"),
        system_error(errno.EACCES, "/photos/private.jpg"),
        system_error(errno.ENOSPC, "/another/disk"),
        system_error(errno.EPIPE),
        system_error(errno.ENOENT),
        OSError("encoder error -2 when writing image file"),
        ssl.SSLError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]"),  # 1 is EPERM, too
        ssl.SSLError(5, "SSL_ERROR_SYSCALL"),  # and 5 EIO
        urllib.error.URLError("no network"),
        socket.gaierror(-2, "Name or service not known"),
        TimeoutError("too slow"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        ValueError("unrelated (os error 2)"),
    ],
    ids=repr,
)
def test_an_unrelated_error_passes_unchanged(tmp_path, error):
    with pytest.raises(type(error)) as caught, atomic_file(tmp_path / "me"):
        raise error
    assert caught.value is error
    assert names(tmp_path) == []


def test_a_missing_input_beside_the_output_is_not_the_output(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "me"):
        (tmp_path / "input.jpg").read_bytes()


def test_a_refusal_of_the_temporary_path_is_the_output_s(tmp_path):
    with pytest.raises(OutputError, match="read-only"), atomic_file(tmp_path / "me") as temporary:
        raise system_error(errno.EROFS, temporary)


def test_an_error_in_rust_s_words(tmp_path):
    words = 'Error while serializing: IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })'
    for text in (words, "I/O error: No space left on device (os error 28)"):
        with pytest.raises(OutputError, match="the disk is full"), atomic_file(tmp_path / "me"):
            raise RuntimeError(text)


def test_an_error_without_number_or_name_counts_if_the_disk_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 0))
    with pytest.raises(OutputError, match="the disk is full"), atomic_file(tmp_path / "me"):
        raise OSError("100 requested and 50 written")  # NumPy's words


def test_an_output_error_inside_stays_itself(tmp_path):
    with pytest.raises(OutputError, match="other"), atomic_file(tmp_path / "me"):
        raise OutputError("cannot write other: the disk is full.")


# --- targets that cannot be ------------------------------------------------------------------------------------------


def test_a_parent_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("old")
    for path in (tmp_path / "file" / "me", tmp_path / "file" / "deep" / "me"):
        with pytest.raises(OutputError, match="part of that path is a file, not a folder"), atomic_file(path):
            pytest.fail("the block must not run")
    assert (tmp_path / "file").read_text() == "old"


def test_a_file_where_a_folder_is(tmp_path):
    (tmp_path / "me").mkdir()
    with pytest.raises(OutputError, match="that is a folder"), atomic_file(tmp_path / "me"):
        pytest.fail("the block must not run: its work would be lost")
    with pytest.raises(OutputError, match="that is a folder"):
        write_bytes(tmp_path, b"")


@pytest.mark.parametrize("path", [Path("/"), Path(), Path("n" * 300)], ids=repr)
def test_impossible_names(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="cannot write"), atomic_file(path):
        pass
    assert names(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_somebody_else(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="this user may not write there"), atomic_file(tmp_path / "locked" / "me"):
        pytest.fail("the block must not run")


# --- the real thing --------------------------------------------------------------------------------------------------

KILLED = """
    import os, signal, sys
    from pathlib import Path
    from relatent.core.files import atomic_file
    with atomic_file(Path(sys.argv[1])) as temporary:
        temporary.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_process_leaves_the_old_target(tmp_path):
    path = tmp_path / "me"
    with atomic_file(path) as temporary:
        fill(temporary)
    command = [sys.executable, "-c", textwrap.dedent(KILLED), path]
    assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL
    assert path.read_text() == "new"
    assert [name for name in names(tmp_path) if not name.startswith(".")] == ["me"]


FULL = """
    import os, sys
    from pathlib import Path
    import numpy as np
    from PIL import Image
    from safetensors.numpy import save_file
    from relatent.core.errors import OutputError
    from relatent.core.files import atomic_file, write_bytes

    disk = Path(sys.argv[1])
    write_bytes(disk / "old.bin", b"old")
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)

    def refused(write, word="the disk is full"):
        try:
            write()
        except OutputError as error:
            assert word in str(error), error
        else:
            raise AssertionError("nothing was refused")
        assert os.listdir(disk) == ["old.bin"], os.listdir(disk)
        assert (disk / "old.bin").read_bytes() == b"old"

    def by(save, name):
        with atomic_file(disk / name) as temporary:
            save(temporary)

    refused(lambda: write_bytes(disk / "old.bin", bytes(10**6)))
    refused(lambda: by(lambda path: Image.fromarray(noise).save(path), "a.png"))
    refused(lambda: by(lambda path: Image.fromarray(noise).save(path, quality=100), "a.jpg"))
    refused(lambda: by(lambda path: np.save(path, noise), "a.npy"))
    refused(lambda: by(lambda path: np.savez(path, w=noise), "a.npz"))
    refused(lambda: by(lambda path: save_file({"w": noise}, path), "a.safetensors"))
    os.system(f"mount -o remount,ro {disk}")
    refused(lambda: write_bytes(disk / "old.bin", b"new"), "the file system is read-only")
    refused(lambda: write_bytes(disk / "new.bin", b"new"), "the file system is read-only")
"""


def test_a_disk_that_is_really_full_and_then_read_only(tmp_path):
    mount = f"mount -t tmpfs -o size=64k none {tmp_path}"
    private = ["unshare", "--mount", "sh", "-c"]  # the mount is seen by this process alone, and goes with it
    if not shutil.which("unshare") or subprocess.run([*private, mount], capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    script = tmp_path.with_suffix(".py")
    script.write_text(textwrap.dedent(FULL))
    run = f"{mount} && PYTHONPATH={ROOT} exec {sys.executable} {script} {tmp_path}"
    done = subprocess.run([*private, run], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_writer_that_replaces_the_file_does_not_decide_its_permissions(tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    with atomic_file(tmp_path / "target") as temporary:
        temporary.unlink()
        temporary.touch(mode=0o600)
    assert (tmp_path / "target").stat().st_mode == plain.stat().st_mode

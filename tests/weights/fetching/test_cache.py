"""Where weights live, what is remembered, and that two cannot fetch the same at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from relatent.core.errors import OutputError, WeightsError
from weights.fetching import cache as cache_module
from weights.fetching.cache import Provenance, cache_folder, locked, place_of, read_provenance, write_provenance

ROOT = Path(__file__).parents[3]
KNOWN = Provenance(
    name="net",
    url="https://example.org/net.pkl",
    sha256="0" * 64,
    bytes=3,
    date="2026-01-01T00:00:00+00:00",
    checked="published",
    licence="MIT",
    licence_url="https://example.org/licence",
    non_commercial=False,
)


class TestFolder:
    def test_the_variable_decides(self, monkeypatch, tmp_path):
        monkeypatch.setenv("RELATENT_CACHE", str(tmp_path / "here"))
        assert cache_folder() == tmp_path / "here"
        assert not (tmp_path / "here").exists()
        monkeypatch.setenv("RELATENT_CACHE", "~/nets")
        assert cache_folder() == Path.home() / "nets"
        monkeypatch.setenv("RELATENT_CACHE", "nets")
        assert cache_folder() == Path.cwd() / "nets"

    @pytest.mark.parametrize(
        ("platform", "variables", "expected"),
        [
            ("linux", {}, ".cache"),
            ("linux", {"XDG_CACHE_HOME": "relative"}, ".cache"),
            ("linux", {"XDG_CACHE_HOME": "{home}/xdg"}, "xdg"),
            ("darwin", {}, "Library/Caches"),
            ("win32", {"LOCALAPPDATA": "{home}/local"}, "local"),
        ],
    )
    def test_else_the_platforms_place(self, monkeypatch, tmp_path, platform, variables, expected):
        monkeypatch.setattr(cache_module.sys, "platform", platform)
        for name in ("RELATENT_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        for name, value in variables.items():
            monkeypatch.setenv(name, value.format(home=tmp_path))
        assert cache_folder() == tmp_path / expected / "relatent"

    def test_no_home(self, monkeypatch):
        def homeless():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setenv("RELATENT_CACHE", "")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr(Path, "home", homeless)
        with pytest.raises(WeightsError, match="set RELATENT_CACHE"):
            cache_folder()

    def test_a_file_has_a_folder_of_its_own(self, entry_for, cache):
        assert place_of(entry_for("file")) == cache / "net" / "net.pkl"


class TestProvenance:
    def test_there_and_back(self, tmp_path):
        write_provenance(tmp_path / "net" / "net.pkl", KNOWN)
        assert read_provenance(tmp_path / "net" / "net.pkl") == KNOWN
        assert [path.name for path in (tmp_path / "net").iterdir()] == ["provenance.json"]

    def test_nothing_is_remembered_of_nothing(self, tmp_path):
        assert read_provenance(tmp_path / "net.pkl") is None
        assert read_provenance(tmp_path / "net" / "net.pkl") is None

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": 3}', "[" * 100_000, "\x00"])
    def test_a_damaged_record_is_not_ignored(self, tmp_path, text):
        (tmp_path / "provenance.json").write_text(text)
        with pytest.raises(WeightsError, match=r"provenance\.json is damaged\. Delete it"):
            read_provenance(tmp_path / "net.pkl")

    @pytest.mark.parametrize(("key", "value"), [("sha256", None), ("bytes", "3"), ("bytes", True), ("url", 3)])
    def test_a_field_of_another_type(self, tmp_path, key, value):
        write_provenance(tmp_path / "net.pkl", KNOWN)
        record = tmp_path / "provenance.json"
        record.write_text(json.dumps(json.loads(record.read_text()) | {key: value}))
        with pytest.raises(WeightsError, match="damaged"):
            read_provenance(tmp_path / "net.pkl")


class TestLock:
    def holder(self, path):
        """Another process that holds the lock until it is killed."""
        code = (
            "import sys, time; from pathlib import Path; from weights.fetching.cache import locked\n"
            "with locked(Path(sys.argv[1]), print):\n    print('held', flush=True); time.sleep(30)"
        )
        other = subprocess.Popen(
            [sys.executable, "-c", code, str(path)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert other.stdout.readline() == "held\n"
        return other

    def test_a_second_process_waits_and_gives_up_in_the_end(self, tmp_path):
        path, heard = tmp_path / "net" / "net.pkl", []
        other = self.holder(path)
        try:
            with pytest.raises(WeightsError, match="still holds"), locked(path, heard.append, wait=0.1):
                raise AssertionError("two at once")
            assert heard == ["another process is fetching net.pkl; waiting for it."]
        finally:
            other.kill()
            other.communicate()

    def test_a_killed_process_leaves_no_lock(self, tmp_path):
        path, heard = tmp_path / "net" / "net.pkl", []
        other = self.holder(path)
        other.kill()
        other.communicate()
        with locked(path, heard.append, wait=0):
            pass
        assert heard == []

    def test_it_is_free_after_an_error(self, tmp_path):
        path = tmp_path / "net" / "net.pkl"
        with pytest.raises(KeyError), locked(path, print):
            raise KeyError
        with locked(path, pytest.fail):
            pass

    def test_a_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(OutputError, match="cannot write"), locked(tmp_path / "file" / "net" / "net.pkl", print):
            pass

"""`python -m weights`: what it prints, how it exits."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from click.testing import CliRunner
from file_server import CONTENT

from weights import __main__ as command_module
from weights import manifest as manifest_module
from weights.__main__ import main
from weights.fetching import fetch as fetch_module
from weights.fetching.cache import place_of

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(monkeypatch, terms):
    """Run a command with some entries as the manifest and the tests' impatience."""
    download = fetch_module.download
    monkeypatch.setattr(fetch_module, "download", lambda *args, **kw: download(*args, **kw | {"terms": terms}))

    def start(*args, entries=(), **options):
        known = {entry.name: entry for entry in entries}
        for module in (manifest_module, fetch_module, command_module):
            monkeypatch.setattr(module, "entries", lambda: known)
        return CliRunner().invoke(main, list(args), **options)

    return start


class TestFetch:
    def test_the_path_is_printed(self, run, entry_for):
        entry = entry_for("file")
        result = run("fetch", "net", entries=[entry])
        assert result.exit_code == 0, result.output
        assert result.stdout == f"net: {place_of(entry)}\n"
        assert place_of(entry).read_bytes() == CONTENT

    def test_a_first_hash_is_told(self, run, entry_for):
        result = run("fetch", "net", entries=[entry_for("file", sha256=None)])
        assert result.exit_code == 0
        assert "is kept and compared from now on" in result.stderr

    def test_one_failure_does_not_stop_the_others(self, run, entry_for):
        good, bad = entry_for("file"), entry_for("missing", name="bad")
        result = run("fetch", "bad", "net", entries=[good, bad])
        assert result.exit_code == 1
        assert "error: bad was not fetched" in result.stderr
        assert "net: " in result.stdout
        assert "Traceback" not in result.output

    def test_an_unknown_name_is_wrong_usage(self, run, entry_for):
        result = run("fetch", "nte", entries=[entry_for("file")])
        assert result.exit_code == 2
        assert "did you mean net?" in result.stderr

    def test_offline(self, run, entry_for, server):
        result = run("fetch", "net", "--offline", entries=[entry_for("file", non_commercial=True)])
        assert result.exit_code == 2
        assert "fetching is off" in result.stderr
        assert server.asked == []

    def test_an_interrupt_keeps_what_came(self, run, entry_for, monkeypatch):
        def interrupted(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(command_module, "fetch", interrupted)
        result = run("fetch", "net", entries=[entry_for("file")])
        assert result.exit_code == 130
        assert "goes on from there" in result.stderr


class TestLicence:
    def entry(self, entry_for):
        return entry_for("file", non_commercial=True, licence="Only for fun")

    def test_it_is_shown_and_yes_accepts(self, run, entry_for):
        result = run("fetch", "net", "--yes", entries=[self.entry(entry_for)])
        assert result.exit_code == 0
        assert "Only for fun. Its text: https://example.org/licence" in result.stderr

    def test_without_a_terminal_yes_is_needed(self, run, entry_for, server):
        result = run("fetch", "net", entries=[self.entry(entry_for)])
        assert result.exit_code == 2
        assert "Only for fun" in result.stderr
        assert "Add --yes" in result.stderr
        assert server.asked == []

    @pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 2), ("\n", 2)])
    def test_on_a_terminal_it_is_asked(self, run, entry_for, server, monkeypatch, answer, code):
        # CliRunner's own standard input is no terminal.
        monkeypatch.setattr(command_module, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
        result = run("fetch", "net", entries=[self.entry(entry_for)], input=answer)
        assert result.exit_code == code, result.output
        assert "Accept?" in result.stderr
        assert len(server.asked) == (code == 0)

    def test_what_is_here_is_not_asked_for_again(self, run, entry_for):
        entry = self.entry(entry_for)
        run("fetch", "net", "--yes", entries=[entry])
        result = run("fetch", "net", entries=[entry])
        assert result.exit_code == 0
        assert result.stderr == ""


class TestListVerifyWhere:
    def test_list(self, run, entry_for):
        here, there = entry_for("file"), entry_for("file", name="other-net", non_commercial=True, bytes=7_000_000)
        run("fetch", "net", entries=[here])
        lines = run("list", entries=[here, there]).stdout.splitlines()
        rows = [line.split() for line in lines]
        assert rows[0] == ["NAME", "KIND", "SIZE", "FETCHED", "LICENCE"]
        assert ["faces-128", "generator", "embedded"] in rows
        assert ["net", "generator", "3", "MB", "yes", "MIT"] in rows
        assert ["other-net", "generator", "7", "MB", "no", "MIT", "(non-commercial)"] in rows

    def test_verify(self, run, entry_for):
        entry, other = entry_for("file"), entry_for("file", name="other")
        assert "nothing has been fetched" in run("verify", entries=[entry]).stdout
        run("fetch", "net", entries=[entry])
        result = run("verify", entries=[entry, other])
        assert result.exit_code == 0
        assert result.stdout.startswith(f"net: sha256 {entry.sha256}, as first seen on 20")
        assert result.stdout.endswith(" and as published\n")
        place_of(entry).write_bytes(b"x" * len(CONTENT))
        result = run("verify", entries=[entry, other])
        assert result.exit_code == 1
        assert "published was" in result.stderr
        assert run("verify", "other", entries=[entry, other]).exit_code == 2

    def test_where(self, run, entry_for, cache):
        entry = entry_for("file")
        assert run("where", entries=[entry]).stdout == f"{cache}\n"
        result = run("where", "net", entries=[entry])
        assert result.stdout == f"{place_of(entry)}\n"
        assert "weights fetch net" in result.stderr
        run("fetch", "net", entries=[entry])
        assert run("where", "net", entries=[entry]).stderr == ""
        assert run("where", "ten", entries=[entry]).exit_code == 2


class TestConvert:
    @pytest.fixture
    def asked(self, monkeypatch):
        """What the conversion was asked for."""
        calls = []

        def convert(source, out, *, entry=None, half=False):
            calls.append((source, out, entry, half))
            return SimpleNamespace(summary=lambda: "done")

        fake = ModuleType("stylegan.formats.conversion")
        fake.convert = convert
        monkeypatch.setitem(sys.modules, "stylegan.formats.conversion", fake)
        return calls

    def test_everything_is_passed_on(self, run, asked):
        result = run("convert", "a.pkl", "b.safetensors", "--half", "--entry", "G")
        assert result.stdout == "done\n"
        run("convert", "ffhq-1024", "b.safetensors")
        assert asked == [("a.pkl", Path("b.safetensors"), "G", True),
                         ("ffhq-1024", Path("b.safetensors"), None, False)]  # fmt: skip


def test_the_command_starts_quickly_and_helps(tmp_path):
    code = "import sys, runpy; sys.argv = ['weights', '--help']\n"
    code += "try: runpy.run_module('weights', run_name='__main__')\n"
    code += "finally: assert not {'torch', 'numpy', 'filelock'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    for command in ("fetch", "list", "verify", "where", "convert"):
        assert f"  {command} " in done.stdout

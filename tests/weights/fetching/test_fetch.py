"""Fetching, finding and checking: trust, licences, offline, killed processes, two processes."""

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from file_server import CONTENT, HALF, PAGE

from relatent.core.errors import (
    DownloadError,
    MissingWeightsError,
    OutputError,
    UnknownNameError,
    UsageError,
    WeightsError,
)
from weights.fetching import fetch as fetch_module
from weights.fetching.cache import place_of, read_provenance
from weights.fetching.fetch import check_entry, fetch, fetch_entry, is_known, locate, locate_entry, verify
from weights.fetching.partial import PartialFile

ROOT = Path(__file__).parents[3]
HASH = hashlib.sha256(CONTENT).hexdigest()
OTHER = "0" * 64


@pytest.fixture
def get(terms):
    """Fetch an entry; returns the path and what the user was told."""

    def run(entry, **options):
        told = []
        return fetch_entry(entry, terms=terms, tell=told.append, **options), told

    return run


class TestFetching:
    def test_the_file_its_record_and_nothing_else(self, get, entry_for, cache):
        path, told = get(entry_for("file"))
        assert path.read_bytes() == CONTENT
        assert told == []
        assert {file.name for file in path.parent.iterdir()} - {".lock"} == {"net.pkl", "provenance.json"}
        record = json.loads((cache / "net" / "provenance.json").read_text())
        assert record["sha256"] == HASH
        assert record["bytes"] == len(CONTENT)
        assert record["checked"] == "published"
        assert (record["licence"], record["non_commercial"]) == ("MIT", False)
        assert record["url"].endswith("/file")

    def test_it_is_fetched_once(self, get, entry_for, server):
        entry = entry_for("file")
        assert get(entry) == get(entry)
        assert len(server.asked) == 1
        assert get(entry, offline=True)[0] == locate_entry(entry)

    @pytest.mark.parametrize("changes", [{"sha256": OTHER}, {"sha256": "0" * 8}, {"bytes": 5}])
    def test_what_is_not_as_published_is_removed(self, get, entry_for, changes):
        entry = entry_for("file", **changes)
        with pytest.raises(DownloadError, match=r"published was|expected 5") as caught:
            get(entry)
        if "sha256" in changes:
            assert HASH in str(caught.value)
            assert changes["sha256"] in str(caught.value)
        assert {file.name for file in place_of(entry).parent.iterdir()} <= {".lock"}

    def test_the_error_says_how_to_do_it_by_hand(self, get, entry_for, cache):
        with pytest.raises(DownloadError) as caught:
            get(entry_for("page"))
        for words in ("web page", "https://example.org/nets", str(cache / "net" / "net.pkl"), "weights verify net"):
            assert words in str(caught.value)

    def test_weights_without_an_address(self, get, entry_for, cache):
        with pytest.raises(DownloadError, match=r"cannot be fetched by a program.*save it as .*net\.pkl"):
            get(entry_for())

    def test_mirrors(self, get, entry_for):
        assert get(entry_for("missing", "file"))[0].read_bytes() == CONTENT


class TestTrust:
    @pytest.mark.parametrize(("published", "grade"), [(None, "nothing published"), (HASH[:8], "published beginning")])
    def test_the_first_hash_is_kept_and_the_user_is_told(self, get, entry_for, published, grade):
        path, told = get(entry_for("file", sha256=published))
        assert len(told) == 1
        assert HASH in told[0]
        assert read_provenance(path).checked == grade

    def test_another_file_is_refused_ever_after(self, get, entry_for):
        entry = entry_for("file", sha256=None)
        path, _ = get(entry)
        path.unlink()
        record = path.with_name("provenance.json")
        record.write_text(record.read_text().replace(HASH, OTHER))
        with pytest.raises(DownloadError, match=rf"{HASH}; the one from .* had {OTHER}.*delete provenance.json"):
            get(entry)
        assert not path.exists()
        record.unlink()
        assert get(entry)[0] == path

    def test_the_same_file_again_is_welcome(self, get, entry_for):
        entry = entry_for("file", sha256=None)
        path, _ = get(entry)
        before = read_provenance(path)
        path.unlink()
        assert get(entry) == (path, [])
        assert path.read_bytes() == CONTENT
        assert read_provenance(path) == before


class TestOffline:
    def test_asked_for(self, get, entry_for, server):
        with pytest.raises(MissingWeightsError, match=r"net\.pkl.*--offline"):
            get(entry_for("file"), offline=True)
        assert server.asked == []

    @pytest.mark.parametrize(("value", "off"), [("1", True), ("yes", True), ("0", False), ("", False)])
    def test_by_the_environment(self, get, entry_for, monkeypatch, value, off):
        monkeypatch.setenv("RELATENT_OFFLINE", value)
        if off:
            with pytest.raises(MissingWeightsError, match="RELATENT_OFFLINE"):
                get(entry_for("file"))
        else:
            assert get(entry_for("file"))[0].exists()


class TestLicence:
    def test_a_non_commercial_one_must_be_accepted(self, get, entry_for, server):
        entry = entry_for("file", non_commercial=True, licence="Only for fun")
        with pytest.raises(UsageError, match=r"Only for fun, https://example.org/licence"):
            get(entry)
        assert server.asked == []
        path, _ = get(entry, accept=True)
        assert read_provenance(path).non_commercial
        assert get(entry)[0] == path  # once is enough


class TestFilesPutThereByHand:
    def put(self, entry, data=CONTENT):
        path = place_of(entry)
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        return path

    def test_one_is_checked_and_remembered(self, entry_for):
        entry = entry_for()
        path = self.put(entry)
        assert locate_entry(entry) == path
        assert (read_provenance(path).url, read_provenance(path).sha256) == ("by hand", HASH)

    @pytest.mark.parametrize(("data", "words"), [(PAGE, "is a web page"), (b"x", "published was")])
    def test_a_wrong_one_is_refused_and_left_alone(self, entry_for, data, words):
        entry = entry_for()
        path = self.put(entry, data)
        with pytest.raises(WeightsError, match=rf"net\.pkl .*{words}.*weights fetch net"):
            locate_entry(entry)
        assert path.read_bytes() == data
        assert read_provenance(path) is None

    def test_a_cut_one_is_noticed_without_reading_it(self, entry_for, get):
        entry = entry_for("file")
        path, _ = get(entry)
        path.write_bytes(CONTENT[:-1])
        with pytest.raises(WeightsError, match="published was"):
            locate_entry(entry)
        with pytest.raises(WeightsError):
            get(entry)

    def test_a_changed_one_is_found_by_verify(self, entry_for, get):
        entry = entry_for("file", sha256=None)
        path, _ = get(entry)
        assert check_entry(entry) == read_provenance(path)
        path.write_bytes(b"x" + CONTENT[1:])
        assert locate_entry(entry) == path  # the price of a quick look
        with pytest.raises(WeightsError, match=f"had {HASH}"):
            check_entry(entry)

    def test_a_cache_that_cannot_be_written_can_be_read(self, entry_for, monkeypatch):
        def refuse(*_):
            raise OutputError("read-only")

        monkeypatch.setattr(fetch_module, "write_provenance", refuse)
        entry = entry_for()
        path = self.put(entry)
        assert locate_entry(entry) == path
        assert read_provenance(path) is None


class TestNames:
    def test_known_or_not(self):
        assert is_known("ffhq-1024")
        assert not is_known("faces-128")
        assert not is_known("")

    def test_missing_weights_name_the_command(self):
        for ask in (locate, verify):
            with pytest.raises(MissingWeightsError, match="python -m weights fetch ffhq-1024"):
                ask("ffhq-1024")

    def test_unknown_names(self):
        for ask in (locate, verify, fetch):
            with pytest.raises(UnknownNameError, match="did you mean lpips-vgg"):
                ask("lpips-vg")


CHILD = """
import json, sys
from weights.fetching.download import Terms
from weights.fetching.fetch import fetch_entry
from weights.manifest import Entry
values = json.loads(sys.argv[1])
entry = Entry(**values | {"urls": tuple(values["urls"])})
terms = Terms(timeout=120, retries=0, local_http=True)
print(fetch_entry(entry, terms=terms, tell=print))
"""


def child(entry):
    """A process that fetches ``entry``; its lines arrive one by one."""
    return subprocess.Popen(
        [sys.executable, "-u", "-c", CHILD, json.dumps(dataclasses.asdict(entry))],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


class TestProcesses:
    def test_one_killed_half_way_is_continued_by_the_next(self, get, entry_for, server):
        entry = entry_for("gated")
        part = place_of(entry).with_name(".net.pkl.part")
        killed = child(entry)
        until(lambda: part.exists() and part.stat().st_size == HALF)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        assert not place_of(entry).exists()
        assert PartialFile(place_of(entry)).size == HALF
        path, told = get(entry)
        assert path.read_bytes() == CONTENT
        assert told == []  # the dead process' lock is no obstacle
        assert [asked for _, asked in server.asked] == [None, f"bytes={HALF}-"]

    def test_two_at_once_fetch_once(self, entry_for, server):
        entry = entry_for("gated")
        part = place_of(entry).with_name(".net.pkl.part")
        first = child(entry)
        until(lambda: part.exists() and part.stat().st_size == HALF)
        second = child(entry)
        said = second.stdout.readline()
        server.go_on.set()
        outputs = [process.communicate(timeout=120) for process in (first, second)]
        assert [process.returncode for process in (first, second)] == [0, 0], outputs
        assert "another process is fetching" in said
        assert outputs[0][0] == outputs[1][0] == f"{place_of(entry)}\n"
        assert place_of(entry).read_bytes() == CONTENT
        assert len(server.asked) == 1

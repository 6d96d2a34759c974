"""Downloads against a real server that does everything servers do wrong."""

import collections
import errno
import hashlib
import shutil

import pytest
from file_server import CONTENT, HALF

from relatent.core.errors import DownloadError, OutputError, WeightsError
from weights.fetching import download as download_module
from weights.fetching.connection import check_scheme
from weights.fetching.download import Terms, download, looks_like_web_page
from weights.fetching.partial import PartialFile


@pytest.fixture
def target(tmp_path):
    (tmp_path / "net").mkdir()
    return tmp_path / "net" / "net.pkl"


@pytest.fixture
def get(server, target, terms):
    """Download paths of the server to the target; returns what there is and what was checked."""

    def run(*paths, check=None, **options):
        seen = []

        def both(url, content):
            seen.append((url, content))
            if check:
                check(url, content)

        options = {"terms": terms} | options
        download([server.url + path for path in paths], target, both, **options)
        return seen

    return run


def only_the_file(target):
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    return True


def nothing(target):
    assert list(target.parent.iterdir()) == []
    return True


def ranges(server):
    return [asked for _, asked in server.asked]


class TestGoodServers:
    @pytest.mark.parametrize("path", ["file", "chunked", "redirect?file", "redirect?/redirect?/file", "moved?file"])
    def test_the_file_comes_whole(self, get, target, path):
        ((_, content),) = get(path)
        assert only_the_file(target)
        assert (content.size, content.sha256) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())

    def test_progress_ends_at_the_whole(self, get):
        seen = []
        get("file", progress=lambda done, total: seen.append((done, total)))
        assert seen[0] == (0, len(CONTENT))
        assert seen[-1] == (len(CONTENT), len(CONTENT))
        assert seen == sorted(seen)

    def test_the_right_size_is_accepted(self, get, target):
        get("file", size=len(CONTENT))
        assert only_the_file(target)

    def test_a_proxy_is_respected(self, get, server, target, monkeypatch, terms):
        monkeypatch.setenv("http_proxy", server.url)
        download(["http://127.0.0.1:1/behind"], target, lambda *_: None, terms=terms)
        assert server.asked == [("http://127.0.0.1:1/behind", None)]
        assert only_the_file(target)


class TestResuming:
    @pytest.mark.parametrize("path", ["short", "gated", "dated"])  # cut off; silent half-way; cut off, without an ETag
    def test_a_broken_body_goes_on_after_the_last_byte_that_came(self, get, server, target, path):
        get(path)
        assert only_the_file(target)
        assert ranges(server) == [None, f"bytes={HALF}-"]

    @pytest.mark.parametrize("path", ["short-without-ranges", "changed", "wrong-part", "wrong-version", "no-such-part"])
    def test_what_cannot_go_on_begins_anew(self, get, server, target, path):
        get(path)
        assert only_the_file(target)
        assert f"bytes={HALF}-" in ranges(server)

    def test_an_interrupted_download_goes_on_in_the_next_call(self, get, server, target):
        def interrupt(done, _):
            if done > HALF:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            get("file", progress=interrupt)
        assert not target.exists()
        came = PartialFile(target).size
        assert came > HALF
        get("busy?0", "file")  # the address begun with comes first
        assert only_the_file(target)
        assert server.asked == [("file", None), ("file", f"bytes={came}-")]

    def test_a_beginning_of_unknown_version_is_not_continued(self, get, server, target):
        (target.parent / ".net.pkl.part").write_bytes(CONTENT[:100])
        get("file")
        assert only_the_file(target)
        assert ranges(server) == [None]

    @pytest.mark.parametrize("record", [b"", b"[]", b"{}", b"\xff", b'{"url": 3}', b"[" * 100_000])
    def test_a_damaged_record_is_no_obstacle(self, get, target, record):
        (target.parent / ".net.pkl.part").write_bytes(b"x")
        (target.parent / ".net.pkl.part.json").write_bytes(record)
        get("file")
        assert only_the_file(target)

    def test_a_damaged_beginning_is_found_out(self, get, server, target):
        part = PartialFile(target)
        part.begin(server.url + "file", '"one"')
        part.append(b"wrong" + CONTENT[5:100])

        def check(_, content):
            if content.sha256 != hashlib.sha256(CONTENT).hexdigest():
                raise WeightsError("has another hash")

        with pytest.raises(DownloadError, match="another hash"):
            get("file", check=check)
        assert nothing(target)


class TestBadServers:
    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("missing", "HTTP 404"),
            ("busy?99", r"HTTP 50[03] .*\(3 attempts\)"),
            ("always-short", "ended after 1000 of 3000000 bytes"),
            ("chunked?cut", "too early"),
            ("without-length", "does not say how long"),
            ("empty", "empty file"),
            ("page", "web page"),
            ("page-in-disguise", "web page"),
            ("compressed", "gzip"),
            ("silent", "nothing for too long"),
            ("nonsense", r"broke off|cannot be"),
            ("huge", "no more than"),
            ("redirect?/redirect?/missing", "HTTP 404"),
            ("redirect?http://example.org/net.pkl", "only https"),
            ("redirect?file:///etc/passwd", "not allowed"),
            ("redirect?ftp://example.org/net.pkl", "only https"),
        ],
    )
    def test_the_reason_is_named_and_nothing_is_there(self, get, server, target, path, words):
        with pytest.raises(DownloadError, match=words) as caught:
            get(path)
        assert server.url + path in str(caught.value)
        assert not target.exists()

    def test_a_redirect_in_circles(self, get, server):
        with pytest.raises(DownloadError, match="HTTP 302"):
            get("circle")
        assert len(server.asked) < 20

    def test_500_then_success(self, get, server, target):
        get("busy?2")
        assert only_the_file(target)
        assert len(server.asked) == 3

    def test_404_is_not_asked_twice(self, get, server):
        with pytest.raises(DownloadError):
            get("missing")
        assert len(server.asked) == 1

    def test_a_hang_ends(self, get, target, terms):
        with pytest.raises(DownloadError, match=r"ended after|nothing for too long"):
            get("hang", terms=Terms(timeout=0.2, retries=0, pause=0, local_http=True))
        assert not target.exists()

    def test_a_web_page_is_called_one_whatever_size_was_expected(self, get):
        with pytest.raises(DownloadError, match="web page"):
            get("page", size=len(CONTENT))

    def test_nobody_listens(self, target, terms):
        with pytest.raises(DownloadError, match="cannot be reached"):
            download(["http://127.0.0.1:1/file"], target, lambda *_: None, terms=terms)

    @pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1])
    @pytest.mark.parametrize("path", ["file", "chunked"])
    def test_another_size_than_published(self, get, target, path, size):
        with pytest.raises(DownloadError, match=rf"{size}"):
            get(path, size=size)
        assert not target.exists()

    def test_more_than_is_believed(self, get, target, monkeypatch):
        monkeypatch.setattr(download_module, "LARGEST", 1_000_000)
        with pytest.raises(DownloadError, match="more than 1000000"):
            get("chunked")
        assert nothing(target)


class TestMirrors:
    def test_the_next_is_tried(self, get, target):
        ((url, _),) = get("missing", "page", "file")
        assert url.endswith("/file")
        assert only_the_file(target)

    def test_a_refused_content_is_removed_and_the_next_tried(self, get, target):
        def refuse_first(url, _):
            assert not target.exists()
            if url.endswith("/file"):
                raise WeightsError("has another hash")

        assert len(get("file", "busy?0", check=refuse_first)) == 2
        assert only_the_file(target)

    def test_every_failure_is_named(self, get):
        with pytest.raises(DownloadError, match=r"/missing answered with HTTP 404.*; .*/page sent a web page"):
            get("missing", "page")


class TestTheDisk:
    def test_room_is_looked_for_first(self, get, server, target, monkeypatch):
        usage = collections.namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 0, len(CONTENT)))
        with pytest.raises(OutputError, match=r"needs 3 MB and 3 MB are free.*RELATENT_CACHE"):
            get("file")
        assert not target.exists()
        assert PartialFile(target).size == 0

    def test_a_disk_that_fills_on_the_way(self, get, target, monkeypatch):
        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(PartialFile, "append", full)
        with pytest.raises(OutputError, match="the disk is full"):
            get("file", "busy?0")
        assert not target.exists()

    def test_a_folder_that_cannot_be_written(self, server, tmp_path, terms):
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(OutputError, match="part of that path is a file"):
            download([server.url + "file"], tmp_path / "file" / "net.pkl", lambda *_: None, terms=terms)


class TestSchemes:
    @pytest.mark.parametrize("url", ["https://example.org/a", "https://127.0.0.1/a"])
    def test_https_is_followed(self, url):
        check_scheme(url)

    @pytest.mark.parametrize("url", ["http://127.0.0.1/a", "ftp://example.org/a", "file:///a", "/a", "", "data:,a"])
    def test_nothing_else_is(self, url):
        with pytest.raises(DownloadError, match="only https"):
            check_scheme(url)

    def test_plain_http_to_other_machines_is_never(self):
        check_scheme("http://localhost:80/a", local_http=True)
        with pytest.raises(DownloadError):
            check_scheme("http://example.org/a", local_http=True)

    def test_a_server_without_a_certificate_is_not_asked_in_the_clear(self, server, target, terms):
        with pytest.raises(DownloadError):
            download([server.url.replace("http:", "https:") + "file"], target, lambda *_: None, terms=terms)
        assert server.asked == []


class TestWebPages:
    @pytest.mark.parametrize(
        "head",
        [b"<!DOCTYPE html>", b"\n <HTML lang=en>", b"\xef\xbb\xbf<html>", b"<!-- a --><!-- b --><head>",
         b'<?xml version="1.0"?><!DOCTYPE html PUBLIC>'],
    )  # fmt: skip
    def test_told(self, head):
        assert looks_like_web_page(head)

    @pytest.mark.parametrize("head", [b"", b"\x80\x02", b"PK\x03\x04", b"<", b"<htm", b"<!--" * 300, b"a <html>"])
    def test_others_are_not(self, head):
        assert not looks_like_web_page(head)

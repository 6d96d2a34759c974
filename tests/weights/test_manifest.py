"""The manifest that ships is sound; one that is not says where."""

from pathlib import Path

import pytest

from relatent.core.alignment import Alignment
from relatent.core.errors import UnknownNameError, WeightsError
from weights.embedded import network_names
from weights.manifest import FILE, KINDS, entries, find_entry, read_manifest

ROOT = Path(__file__).parents[2]
GOOD = {
    "kind": "generator",
    "filename": "net.pkl",
    "urls": ["https://example.org/net.pkl"],
    "licence": "MIT",
    "licence_url": "https://example.org/licence",
    "non_commercial": False,
    "origin": "https://example.org/",
    "paper": "https://example.org/paper",
}


def toml(values):
    words = {True: "true", False: "false"}
    return "".join(f"{key} = {words.get(value, value)!s}\n" if isinstance(value, bool) else f"{key} = {value!r}\n"
                   for key, value in values.items())  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def run(changes=None, name="net", without=()):
        values = {key: value for key, value in (GOOD | (changes or {})).items() if key not in without}
        path = tmp_path / "manifest.toml"
        path.write_text(f"[{name}]\n{toml(values)}")
        return path

    return run


class TestTheOneThatShips:
    def test_everything_that_was_promised(self):
        assert set(entries()) >= {
            "ffhq-256", "ffhq-512", "ffhq-1024", "metfaces-1024", "afhq-cat", "afhq-dog", "afhq-wild",
            "ffhq-sg3-t-1024", "ffhq-sg3-r-1024", "ffhq-u-sg3-t-1024", "ffhq-u-sg3-r-1024", "ffhq-u-sg3-t-256",
            "ffhq-u-sg3-r-256", "e4e-ffhq", "psp-ffhq", "lpips-vgg", "lpips-alex", "lpips-squeeze",
        }  # fmt: skip

    def test_no_name_or_address_twice(self):
        urls = [url for entry in entries().values() for url in entry.urls]
        assert len(urls) == len(set(urls))
        assert not set(entries()) & set(network_names())

    def test_names_tell_the_resolution(self):
        for entry in entries().values():
            if entry.kind == "generator" and entry.name.rsplit("-", 1)[1].isdecimal():
                assert entry.name.endswith(f"-{entry.resolution}")
            assert (entry.resolution is None) == (entry.kind in ("lpips backbone", "metric network"))

    def test_only_hashes_that_were_published(self):
        for entry in entries().values():
            if entry.kind == "lpips backbone":  # torchvision puts the hash's beginning into the name
                assert entry.filename.endswith(f"-{entry.sha256}.pth")
            elif entry.kind == "metric network":  # the whole hash, of which the name has the beginning
                assert entry.filename.endswith(f"-{entry.sha256[:8]}.pth")
            else:
                assert entry.sha256 is None
            assert (entry.bytes is None) == (entry.kind != "metric network")

    def test_only_aligned_faces_have_an_alignment(self):
        for entry in entries().values():
            aligned = entry.name.startswith(("ffhq", "metfaces", "e4e", "psp")) and "ffhq-u" not in entry.name
            assert entry.alignment == (Alignment() if aligned else None), entry.name

    def test_nvidias_and_what_was_made_with_them_are_non_commercial(self):
        free = [entry.name for entry in entries().values() if not entry.non_commercial]
        assert free == ["lpips-vgg", "lpips-alex", "lpips-squeeze", "inception-v3"]

    def test_it_is_packed(self):
        packed = (ROOT / "pyproject.toml").read_text().split("[tool.setuptools.package-data]")[1].split("]")[0]
        assert f'"{FILE.name}"' in packed

    def test_the_page_names_them_all(self):
        page = (ROOT / "docs" / "weights.md").read_text()
        assert [name for name in entries() if f"`{name}`" not in page] == []


class TestReading:
    def test_a_full_entry(self, write):
        path = write({"bytes": 5, "sha256": "0" * 64, "resolution": 64, "alignment": [0.5, 0.0]})
        entry = read_manifest(path)["net"]
        assert (entry.name, entry.bytes, entry.sha256, entry.resolution) == ("net", 5, "0" * 64, 64)
        assert entry.alignment == Alignment(0.5, 0.0)
        assert entry.urls == ("https://example.org/net.pkl",)

    def test_what_is_not_published_is_absent(self, write):
        entry = read_manifest(write())["net"]
        assert (entry.bytes, entry.sha256, entry.resolution, entry.alignment) == (None, None, None, None)

    @pytest.mark.parametrize("key", GOOD)
    def test_a_missing_field(self, write, key):
        with pytest.raises(WeightsError, match=rf"\[net\]: {key} is missing"):
            read_manifest(write(without=[key]))

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("kind", "network"),
            ("kind", 3),
            ("filename", "../net.pkl"),
            ("filename", ".net"),
            ("filename", "a/b"),
            ("urls", "https://example.org/net.pkl"),
            ("urls", ["http://example.org/net.pkl"]),
            ("urls", ["https://"]),
            ("urls", [3]),
            ("licence", ""),
            ("urls", ["example.org"]),
            ("non_commercial", "yes"),
            ("bytes", 0),
            ("bytes", True),
            ("bytes", 1.5),
            ("sha256", "0" * 7),
            ("sha256", "0" * 65),
            ("sha256", "ABCDEF01"),
            ("resolution", -64),
            ("alignment", [1.0]),
            ("alignment", [1.0, "0"]),
            ("sha1", "0" * 40),
        ],
    )
    def test_an_impossible_field(self, write, key, value):
        with pytest.raises(WeightsError, match=rf"\[net\].*{key.rstrip('s')}"):
            read_manifest(write({key: value}))

    @pytest.mark.parametrize("key", ["licence_url", "origin", "paper"])
    def test_pages_are_https(self, write, key):
        with pytest.raises(WeightsError, match="pages must be https"):
            read_manifest(write({key: "http://example.org/"}))

    @pytest.mark.parametrize("name", ["Net", '"two words"', '"../up"', '""'])
    def test_an_impossible_name(self, write, name):
        with pytest.raises(WeightsError, match="the name must be"):
            read_manifest(write(name=name))

    @pytest.mark.parametrize("data", [b"[net", b"\xff", b"net = 3"])
    def test_no_manifest_at_all(self, tmp_path, data):
        path = tmp_path / "manifest.toml"
        path.write_bytes(data)
        with pytest.raises(WeightsError, match=r"manifest\.toml"):
            read_manifest(path)
        with pytest.raises(WeightsError, match="cannot be read"):
            read_manifest(tmp_path / "none.toml")

    def test_kinds_are_those_of_the_page(self):
        assert {entry.kind for entry in entries().values()} <= set(KINDS)


def test_an_unknown_name_offers_near_ones():
    with pytest.raises(UnknownNameError, match="did you mean ffhq-1024"):
        find_entry("ffhq-1204")

"""What a long run has found is kept, and never mistaken for what another run would find."""

import pytest

from benchmarks.lines import Lines
from relatent.core.errors import OutputError


def test_rows_are_there_again(tmp_path):
    path = tmp_path / "deeper" / "rows.jsonl"
    lines = Lines(path, {"steps": (1, 2)})
    lines.add("a", {"lpips": 0.1})
    lines.add("b", {"lpips": None})
    assert Lines(path, {"steps": (1, 2)}).rows == {"a": {"lpips": 0.1}, "b": {"lpips": None}}


def test_a_line_that_was_cut_short_is_dropped(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = Lines(path, {})
    lines.add("a", {"lpips": 0.1})
    lines.add("b", {"lpips": 0.2})
    path.write_text(path.read_text()[:-5])
    again = Lines(path, {})
    assert again.rows == {"a": {"lpips": 0.1}}
    again.add("b", {"lpips": 0.3})
    assert Lines(path, {}).rows == {"a": {"lpips": 0.1}, "b": {"lpips": 0.3}}


def test_a_first_line_that_was_cut_short(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"net')
    assert Lines(path, {"network": "a"}).rows == {}
    with pytest.raises(OutputError, match="with another network"):
        Lines(path, {"network": "b"})


def test_rows_of_something_else_are_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    Lines(path, {"network": "a", "seed": 1}).add("a", {})
    with pytest.raises(OutputError, match=r"rows\.jsonl holds rows with another seed\. Remove it"):
        Lines(path, {"network": "a", "seed": 2})

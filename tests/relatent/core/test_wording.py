import os

import pytest

from relatent.core.wording import listed, printable, restored, stored


def test_lists_do_not_grow():
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"], 3) == "a, b, c"
    assert listed(["a", "b", "c", "d", "e"], 3) == "a, b, c and 2 more"


@pytest.mark.parametrize("text", ["", "me.jpg", "笑顔", '"me"', '"', "caf\\xe9", os.fsdecode(b"caf\xe9\xff"), "\ud83d"])
def test_any_text_is_stored_and_restored(text):
    assert stored(text).encode().decode() == stored(text)
    assert restored(stored(text)) == text


def test_what_is_no_utf8_is_shown_by_its_bytes():
    assert printable(os.fsdecode(b"caf\xe9.jpg")) == "caf\\xe9.jpg"
    assert printable("café \ud83d") == "café \\ud83d"

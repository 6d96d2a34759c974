"""What a page opens, and what it keeps to itself."""

import pytest

from editing.seeds import seed_inversion
from relatent.core.alignment import Alignment
from relatent.web import Settings
from relatent.web.actions.download import command_lines, python_lines
from relatent.web.state import AppState, public_name
from stylegan import save_generator


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("faces-128", "faces-128"),
        ("ffhq-1024", "ffhq-1024"),
        ("/srv/private/mine.safetensors", "mine.safetensors"),
        ("C:\\\\private\\\\mine.pkl", "mine.pkl"),
        ("elsewhere/faces-128", ""),  # called like ours, and another
        ("", ""),
    ],
)
def test_a_file_says_its_own_name_at_most(file, said):
    assert public_name(file) == said


def test_no_visitor_learns_where_the_network_lies(tiny_generator, tmp_path):
    """The path is in no inversion that can be downloaded, nor in the lines that do the same."""
    path = tmp_path / "private" / "mine.safetensors"
    tiny_generator.alignment = Alignment(0.62, 0.08)
    save_generator(tiny_generator, path)
    app = AppState.open(Settings(network=str(path), device="cpu"), tmp_path / "sessions")
    inversion = seed_inversion(app.network, 1)
    assert "private" not in inversion.network_file
    session = app.sessions.begin()
    kept = session.keep(inversion, None, "me", photo=session.new_file("me.png"), preset="balanced")
    lines = command_lines(app, kept) + python_lines(app, kept)
    assert "mine.safetensors" in lines
    assert "private" not in lines

"""The error tree: as drawn, with exit codes, in one line, and able to travel between processes."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from relatent.core import errors
from relatent.core.errors import MissingPackageError, RelatentError, ShapeError, UnknownNameError, UsageError

CLASSES = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RelatentError)]


def drawn_tree() -> dict[str, str | None]:
    """Each class in the module's docstring and the class above it."""
    parents: dict[str, str | None] = {}
    above: list[str] = []
    for line in errors.__doc__.splitlines():
        match = re.match(r"^ {4}([│├└─ ]*)([A-Z]\w+)", line)
        if match:
            depth = len(match[1]) // 4
            parents[match[2]] = above[depth - 1] if depth else None
            above[depth:] = [match[2]]
    return parents


def test_the_drawn_tree_is_the_real_one():
    real = {kind.__name__: None if kind is RelatentError else kind.__bases__[0].__name__ for kind in CLASSES}
    assert drawn_tree() == real
    assert len(real) >= 12


def test_the_drawn_exit_codes_are_the_real_ones():
    assert "(exit code 2)" in next(line for line in errors.__doc__.splitlines() if "UsageError" in line)
    for kind in CLASSES:
        expected = 2 if issubclass(kind, UsageError) else 130 if kind.__name__ == "Cancelled" else 1
        assert kind.exit_code == expected, kind


def example(kind: type[RelatentError]) -> RelatentError:
    if kind is UnknownNameError:
        return UnknownNameError("network", "fhq", ["ffhq-1024"])
    if kind is MissingPackageError:
        return MissingPackageError("optuna", "train", "searching")
    return kind("me.jpg is bad.")


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("travel", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy], ids=["pickle", "copy"])
def test_every_error_can_be_sent_to_another_process(kind, travel):
    error = example(kind)
    error.photo = "me.jpg"
    again = travel(error)
    assert type(again) is kind
    assert str(again) == str(error)
    assert again.args == error.args
    assert again.photo == "me.jpg"


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_message_is_one_line(kind):
    assert "\n" not in str(example(kind))
    if kind not in (UnknownNameError, MissingPackageError):
        assert str(kind("a\nname.jpg is\r\nbad\x0b.\n")) == "a name.jpg is bad ."


def test_a_shape_error_is_a_value_error_too():
    with pytest.raises(ValueError, match="is grey"):
        raise ShapeError("the picture is grey.")


class TestUnknownName:
    def test_near_names_are_offered(self):
        error = UnknownNameError("network", "ffhq-1204", ["ffhq-1024", "cars", "faces-128"])
        assert str(error) == ("unknown network 'ffhq-1204': did you mean ffhq-1024? Known: cars, faces-128, ffhq-1024.")

    def test_several_near_names(self):
        error = UnknownNameError("preset", "fas", ["fast", "fist", "best"])
        assert "did you mean fast or fist" in str(error)

    def test_nothing_near(self):
        error = UnknownNameError("network", "zzz", ("cars",), advice="A file works, too.")
        assert str(error) == "unknown network 'zzz': Known: cars. A file works, too."

    def test_nothing_known(self):
        assert str(UnknownNameError("direction", "smile", [])) == "unknown direction 'smile': Known: none."

    def test_names_from_an_iterator(self):
        assert "Known: a, b." in str(UnknownNameError("x", "q", iter("ba")))

    def test_line_breaks_in_what_came(self):
        assert "\n" not in str(UnknownNameError("network", "two\nlines", ["a"]))


def test_a_missing_package_names_the_command():
    assert str(MissingPackageError("optuna", "train", "searching")) == (
        'searching needs the package optuna, which is not installed. Install it with: pip install -e ".[train]"'
    )
    assert str(MissingPackageError("gradio", "", "the page")).endswith("Install it with: pip install -e .")

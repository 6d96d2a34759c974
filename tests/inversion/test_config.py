"""One place for every choice of an inversion: the command's options, their checks and the page's come from it."""

import dataclasses
import inspect

import click
import pytest

from inversion import InvertConfig
from inversion.project import main
from relatent.core.command import config_options
from relatent.core.errors import UnknownNameError, UsageError


def test_every_field_is_an_option_of_the_command():
    options = {one.name: one for one in main.params}
    for field in dataclasses.fields(InvertConfig):
        option = options[field.name]
        assert option.opts[0] == field.metadata.get("flag", "--" + field.name.replace("_", "-"))
        assert option.default == field.default
        assert option.help == field.metadata["help"]
    assert options["align"].secondary_opts == ["--no-align"]
    assert "--curvature" in options["preconditioner"].opts


def test_the_command_names_no_field_itself():
    source = inspect.getsource(main.callback)
    assert "InvertConfig(**choices)" in source
    assert not {name for name in (field.name for field in dataclasses.fields(InvertConfig)) if f'"{name}"' in source}


def test_options_are_made_of_fields():
    @dataclasses.dataclass(frozen=True)
    class Config:
        num_steps: int | None = dataclasses.field(default=None, metadata={"help": "Steps.", "least": 1})
        mode: str = dataclasses.field(default="a", metadata={"choices": ("a", "b")})
        align: bool = True

    @click.command()
    @config_options(Config)
    def command(**values):
        click.echo(Config(**values))

    from click.testing import CliRunner

    def run(*arguments):
        return CliRunner().invoke(command, arguments)

    assert run("--num-steps", "3", "--mode", "b", "--no-align").output == f"{Config(3, 'b', False)}\n"
    assert run().output == f"{Config()}\n"
    assert run("--num-steps", "0").exit_code == 2
    assert run("--mode", "c").exit_code == 2
    assert "Steps." in run("--help").output


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"num_steps": 0}, "num_steps is 0"),
        ({"num_steps": 2.5}, "num_steps"),
        ({"seed": 2**63}, "seed is"),
        ({"seed": None}, "seed is None"),
        ({"seed": float("nan")}, "seed is nan"),
        ({"num_steps": True}, "num_steps is True"),
        ({"face": None}, "face is None"),
        ({"face": float("inf")}, "face is inf"),
        ({"face": "9" * 5000}, "face is '999"),
        ({"space": "z"}, "space is 'z'"),
        ({"lpips": "vgg19"}, "lpips is 'vgg19'"),
        ({"face": 0}, "face is 0"),
        ({"face": "²"}, "face is '²'"),
        ({"face": True}, "face is True"),
        ({"face": "second"}, "expected largest, all, or a number from 1"),
        ({"preset": "fast", "num_steps": 3}, "does not optimise"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(values, words):
    with pytest.raises(UsageError, match=words):
        InvertConfig(**values)


def test_names_and_faces():
    assert InvertConfig(face="2").face == 2
    with pytest.raises(UnknownNameError, match="balanced"):
        InvertConfig(preset="balance")

"""How every command of Relatent behaves: one-line errors, exit codes, both spellings of a flag."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import click

from relatent.core.errors import RelatentError
from relatent.core.wording import make_output_printable

F = TypeVar("F", bound=Callable[..., Any])

# Truncation has one name in every command; NVIDIA's spelling and those of earlier versions work, too.
TRUNCATION_FLAGS = ("--truncation-psi", "--trunc", "--psi", "--truncation")


class RelatentCommand(click.Command):
    """A click command that takes ``--some_flag`` for ``--some-flag`` and never shows a traceback.

    Our errors become one line on standard error and their own exit code; an interrupt becomes 130. Any other
    exception is a bug of ours: it passes, so that the traceback can be reported.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Not click's token_normalize_func: that would change the choices of options, too.
        make_output_printable()
        flags = {flag for param in self.get_params(ctx) for flag in (*param.opts, *param.secondary_opts)}
        end = args.index("--") if "--" in args else len(args)  # what follows "--" is never a flag
        with _one_line_errors():
            return super().parse_args(ctx, [*(_dashed(arg, flags) for arg in args[:end]), *args[end:]])

    def invoke(self, ctx: click.Context) -> Any:
        make_output_printable()
        with _one_line_errors():
            return super().invoke(ctx)


def config_options(config: type[Any]) -> Callable[[F], F]:
    """One option for each field of a frozen dataclass: name, default, choices and help text come from the field.

    A field's metadata may hold ``help``, ``choices``, ``least`` (of a whole number), ``metavar``, ``type``,
    ``flag`` (where it is not the name) and ``aliases`` (older spellings of it); see
    :class:`inversion.config.InvertConfig`.
    """

    def decorate(command: F) -> F:
        for one in reversed(dataclasses.fields(config)):
            command = _field_option(one)(command)
        return command

    return decorate


def _field_option(one: dataclasses.Field[Any]) -> Callable[[F], F]:
    flag, about = "--" + one.name.replace("_", "-"), one.metadata
    if isinstance(one.default, bool):
        flag = about.get("flag", flag)
        names = [f"{flag}/--no-{flag.removeprefix('--')}", one.name]
    else:
        names = [flag, *about.get("aliases", ()), one.name]
    kind: Any = about.get("type")
    if "choices" in about:
        kind = click.Choice(about["choices"])
    elif "least" in about:
        kind = click.IntRange(min=about["least"])
    return click.option(
        *names,
        default=one.default,
        type=kind,
        metavar=about.get("metavar"),
        show_default=one.default is not None,
        help=about.get("help"),
    )


def fail(error: RelatentError) -> NoReturn:
    """Print the error in one line and leave with its exit code."""
    click.echo(f"error: {error}", err=True)
    raise SystemExit(error.exit_code) from None


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except RelatentError as error:
        fail(error)
    except KeyboardInterrupt:
        click.echo("interrupted; nothing half-written was left behind.", err=True)
        raise SystemExit(130) from None


def _dashed(arg: str, flags: set[str]) -> str:
    """``--num_steps=5`` to ``--num-steps=5`` if that is one of ``flags``; everything else stays as it is."""
    flag, equals, value = arg.partition("=")
    dashed = flag.replace("_", "-")
    return dashed + equals + value if dashed in flags else arg

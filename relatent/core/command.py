"""How every command of Relatent behaves: one-line errors, exit codes, both spellings of a flag."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from relatent.core.errors import RelatentError

# Truncation has one name in every command; NVIDIA's spelling and those of earlier versions work, too.
TRUNCATION_FLAGS = ("--truncation-psi", "--trunc", "--psi", "--truncation")


class RelatentCommand(click.Command):
    """A click command that takes ``--some_flag`` for ``--some-flag`` and never shows a traceback.

    Our errors become one line on standard error and their own exit code; an interrupt becomes 130. Any other
    exception is a bug of ours: it passes, so that the traceback can be reported.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Not click's token_normalize_func: that would change the choices of options, too.
        flags = {flag for param in self.get_params(ctx) for flag in (*param.opts, *param.secondary_opts)}
        end = args.index("--") if "--" in args else len(args)  # what follows "--" is never a flag
        with _one_line_errors():
            return super().parse_args(ctx, [*(_dashed(arg, flags) for arg in args[:end]), *args[end:]])

    def invoke(self, ctx: click.Context) -> Any:
        with _one_line_errors():
            return super().invoke(ctx)


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

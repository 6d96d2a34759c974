"""How every command of Relatent behaves: one-line errors, exit codes, both spellings of a flag."""

from __future__ import annotations

from typing import Any, NoReturn

import click

from core.errors import RelatentError


class RelatentCommand(click.Command):
    """A click command that takes ``--some_flag`` for ``--some-flag`` and never shows a traceback.

    Our errors become one line on standard error and their own exit code; an interrupt becomes 130.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [_dashed(arg) for arg in args])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RelatentError as error:
            fail(error)
        except KeyboardInterrupt:
            click.echo("interrupted; nothing half-written was left behind.", err=True)
            raise SystemExit(130) from None


def fail(error: RelatentError) -> NoReturn:
    """Print the error in one line and leave with its exit code."""
    click.echo(f"error: {error}", err=True)
    raise SystemExit(error.exit_code) from None


def _dashed(arg: str) -> str:
    """``--num_steps=5`` to ``--num-steps=5``; values and short flags stay as they are."""
    if not arg.startswith("--") or arg == "--":
        return arg
    flag, equals, value = arg.partition("=")
    return flag.replace("_", "-") + equals + value

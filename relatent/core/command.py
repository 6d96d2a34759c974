"""The base class of all commands: one-line errors, exit codes, and flags spelled with - or _."""

from __future__ import annotations

import dataclasses
import errno
import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
from click.core import ParameterSource

from relatent.core.errors import DeviceError, RelatentError, UsageError
from relatent.core.wording import make_output_printable

F = TypeVar("F", bound=Callable[..., Any])

LEAST_WHOLE, MOST_WHOLE = -(2**63), 2**63 - 1  # what seeds, and PyTorch, can hold

# Truncation has one name in every command; the spellings of NVIDIA's tools and of earlier versions are aliases.
device_option = click.option("--device", help="cpu, cuda, cuda:1, xpu, mps.  [default: the best there is]")
TRUNCATION_FLAGS = ("--truncation-psi", "--trunc", "--psi", "--truncation")


class RelatentCommand(click.Command):
    """A click command that accepts ``--some_flag`` for ``--some-flag`` and prints errors in one line.

    A RelatentError is printed on standard error and sets the exit code; an interrupt gives 130. Any other exception is
    a bug and is not caught, so that the traceback can be reported.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Not click's token_normalize_func, which would also change the choices of options.
        make_output_printable()
        flags = {flag for param in self.get_params(ctx) for flag in (*param.opts, *param.secondary_opts)}
        end = args.index("--") if "--" in args else len(args)  # arguments after "--" are never flags
        with _one_line_errors():
            rest = super().parse_args(ctx, [*(_dashed(arg, flags) for arg in args[:end]), *args[end:]])
            for param in self.get_params(ctx):
                value = ctx.params.get(param.name or "")
                check_numbers(param.opts[0], value)
                typed = ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
                if typed and value == "" and "FILE" in (param.metavar or ""):
                    raise UsageError(f"{param.opts[0]} is empty; expected {param.metavar}.")
            return rest

    def invoke(self, ctx: click.Context) -> Any:
        make_output_printable()
        with _tidy_end(), _one_line_errors():
            return super().invoke(ctx)


def config_options(config: type[Any]) -> Callable[[F], F]:
    """Decorator that adds an option for each field of a frozen dataclass, with its name and default.

    A field's metadata may hold ``help``, ``choices``, ``least`` (of a whole number), ``metavar``, ``type``,
    ``flag`` (where it is not the name), ``aliases`` (older spellings of it), ``default`` (where the command's differs)
    and ``option`` (False for a field without one); see
    :class:`inversion.config.InvertConfig`.
    """

    def decorate(command: F) -> F:
        for one in reversed(dataclasses.fields(config)):
            if one.metadata.get("option", True):
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
    default = about.get("default", one.default)
    if "choices" in about:
        kind = click.Choice(about["choices"])
    elif "least" in about:
        kind = click.IntRange(min=about["least"])
    return click.option(
        *names,
        default=default,
        type=kind,
        metavar=about.get("metavar"),
        show_default=default is not None,
        help=about.get("help"),
    )


def fail(error: RelatentError) -> NoReturn:
    """Print the error in one line and exit with its code."""
    click.echo(f"error: {error}", err=True)
    raise SystemExit(error.exit_code) from None


class PathType(click.Path):
    """A path as a ``pathlib.Path``; an empty text, which Python takes for the current folder, is refused."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            raise UsageError("an empty path came. Write . for the current folder.")
        path = Path(super().convert(value, param, ctx))  # type: ignore[arg-type]  # a Path by path_type
        try:
            path.stat()  # not exists(), which later Pythons let answer for paths that cannot be
        except ValueError as error:  # a null byte
            raise UsageError(f"{str(path)!r:.80} is no path that can be used: {error!s:.100}.") from error
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # whoever reads or writes it tells of all else
                raise UsageError(f"{str(path)!r:.80} is no path that can be used: {error.strerror}.") from error
        return path


class PathTextType(PathType):
    """A path as a text, for options that also take names."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if super().convert(value, param, ctx) is None else str(value)


PATH, PATH_TEXT = PathType(), PathTextType()


def check_numbers(flag: str, value: object) -> None:
    """Refuse numbers that click lets pass and nothing can compute with.

    Raises:
        UsageError: ``value``, or a value in it, is infinite, not a number, or too large.
    """
    if isinstance(value, tuple | list):
        for one in value:
            check_numbers(flag, one)
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{flag} is {value}; expected a finite number.")
    if isinstance(value, int) and not LEAST_WHOLE <= value <= MOST_WHOLE:
        raise UsageError(f"{flag} is {value!r:.60}; expected a number of at most 18 digits.")


@contextmanager
def _tidy_end() -> Iterator[None]:
    """SIGTERM and SIGHUP end a command as Ctrl-C does: by an exception, so that whatever tidies up does so.

    A signal that whoever started the command has told it to ignore, as nohup does, stays ignored.
    """
    names = ("SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ()
    known = [getattr(signal, name) for name in names if hasattr(signal, name)]
    taken = [number for number in known if signal.getsignal(number) is signal.SIG_DFL]

    def end(number: int, _: object) -> NoReturn:
        for one in taken:
            signal.signal(one, signal.SIG_IGN)  # a second one is not to interrupt the tidying up
        with suppress(OSError):  # the terminal may be what has gone
            click.echo(f"ended by {signal.Signals(number).name}; nothing half-written was left behind.", err=True)
        raise SystemExit(128 + number)

    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except RelatentError as error:
        fail(error)
    except (RuntimeError, TypeError) as error:  # of which PyTorch's errors on a device are a few
        from relatent.core.device import explained  # not above: some commands need no PyTorch

        message = explained(error)
        if message is None:
            raise
        fail(DeviceError(message))
    except KeyboardInterrupt:
        click.echo("interrupted; nothing half-written was left behind.", err=True)
        raise SystemExit(130) from None


def _dashed(arg: str, flags: set[str]) -> str:
    """``--num_steps=5`` to ``--num-steps=5`` if that is one of ``flags``; other arguments are not changed."""
    flag, equals, value = arg.partition("=")
    dashed = flag.replace("_", "-")
    return dashed + equals + value if dashed in flags else arg

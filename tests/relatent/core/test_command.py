"""The manner of every command: both spellings of a flag, one line for an error, a traceback for a bug."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from relatent.core.command import PathType, RelatentCommand, fail
from relatent.core.errors import Cancelled, FaceNotFoundError, RelatentError, UsageError

ROOT = Path(__file__).parents[3]


def checked(_: click.Context, __: click.Parameter, value: str) -> str:
    if value == "refused":
        raise UsageError("that name is taken. Use another.")
    if value == "interrupted":
        raise KeyboardInterrupt
    return value


@click.command(cls=RelatentCommand)
@click.option("--num-steps", type=int, default=1)
@click.option("--save-video/--no-save-video", default=False)
@click.option("--kept_as_is", default="")
@click.option("--some-name", "-n", default="", callback=checked)
@click.option("--preset", type=click.Choice(["very_fast", "best"]), default="best", show_default=True)
@click.option("--edit-with", nargs=2, default=("", ""))
@click.argument("photos", nargs=-1)
def command(**values: object) -> None:
    """A command for the tests."""
    for key, value in values.items():
        click.echo(f"{key}={value}")


def run(*args: str, cli: click.Command = command) -> Result:
    return CliRunner().invoke(cli, list(args), prog_name="test")


def printed(*args: str) -> set[str]:
    result = run(*args)
    assert result.exit_code == 0, result.output
    return set(result.stdout.splitlines())


class TestSpelling:
    @pytest.mark.parametrize(
        "args", [["--num-steps", "5"], ["--num_steps", "5"], ["--num-steps=5"], ["--num_steps=5"]], ids=" ".join
    )
    def test_both_spellings_with_a_value(self, args):
        assert "num_steps=5" in printed(*args)

    @pytest.mark.parametrize(("flag", "value"), [("--save_video", True), ("--no_save-video", False)])
    def test_both_spellings_of_a_switch(self, flag, value):
        assert f"save_video={value}" in printed(flag)

    def test_options_declared_with_underscores_keep_them(self):
        assert "kept_as_is=x" in printed("--kept_as_is", "x")

    @pytest.mark.parametrize("args", [["--some_name", "a_b"], ["--some_name=a_b"], ["-n", "a_b"], ["-na_b"]])
    def test_values_keep_their_underscores(self, args):
        assert "some_name=a_b" in printed(*args)

    def test_values_with_dashes_keep_them(self):
        assert "some_name=--not_a_flag" in printed("--some-name", "--not_a_flag")
        assert "some_name=x=--num_steps" in printed("--some_name=x=--num_steps")

    def test_several_values(self):
        assert "edit_with=('a_b', 'c_d')" in printed("--edit_with", "a_b", "c_d")

    def test_arguments_keep_their_underscores(self):
        assert "photos=('me_1.jpg', '_')" in printed("me_1.jpg", "_")

    def test_nothing_is_rewritten_after_two_dashes(self):
        assert "photos=('--num_steps', '--save_video')" in printed("--", "--num_steps", "--save_video")

    def test_choices_keep_their_underscores(self):
        assert "preset=very_fast" in printed("--preset", "very_fast")
        assert run("--preset", "very-fast").exit_code == 2
        assert "[very_fast|best]" in run("--help").stdout

    def test_help_shows_one_spelling(self):
        assert "--num-steps" in run("--help").stdout
        assert "--num_steps" not in run("--help").stdout


class TestErrors:
    @pytest.mark.parametrize(
        "error",
        [RelatentError("no."), UsageError("no."), FaceNotFoundError("no face in two\nlines.jpg."), Cancelled("no.")],
        ids=lambda error: type(error).__name__,
    )
    def test_ours_are_one_line_and_an_exit_code(self, error):
        @click.command(cls=RelatentCommand)
        def failing() -> None:
            raise error

        result = run(cli=failing)
        assert result.exit_code == error.exit_code
        assert result.stderr == f"error: {error}\n"
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""

    def test_ours_while_options_are_read(self):
        result = run("--some-name", "refused")
        assert (result.exit_code, result.stderr) == (2, "error: that name is taken. Use another.\n")

    def test_fail_by_itself(self, capsys):
        with pytest.raises(SystemExit) as caught:
            fail(UsageError("no."))
        assert caught.value.code == 2
        assert capsys.readouterr().err == "error: no.\n"

    @pytest.mark.parametrize(
        "args", [["--num_steps", "many"], ["--no-such-flag"], ["--preset", "x"], ["--num-steps"]], ids=" ".join
    )
    def test_wrong_usage_exits_2(self, args):
        result = run(*args)
        assert result.exit_code == 2
        assert "Error: " in result.stderr
        assert "Traceback" not in result.output

    def test_an_interrupt_exits_130(self):
        @click.command(cls=RelatentCommand)
        def endless() -> None:
            raise KeyboardInterrupt

        for result in (run(cli=endless), run("--some-name", "interrupted")):
            assert result.exit_code == 130
            assert result.stderr == "interrupted; nothing half-written was left behind.\n"

    def test_a_bug_of_ours_propagates(self):
        @click.command(cls=RelatentCommand)
        def buggy() -> None:
            raise ZeroDivisionError("bug")

        with pytest.raises(ZeroDivisionError, match="bug"):
            CliRunner().invoke(buggy, [], catch_exceptions=False)

    def test_inside_a_group_it_is_the_same(self):
        @click.group()
        def group() -> None:
            pass

        @group.command(cls=RelatentCommand)
        @click.option("--some-flag", is_flag=True)
        def child(some_flag: bool) -> None:
            raise UsageError(f"some_flag is {some_flag}.")

        result = run("child", "--some_flag", cli=group)
        assert (result.exit_code, result.stderr) == (2, "error: some_flag is True.\n")


PROGRAM = """
    import sys, time, click
    from relatent.core.command import RelatentCommand
    from relatent.core.errors import UnreadablePhotoError

    @click.command(cls=RelatentCommand)
    @click.argument("what")
    def main(what):
        if what == "wait":
            print("ready", flush=True)
            time.sleep(60)
        raise UnreadablePhotoError("me.jpg is damaged.") if what == "fail" else KeyError("bug")

    main()
"""


def test_in_a_real_process():
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
    for what, code in (("fail", 1), ("bug", 1)):
        done = subprocess.run([*command, what], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == code
        assert done.stdout == ""
        if what == "fail":
            assert done.stderr == "error: me.jpg is damaged.\n"
        else:
            assert "KeyError: 'bug'" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_in_a_real_process():
    # Whoever starts the tests in the background hands an ignored SIGINT down to every process.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    command = [sys.executable, "-c", listen + textwrap.dedent(PROGRAM), "wait"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert stderr == "interrupted; nothing half-written was left behind.\n"


ENDED = """
import sys, time
from pathlib import Path
import click
from relatent.core.command import RelatentCommand
from relatent.core.files import atomic_file

@click.command(cls=RelatentCommand)
@click.argument("path", type=click.Path(path_type=Path))
def main(path):
    with atomic_file(path) as temporary:
        temporary.write_text("half")
        print("ready", flush=True)
        time.sleep(60)

main()
"""


def ended_by(name, folder, before="", ignored=False):
    """The exit code and standard error of a command that was sent a signal while it was writing."""
    process = subprocess.Popen(
        [sys.executable, "-c", before + ENDED, str(folder / "video.mp4")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(getattr(signal, name))
    if ignored:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
        process.kill()
    error = process.communicate()[1]
    return process.returncode, error


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_signals_leave_nothing_half_written(tmp_path, name):
    # Whoever runs the tests in the background may have had these signals ignored, and a child inherits that.
    restored = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    restored += "for number in (signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_DFL)\n"
    code, error = ended_by(name, tmp_path, restored)
    assert code == 128 + getattr(signal, name)
    assert "nothing half-written was left behind" in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_what_nohup_ignores_stays_ignored(tmp_path):
    ended_by("SIGHUP", tmp_path, "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n", ignored=True)


def test_handlers_are_put_back():
    @click.command(cls=RelatentCommand)
    def command():
        assert signal.getsignal(signal.SIGTERM) is not before

    before = signal.getsignal(signal.SIGTERM)
    assert CliRunner().invoke(command, [], catch_exceptions=False).exit_code == 0
    assert signal.getsignal(signal.SIGTERM) is before


def commands():
    """Every command of the console script and of the packages, below their groups."""
    modules = [importlib.import_module(f"{name}.__main__") for name in ("relatent", "inversion", "stylegan", "editing")]
    waiting = [module.main for module in modules]
    while waiting:
        command = waiting.pop()
        if isinstance(command, click.Group):
            context = click.Context(command)
            waiting += [command.get_command(context, name) for name in command.list_commands(context)]
        else:
            yield command


def test_no_command_takes_an_empty_text_for_the_current_folder():
    every = list(commands())
    assert len(every) >= 20
    for command in every:
        for param in command.params:
            assert not isinstance(param.type, click.Path) or isinstance(param.type, PathType), (command, param)


@pytest.mark.parametrize("flag", ["--data", "--outdir", "--resume"])
def test_an_empty_text_is_refused(flag, tmp_path, monkeypatch):
    from stylegan.__main__ import main

    monkeypatch.chdir(tmp_path)
    usual = {"--data": "here", "--outdir": "out", flag: ""}
    result = CliRunner().invoke(main, ["train", *(text for pair in usual.items() for text in pair)])
    assert result.exit_code == 2
    assert "empty" in result.stderr
    assert list(tmp_path.iterdir()) == []

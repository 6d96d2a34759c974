"""What `pip install` puts into an environment works there, far from the checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("relatent", "stylegan", "inversion", "editing", "weights")
COMMANDS = (
    ["-m", "inversion.project", "--help"],
    ["-m", "editing", "--help"],
    ["-m", "stylegan", "--help"],
    ["-m", "weights", "--help"],
    ["-m", "relatent", "--help"],
    ["-m", "relatent", "page", "--help"],
)
# In one process, as each one imports PyTorch.
EVERY_COMMAND = """
import contextlib, json, runpy, sys
for _, module, *arguments in json.loads(sys.argv[1]):
    sys.argv[1:] = arguments
    with contextlib.suppress(SystemExit):
        runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def run(command, folder, **environment):
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def crowded(tmp_path):
    """A working folder in which others keep what is called as packages often are."""
    folder = tmp_path / "work"
    for name in ("core", "face", "page", "app", "utils", "tests", "benchmarks", "training"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text('raise SystemExit("this was not to be imported")\n')
    for name in (*PACKAGES, "web", "data", "models"):  # folders of pictures and the like, with no Python in them
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "notes.txt").write_text("mine")
    return folder


@pytest.mark.slow
def test_no_folder_of_the_users_is_taken_for_one_of_ours(crowded):
    done = run([sys.executable, "-c", EVERY_COMMAND, json.dumps(COMMANDS)], crowded, PYTHONPATH=str(ROOT))
    assert done.count("Usage") == len(COMMANDS)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what is installed: a build leaves things beside it."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("source") / "relatent"
    folder.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in (*PACKAGES, "tests", "benchmarks", "training"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy2(file, folder)
    return folder


def built(what, folder, dist):
    """What `python -m build` asks of setuptools, without an environment that would have to be downloaded."""
    code = "import sys, setuptools.build_meta as backend; print(getattr(backend, sys.argv[1])(sys.argv[2]))"
    return dist / run([sys.executable, "-c", code, f"build_{what}", dist], folder).split()[-1]


@pytest.fixture(scope="module")
def wheel(checkout):
    """As `python -m build` makes it: the sdist from the checkout, the wheel from the sdist."""
    dist = checkout.parent / "dist"
    sdist = built("sdist", checkout, dist)
    safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # not before Python 3.10.12 and 3.11.4
    with tarfile.open(sdist) as archive:
        archive.extractall(checkout.parent / "unpacked", **safely)
    [unpacked] = (checkout.parent / "unpacked").iterdir()
    return built("wheel", unpacked, dist)


def new_environment(folder, wheel):
    """The Python of an environment with nothing in it but a wheel, and what ours has, lent by a path."""
    venv.create(folder, symlinks=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [sys.executable, "-m", "pip", "--python", python]
    run([*pip, "install", "--no-index", "--no-deps", wheel], folder)
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run([python, "-I", "-c", ask], folder).strip())
    lent = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "zz_lent.pth").write_text("".join(f"{path}\n" for path in sorted(lent)))
    return python, packages


@pytest.mark.slow
def test_the_wheel_holds_what_runs_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.partition("/")[0] for name in names} == {
        *PACKAGES,
        f"{wheel.name[: -len('-py3-none-any.whl')]}.dist-info",
    }
    for package in PACKAGES:
        files = {file.relative_to(ROOT).as_posix() for file in (ROOT / package).rglob("*") if file.is_file()}
        files = {name for name in files if "__pycache__" not in name and ".egg-info" not in name}
        assert files <= names  # Python, networks, cards, what the page says of responsible use


@pytest.mark.slow
def test_a_wheel_works_where_no_checkout_is(wheel, tmp_path):
    python, packages = new_environment(tmp_path / "venv", wheel)
    work = tmp_path / "work"
    work.mkdir()
    code = "import json, relatent, weights; print(json.dumps([relatent.__file__, weights.__file__]))"
    for file in json.loads(run([python, "-c", code], work)):
        assert Path(file).is_relative_to(packages)
    relatent = python.with_name("relatent")
    run([python, "-m", "inversion.project", "--demo", "--num-steps", "3"], work)
    assert json.loads((work / "out/astronaut/report.json").read_text())["network"].startswith("faces-128")
    run([relatent, "edit", "out/astronaut", "--set", "smile=1"], work)
    assert (work / "out/astronaut/edited.png").stat().st_size > 1000
    code = "import relatent; relatent.edit(relatent.Inversion.load('out/astronaut'), smile=1).image().save('a.png')"
    run([python, "-c", code], work)
    assert "faces-128" in run([relatent, "weights", "list"], work)
    assert "--port" in run([relatent, "page", "--help"], work)


@pytest.mark.slow
def test_an_editable_installation_works_from_a_crowded_folder(checkout, crowded, tmp_path):
    python, _ = new_environment(tmp_path / "venv", built("editable", checkout, tmp_path))
    for command in COMMANDS:
        assert "Usage" in run([python, *command], crowded)
    assert "Usage" in run([python.with_name("relatent"), "--help"], crowded)

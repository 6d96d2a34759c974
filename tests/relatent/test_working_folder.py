"""Commands run in any folder, whatever the folders in it are called."""

import os
import subprocess
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
COMMANDS = ("inversion.project", "inversion.__main__", "editing.__main__", "weights.__main__", "stylegan.__main__")
CODE = """
import importlib, sys
for name in sys.argv[2:]:
    assert importlib.import_module(name).__file__.startswith(sys.argv[1]), name
"""


def test_folders_that_are_called_like_packages(tmp_path):
    for name in ("face", "page", "core", "relatent", "weights", "stylegan", "inversion", "editing", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "me.jpg").touch()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # the place that an editable install gives it, too
    command = [sys.executable, "-c", CODE, str(ROOT), *COMMANDS]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_an_editable_install_is_a_place_on_the_path():
    """Not a finder: Python asks it only after it has taken a folder beside the user's photos for a package."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert settings["tool"]["distutils"]["editable_wheel"]["mode"] == "compat"

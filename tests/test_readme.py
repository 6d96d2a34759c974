"""The README keeps its word: its commands run, its Python runs, its links exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
QUICK_START = README.split("<!-- quick start -->")[1].split("<!-- end of quick start -->")[0]


def run(command, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_quick_start_is_two_commands():
    commands = [line.strip() for line in QUICK_START.splitlines() if line.startswith("    ")]
    assert commands == [
        "pip install -e . && python -m inversion.project --demo",
        'pip install -e ".[test]" && pytest',
    ]


def test_the_demo_shows_the_astronaut(tmp_path):
    import json

    done = run([sys.executable, "-m", "inversion.project", "--demo"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "out/astronaut" in done.stdout
    report = json.loads((tmp_path / "out" / "astronaut" / "report.json").read_text())
    assert report["psnr"] > 20
    assert report["identity_distance"] < 0.6


def test_the_python_runs(tmp_path):
    from inversion.project import demo_photo

    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "me.jpg").write_bytes(demo_photo().read_bytes())
    done = run([sys.executable, "-c", code], tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "face.png").stat().st_size > 1000


@pytest.mark.parametrize(
    "document", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))]
)
def test_links_and_files_named_exist(document):
    text = (ROOT / document).read_text()
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    for link in links:
        assert ((ROOT / document).parent / link).exists(), link


@pytest.mark.parametrize("module", ["inversion.project", "stylegan", "editing"])
def test_help_works(module, tmp_path):
    done = run([sys.executable, "-m", module, "--help"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout

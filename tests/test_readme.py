"""The README keeps its word: its commands run, its Python runs, its links exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("weights/*/README.md"),
]
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


@pytest.mark.slow
def test_the_python_runs(tmp_path):
    from inversion.project import demo_photo

    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "me.jpg").write_bytes(demo_photo().read_bytes())
    done = run([sys.executable, "-c", code], tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "face.png").stat().st_size > 1000


@pytest.mark.slow
def test_the_pool_of_processes_runs(tmp_path):
    from inversion.project import demo_photo

    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "project.md").read_text(), re.DOTALL)
    for name in ("me.jpg", "you.jpg"):
        (tmp_path / name).write_bytes(demo_photo().read_bytes())
    code += "    print([one.photo for one in people], people[0].ws.equal(people[1].ws))\n"
    (tmp_path / "pool.py").write_text(code)
    done = run([sys.executable, "pool.py"], tmp_path)
    assert done.stdout.split("\n")[0] == "['me.jpg', 'you.jpg'] True", done.stderr
    (tmp_path / "forked.py").write_text(code.replace('"spawn"', '"fork"'))
    if hasattr(os, "fork"):
        assert run([sys.executable, "forked.py"], tmp_path).stdout == done.stdout


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_and_files_named_exist(document):
    text = document.read_text()
    links = [link.partition("#") for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    for path, _, anchor in links:
        target = document.parent / path if path else document
        assert target.exists(), path
        assert not anchor or anchor in anchors(target.read_text()), f"{path}#{anchor}"
    for path in re.findall(r"(?<![\w/])(?:relatent|stylegan|inversion|editing|weights|benchmarks)/[\w/]+\.py\b", text):
        assert (ROOT / path).exists(), path


def anchors(text):
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

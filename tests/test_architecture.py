"""The house keeps its shape: imports point one way, nothing happens on import, names do not collide."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "core": set(),
    "weights": {"core"},
    "stylegan": {"core", "weights"},
    "face": {"core", "weights"},
    "inversion": {"core", "weights", "stylegan", "face"},
    "editing": {"core", "weights", "stylegan", "face", "inversion"},
    "page": {"core", "weights", "stylegan", "face", "inversion", "editing"},
}
REACHES_UP = {"weights/__main__.py": {"stylegan"}}  # `convert`, inside its function
PACKAGES = [name for name in MAY_IMPORT if (ROOT / name / "__init__.py").exists()]
FILES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
# The modules of page/ that widgets are made in.
KNOW_GRADIO = re.compile(r"(layout|take_home|direction_slider|(\w+_)?api|\w+_tab)\.py")
STYLEGAN_NEEDS = {"torch", "numpy", "safetensors", "PIL", "tqdm", "click"}
MAX_LINES = 330


def imported_modules(file: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(file.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_imports_point_one_way(file):
    package = file.relative_to(ROOT).parts[0]
    allowed = MAY_IMPORT[package] | {package}
    lazily = REACHES_UP.get(file.relative_to(ROOT).as_posix(), set())
    houses = {*MAY_IMPORT, "app", "tests", "benchmarks"}
    assert {name.split(".")[0] for name in imported_modules(file)} & houses <= allowed | lazily
    assert {name.split(".")[0] for name in imported_modules(file, top_level_only=True)} & houses <= allowed


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_files_and_functions_stay_small(file):
    text = file.read_text()
    assert len(text.splitlines()) <= MAX_LINES
    assert file.stem not in {"utils", "helpers", "misc"}


def test_only_landmarks_imports_dlib():
    def uses(file):
        return "dlib" in imported_modules(file) or re.search(r"import_module\(.dlib.\)", file.read_text())

    assert {file.relative_to(ROOT).as_posix() for file in FILES if uses(file)} == {"face/landmarks.py"}


def test_stylegan_needs_little():
    for file in FILES:
        if file.relative_to(ROOT).parts[0] in ("core", "weights", "stylegan"):
            foreign = {name.split(".")[0] for name in imported_modules(file, top_level_only=True)}
            foreign -= set(sys.stdlib_module_names) | set(MAY_IMPORT)
            assert foreign <= STYLEGAN_NEEDS, file


def test_gradio_is_imported_only_where_widgets_are_made():
    for file in FILES:
        uses_it = "gradio" in {name.split(".")[0] for name in imported_modules(file, top_level_only=True)}
        assert not uses_it or (file.parent.name == "page" and KNOW_GRADIO.fullmatch(file.name)), file
    code = "import sys, page, app; sys.exit('gradio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode == 0


def test_app_is_a_command_and_nothing_else():
    assert {name.split(".")[0] for name in imported_modules(ROOT / "app.py")} <= {
        *sys.stdlib_module_names,
        "click",
        "core",
        "page",
        "weights",
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_and_public_function_share_a_name(package):
    public = set(getattr(importlib.import_module(package), "__all__", []))
    modules = {file.stem for file in (ROOT / package).glob("*.py")}
    assert not public & modules


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_exist(package):
    module = importlib.import_module(package)
    for name in getattr(module, "__all__", []):
        assert hasattr(module, name)


@pytest.mark.parametrize("package", PACKAGES)
def test_init_imports_no_command(package):
    names = imported_modules(ROOT / package / "__init__.py")
    assert not {f"{package}.__main__", f"{package}.project", "core.command", "click"} & names


def test_importing_everything_writes_nothing(tmp_path):
    modules = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in FILES]
    modules = [name.removesuffix(".__init__") for name in modules if not name.endswith("__main__")]
    modules.append("app")
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, *modules],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_packages_are_listed():
    text = (ROOT / "pyproject.toml").read_text()
    listed = text.split("[tool.setuptools]")[1].split("]")[0]
    assert {package for package in MAY_IMPORT if f'"{package}"' in listed} == set(PACKAGES)

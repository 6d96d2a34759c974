"""The house keeps its shape: imports point one way, nothing happens on import, names do not collide."""

import ast
import functools
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "relatent.core": set(),
    "weights": {"relatent.core"},
    "stylegan": {"relatent.core", "weights"},
    "relatent.face": {"relatent.core", "weights"},
    "inversion": {"relatent.core", "weights", "stylegan", "relatent.face"},
    "editing": {"relatent.core", "weights", "stylegan", "relatent.face", "inversion"},
    "relatent.web": {"relatent.core", "weights", "stylegan", "relatent.face", "inversion", "editing"},
}
REACHES_UP = {"weights/__main__.py": {"stylegan"}}  # `convert`, inside its function
PACKAGES = list(MAY_IMPORT)
FILES = [file for package in PACKAGES for file in sorted((ROOT / package.replace(".", "/")).rglob("*.py"))]
# The modules of relatent/web/ that widgets are made in.
KNOW_GRADIO = re.compile(r"relatent/web/(layout|tabs/\w+|api/\w+)\.py")
STYLEGAN_NEEDS = {"torch", "numpy", "safetensors", "PIL", "tqdm", "click"}
MAX_LINES = 480  # twice what is usual: beyond, a file holds two ideas


@functools.cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def imported_modules(file: Path, top_level_only: bool = False) -> set[str]:
    tree = parsed(file)
    nodes = tree.body if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found.add(node.module or "")
    return found


def package_of(module: str) -> str:
    """The package of MAY_IMPORT that a module belongs to; else the first part of its name."""
    first, _, rest = module.partition(".")
    return f"{first}.{rest.partition('.')[0]}" if first == "relatent" and rest else first


def test_imports_point_one_way():
    houses, wrong = {*MAY_IMPORT, "relatent", "app", "tests", "benchmarks"}, {}
    for file in FILES:
        name = file.relative_to(ROOT).as_posix()
        package = package_of(".".join(file.relative_to(ROOT).parts))
        allowed, lazily = MAY_IMPORT[package] | {package}, REACHES_UP.get(name, set())
        everywhere = {package_of(module) for module in imported_modules(file)} & houses - allowed - lazily
        on_top = {package_of(module) for module in imported_modules(file, top_level_only=True)} & houses - allowed
        if everywhere | on_top:
            wrong[name] = everywhere | on_top
    assert not wrong


def test_files_stay_small():
    assert not {file for file in FILES if len(file.read_text().splitlines()) > MAX_LINES}
    assert not {file for file in FILES if file.stem in {"utils", "helpers", "misc"}}


def test_only_landmarks_imports_dlib():
    def uses(file):
        return "dlib" in imported_modules(file) or re.search(r"import_module\(.dlib.\)", file.read_text())

    assert {file.relative_to(ROOT).as_posix() for file in FILES if uses(file)} == {"relatent/face/landmarks.py"}


def test_stylegan_needs_little():
    for file in FILES:
        if package_of(".".join(file.relative_to(ROOT).parts)) in ("relatent.core", "weights", "stylegan"):
            foreign = {name.split(".")[0] for name in imported_modules(file, top_level_only=True)}
            foreign -= set(sys.stdlib_module_names) | {"relatent", "weights", "stylegan"}
            assert foreign <= STYLEGAN_NEEDS, file


def test_gradio_is_imported_only_where_widgets_are_made():
    for file in FILES:
        uses_it = "gradio" in {name.split(".")[0] for name in imported_modules(file, top_level_only=True)}
        assert not uses_it or KNOW_GRADIO.fullmatch(file.relative_to(ROOT).as_posix()), file


def test_naming_the_page_does_not_import_gradio():
    loaded = loaded_files("relatent.web", "app")
    assert {"app.py", "relatent/web/__init__.py"} < loaded
    assert not {name for name in loaded if KNOW_GRADIO.fullmatch(name)}
    # What the page needs once it is built is found by the same way: the check above can fail.
    assert "relatent/web/layout.py" in loaded_files("relatent.web.layout")


def loaded_files(*modules: str) -> set[str]:
    """The files of this repository that importing ``modules`` runs, by what is imported outside of functions."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        package, _, _ = name.rpartition(".")
        waiting += [package] if package else []
        place = ROOT / name.replace(".", "/")
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        known = file.relative_to(ROOT).as_posix()
        if known in found or not file.is_file():
            continue
        found.add(known)
        nodes = list(parsed(file).body)
        while nodes:
            node = nodes.pop()
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                waiting += [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                nodes += [] if _is_for_types(node) else ast.iter_child_nodes(node)
    return found


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def test_app_is_a_command_and_nothing_else():
    assert {name.split(".")[0] for name in imported_modules(ROOT / "app.py")} <= {
        *sys.stdlib_module_names,
        "click",
        "relatent",
        "weights",
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_and_public_function_share_a_name(package):
    public = set(getattr(importlib.import_module(package), "__all__", []))
    modules = {file.stem for file in (ROOT / package.replace(".", "/")).glob("*.py")}
    assert not public & modules


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_exist(package):
    module = importlib.import_module(package)
    for name in getattr(module, "__all__", []):
        assert hasattr(module, name)


@pytest.mark.parametrize("package", PACKAGES)
def test_init_imports_no_command(package):
    names = imported_modules(ROOT / package.replace(".", "/") / "__init__.py")
    assert not {f"{package}.__main__", f"{package}.project", "relatent.core.command", "click"} & names


@pytest.mark.slow
def test_importing_everything_writes_nothing(tmp_path):
    modules = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in FILES]
    modules = [name.removesuffix(".__init__") for name in modules if not name.endswith("__main__")]
    modules.append("app")
    code = (
        "import importlib, sys, relatent.web, app\n"
        "assert 'gradio' not in sys.modules\n"
        "for name in sys.argv[1:]: importlib.import_module(name)"
    )
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


def test_every_package_is_installed():
    """Setuptools finds packages by their __init__.py; a folder of modules without one would be left out."""
    for file in FILES:
        assert (file.parent / "__init__.py").exists(), file.parent

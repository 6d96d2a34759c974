"""`stylegan` must train where little else is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BLOCKED = """
matplotlib scipy skimage sklearn cv2 dlib lpips torchvision gradio pandas imageio pytorch_msssim ray optuna
"""

CODE = f"""
import importlib, pkgutil, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}.split():
            raise ModuleNotFoundError(f"{{name}} is not installed here", name=name)

sys.meta_path.insert(0, Absent())
import stylegan
stylegan.load("faces-128")
assert "torch._dynamo" not in sys.modules, "loading a network has imported PyTorch's compiler, which takes seconds"
for module in pkgutil.walk_packages(stylegan.__path__, "stylegan."):
    importlib.import_module(module.name)
    print(module.name)
others = {{"relatent.face", "relatent.web", "inversion", "editing", "app"}} & sys.modules.keys()
assert not others, others
"""


def test_every_module_imports_with_little_installed(tmp_path):
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CODE], cwd=root, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    files = [file.relative_to(root).with_suffix("") for file in (root / "stylegan").rglob("*.py")]
    names = {".".join(file.parts).removesuffix(".__init__") for file in files} - {"stylegan"}
    assert set(done.stdout.split()) == names

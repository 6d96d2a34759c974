"""`stylegan` must train where little else is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from stylegan import save_generator
from weights.embedded import DEFAULT_NETWORK

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
for network in sys.argv[1:]:
    stylegan.load(network)
    assert not {{"torch._dynamo", "torch._inductor"}} & sys.modules.keys(), (
        f"loading {{network}} has imported PyTorch's compiler, which takes seconds; some operators on meta do"
    )
for module in pkgutil.walk_packages(stylegan.__path__, "stylegan."):
    importlib.import_module(module.name)
    print(module.name)
others = {{"relatent.face", "relatent.web", "inversion", "editing", "app"}} & sys.modules.keys()
assert not others, others
"""


def test_every_module_imports_with_little_installed(tiny_alias_free, tmp_path):
    root, alias_free = Path(__file__).parents[2], tmp_path / "alias-free.safetensors"
    save_generator(tiny_alias_free(conv_kernel=1, use_radial_filters=True), alias_free)
    command = [sys.executable, "-W", "error", "-c", CODE, DEFAULT_NETWORK, alias_free]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    files = [file.relative_to(root).with_suffix("") for file in (root / "stylegan").rglob("*.py")]
    names = {".".join(file.parts).removesuffix(".__init__") for file in files} - {"stylegan"}
    assert set(done.stdout.split()) == names

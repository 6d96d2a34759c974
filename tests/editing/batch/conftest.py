import json

import numpy as np
import pytest
import torch
from invented import invented
from PIL import Image

from editing import Direction
from inversion.batch.jobs import open_job
from stylegan import load, network_id, save_generator


@pytest.fixture
def home(tiny_generator, tmp_path, monkeypatch):
    """out/me, out/me-2 and out/you, of three photos, and two directions in directions/."""
    monkeypatch.chdir(tmp_path)
    save_generator(tiny_generator, tmp_path / "tiny.safetensors")
    network = load(tmp_path / "tiny.safetensors")
    torch.manual_seed(3)
    for name in ("smile", "age"):
        Direction(torch.randn(24), name, network_id(network)).save(tmp_path / "directions" / f"{name}.safetensors")
    for number, (stem, photo) in enumerate({"me": "a/me.png", "me-2": "b/me.png", "you": "you.png"}.items(), start=1):
        path = tmp_path / "photos" / photo
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8)
        Image.fromarray(pixels).resize((160, 120)).save(path)
        place = np.array([[2.0, 0, 10], [0, 2, 5], [0, 0, 1]])
        folder = tmp_path / "out" / stem
        invented(network, number).replace(photo=path.name, face_to_photo=place).save(folder / "inversion.safetensors")
        made_from = {"name": path.name, "file": str(path), "sha256": open_job(path).digest, "face": 1, "faces": 1}
        (folder / "report.json").write_text(json.dumps({"network": network_id(network), "photo": made_from}))
    return tmp_path

"""The notebook runs from its first cell to its last, and ends with an edited face."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Jupyter's own packages
def test_the_notebook_runs(monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(ROOT / "docs" / "tour.ipynb", as_version=4)
    assert 'KIMG = "40"' in notebook.cells[1].source
    notebook.cells[1].source = notebook.cells[1].source.replace('KIMG = "40"', 'KIMG = "2"')
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    text = "".join(output.get("text", "") for cell in code for output in cell.outputs)
    assert "Frechet distance (backbone)" in text
    faces = [
        Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
        for cell in code[-2:]
        for output in cell.outputs
        if "data" in output
    ]
    assert [face.size for face in faces] == [(128, 128), (128, 128)]
    assert faces[0].tobytes() != faces[1].tobytes()


def test_the_notebook_is_committed_without_results():
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(ROOT / "docs" / "tour.ipynb", as_version=4)
    assert not [cell for cell in notebook.cells if cell.get("outputs")]

"""Commands replace files that Relatent wrote, and none of the user's."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

from editing.__main__ import main as editing
from inversion.__main__ import main as inversion
from inversion.batch.database import Database
from inversion.batch.manifest import Manifest
from inversion.batch.summary import require_summary_room, summarise
from inversion.project import main as project
from relatent.core.errors import OutputError, UsageError
from relatent.core.provenance import MarkedImage, software_tag
from relatent.core.results import require_replaceable
from stylegan.__main__ import main as stylegan
from weights.__main__ import main as weights

NETWORK = "networks/tiny.safetensors"
PHOTOS = ["--data=photos", "--out=mine.safetensors"]
COMMANDS = {
    "show": (editing, ["directions", "show", "mine", "--out=mine.png"], "mine.png"),
    "sefa": (editing, ["directions", "sefa", "--count=1", f"--network={NETWORK}", "--outdir=."], "sefa_0.safetensors"),
    "sheet": (editing, ["directions", "sefa", "--count=1", f"--network={NETWORK}", "--outdir=."], "sefa.png"),
    "learn": (editing, ["directions", "learn", "smile", f"--network={NETWORK}", "--outdir=."], "smile.safetensors"),
    "classifier": (editing, ["directions", "classifier", "hat", "--out=hat.safetensors"], "hat.safetensors"),
    "import": (
        editing,
        ["directions", "import", "b.npy", f"--for-network={NETWORK}", "--name=age", "--outdir=."],
        "age.safetensors",
    ),
    "morph": (editing, ["morph", "1", "2", "--out=mine.gif"], "mine.gif"),
    "convert": (weights, ["convert", NETWORK, "mine.safetensors"], "mine.safetensors"),
    "export": (stylegan, ["export", NETWORK, "mine.safetensors"], "mine.safetensors"),
    "compact": (stylegan, ["compact", "state.safetensors", "mine.safetensors"], "mine.safetensors"),
    "metrics": (stylegan, ["metrics", NETWORK, "--data=photos", "--out=mine.json"], "mine.json"),
    "train": (stylegan, ["train", "--data=photos", "--outdir=.", "--dry-run"], "settings.json"),
    "page of a run": (stylegan, ["train", "--data=photos", "--outdir=.", "--dry-run"], "index.html"),
    "search": (stylegan, ["tune", "--data=photos", "--outdir=."], "index.html"),
    "recipe": (stylegan, ["tune", "--data=photos", "--outdir=."], "recipe.json"),
    "encoder": (inversion, ["train-encoder", f"--network={NETWORK}", *PHOTOS, "--dry-run"], "mine.safetensors"),
    "backbone": (inversion, ["train-backbone", "--teacher=t.safetensors", *PHOTOS, "--dry-run"], "mine.safetensors"),
    "preconditioner": (
        inversion,
        ["measure-preconditioner", f"--network={NETWORK}", "--out=mine.safetensors", "--overwrite", "--pictures=1"],
        "mine.safetensors",
    ),
    "table": (project, ["--demo", f"--network={NETWORK}", "--outdir=."], "report.csv"),
    "page of a batch": (project, ["--demo", f"--network={NETWORK}", "--outdir=."], "report.html"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_replaces_a_file_of_the_user(name, tiny_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("b.npy", np.ones((1, 24), np.float32))
    command, arguments, file = COMMANDS[name]
    (tmp_path / file).write_text('{"mine": true}')
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code in (1, 2), result.output
    assert result.output.count("error:") == 1
    assert f"{file} " in result.output
    assert (tmp_path / file).read_text() == '{"mine": true}'
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["networks", "b.npy", file])


def test_what_says_that_relatent_made_it_is_replaced(tiny_file, tmp_path):
    picture = tmp_path / "a.png"
    MarkedImage(np.zeros((4, 4, 3), np.uint8), software_tag("tiny@0123456789ab")).save(picture)
    (tmp_path / "a.json").write_text(json.dumps({"format": "relatent-metrics-1"}, indent=2))
    (tmp_path / "empty.png").touch()
    require_replaceable([picture, tiny_file, tmp_path / "a.json", tmp_path / "empty.png", tmp_path / "missing"])


def test_files_of_others_are_named_with_the_way_out(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    save_file({"w": torch.zeros(2)}, tmp_path / "a.safetensors", metadata={"format": "pt"})
    for name in ("a.png", "a.safetensors"):
        with pytest.raises(UsageError, match=rf"{name} exists, .*choose another --outdir\.$"):
            require_replaceable([tmp_path / name], "--outdir")


def test_summaries_are_replaced_until_the_user_changes_them(tmp_path):
    Manifest(tmp_path).close()
    for _ in range(3):
        require_summary_room(tmp_path)
        summarise(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.sqlite", "report.csv", "report.html"]
    table = tmp_path / "report.csv"
    table.write_text(table.read_text() + "my notes\n")
    with pytest.raises(OutputError, match=r"report\.csv is not a file that Relatent wrote, or was changed since"):
        require_summary_room(tmp_path)
    with pytest.raises(OutputError):
        summarise(tmp_path)
    assert table.read_text().endswith("my notes\n")


def test_summaries_of_a_manifest_without_sums_are_known_by_their_beginning(tmp_path):
    Manifest(tmp_path).close()
    summarise(tmp_path)
    manifest = Manifest(tmp_path)
    manifest.database.execute("DROP TABLE summaries")
    manifest.close()
    require_summary_room(tmp_path)
    (tmp_path / "report.html").write_text("<!doctype html><title>My holiday</title>")
    with pytest.raises(OutputError, match=r"report\.html"):
        require_summary_room(tmp_path)


def test_looking_at_a_manifest_leaves_nothing_beside_it(tmp_path):
    Manifest(tmp_path).close()
    for _ in range(2):
        Database(tmp_path, read_only=True).close()
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.sqlite"]

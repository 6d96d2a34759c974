"""Faces are measured once, also when they were inverted for another benchmark; other presets' entries stay."""

import json

import pytest
import torch
from click.testing import CliRunner

from benchmarks import inverting, percentiles
from benchmarks.inverting import kept_inversions
from inversion import presets as settings
from relatent.core.errors import OutputError
from stylegan import load


@pytest.fixture
def run(faces, tiny_file, tmp_path, few_steps, monkeypatch):
    """Runs the command; keywords are its options, besides those of every test."""
    monkeypatch.setattr(settings, "PRESETS", few_steps)

    def go(**options):
        options = {
            "faces": faces,
            "network": tiny_file,
            "work": tmp_path / "work",
            "out": tmp_path / "s.json",
            **options,
        }
        arguments = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
        result = CliRunner().invoke(percentiles.main, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads((tmp_path / "s.json").read_text())

    return go


def test_another_preset_keeps_what_is_known(run):
    first = run()
    both = run(preset="paper", count=2)
    assert both["presets"]["balanced"] == first["presets"]["balanced"]
    assert {name: entry["faces"] for name, entry in both["presets"].items()} == {"balanced": 4, "paper": 2}
    for entry in both["presets"].values():
        assert entry["lpips"] == sorted(entry["lpips"])
        assert entry["settings"]["optimiser"]["num_steps"] == 4


def test_what_is_inverted_is_not_inverted_again(run, faces, tiny_file, tmp_path, monkeypatch):
    kept = tmp_path / "kept"
    kept_inversions(faces, 3, load(tiny_file), kept, batch=2)
    asked = []
    original = percentiles.inverted
    monkeypatch.setattr(
        percentiles, "inverted", lambda task, photos: asked.append(len(photos)) or original(task, photos)
    )
    taken = run(inversions=kept)
    assert asked == [1]  # the fourth face
    anew = run(work=tmp_path / "other")
    assert torch.allclose(*(torch.tensor(one["presets"]["balanced"]["lpips"]) for one in (taken, anew)), atol=2e-3)


def test_what_quality_has_measured_is_not_inverted_again(run, faces, tiny_file, tmp_path, monkeypatch):
    anew = run(preset="paper")
    (made,) = (tmp_path / "work").glob("*.jsonl")
    about, *rows = map(json.loads, made.read_text().splitlines())
    del about["preset"]  # it is the file's name there
    kept = tmp_path / "quality.parts" / "paper.jsonl"
    rows = [{**row, "psnr": 20.0} for row in [*rows, {"key": "astronaut", "lpips": 0.1}]]
    kept.parent.mkdir()
    kept.write_text("".join(json.dumps(line) + "\n" for line in [{**about, "edit": "smile=2"}, *rows]))
    monkeypatch.setattr(percentiles, "inverted", None)
    assert run(preset="paper", quality=kept.parent, work=tmp_path / "other") == anew
    kept.write_text(kept.read_text().replace('"seed": ', '"seed": 1'))
    with pytest.raises(OutputError, match="another seed"):
        run(preset="paper", quality=kept.parent, work=tmp_path / "third")


def test_inversions_of_other_settings_are_refused(faces, tiny_file, tmp_path, few_steps, monkeypatch):
    network = load(tiny_file)
    monkeypatch.setattr(settings, "PRESETS", few_steps)
    kept_inversions(faces, 1, network, tmp_path / "kept", batch=1)
    monkeypatch.undo()
    with pytest.raises(OutputError, match="another settings"):
        inverting.known_inversions(faces, network, tmp_path / "kept")

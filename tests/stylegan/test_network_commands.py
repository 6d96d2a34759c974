"""`python -m stylegan export`, `compact` and `curves`."""

import json

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from stylegan import Provenance, load, network_id, save_generator
from stylegan.__main__ import main
from stylegan.training.state import read_settings


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_export_halves_renames_and_keeps_the_provenance(tiny_generator, tmp_path):
    save_generator(tiny_generator, tmp_path / "a.safetensors", provenance=Provenance(licence="CC0", origin="a test"))
    result = run("export", tmp_path / "a.safetensors", tmp_path / "b.safetensors", "--name", "faces")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "b.safetensors").stat().st_size < 0.7 * (tmp_path / "a.safetensors").stat().st_size
    exported = load(tmp_path / "b.safetensors")
    assert network_id(exported).startswith("faces@")
    assert network_id(exported) in result.output
    z = torch.randn(2, 16)
    torch.testing.assert_close(exported(z), tiny_generator(z), atol=2e-2, rtol=0)
    again = run("export", tmp_path / "b.safetensors", tmp_path / "c.safetensors", "--full")
    assert again.exit_code == 0
    from stylegan.formats.checkpoint import read_provenance

    assert read_provenance(tmp_path / "c.safetensors") == Provenance(licence="CC0", origin="a test")


@pytest.mark.parametrize("command", ["export", "compact"])
def test_what_is_no_network_or_state_is_refused(command, tmp_path):
    (tmp_path / "a.safetensors").write_text("hello")
    result = run(command, tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert result.exit_code == 1
    assert result.stderr.startswith("error:")
    assert not (tmp_path / "b.safetensors").exists()


def test_compact_halves_a_state_and_forgets_where_the_data_lay(tmp_path):
    data = tmp_path / "secret" / "data"
    data.mkdir(parents=True)
    for number in range(8):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(data / f"{number}.png")
    sizes = ["--resolution", 8, "--channel-base", 64, "--channel-max", 8, "--z-dim", 4, "--w-dim", 4]
    sizes += ["--mapping-layers", 1, "--batch", 4, "--kimg", 0.008]
    assert run("train", "--data", data, "--outdir", tmp_path / "run", *sizes).exit_code == 0
    state, small = tmp_path / "run" / "training-state.safetensors", tmp_path / "small.safetensors"
    result = run("compact", state, small)
    assert result.exit_code == 0, result.output
    assert b"secret" not in small.read_bytes()
    assert read_settings(small).data == "data"
    resumed = run("train", "--resume", small, "--data", data, "--outdir", tmp_path / "again", "--kimg", 0.016)
    assert resumed.exit_code == 0, resumed.output


def test_curves_of_a_run(tmp_path):
    line = {"kimg": 1, "loss_g": 1.0, "loss_d": 1.0, "real_accuracy": 0.95, "fake_accuracy": 0.95}
    (tmp_path / "log.jsonl").write_text(json.dumps(line) + "\n")
    result = run("curves", tmp_path)
    assert result.exit_code == 0, result.output
    assert "winning" in result.output
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert run("curves", tmp_path / "nowhere").exit_code == 1

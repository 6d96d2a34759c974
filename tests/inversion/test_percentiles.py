"""A place among the validation faces is given where it means something, and nowhere else."""

import json

import pytest
from click.testing import CliRunner

from inversion import percentiles
from inversion.percentiles import FORMAT, LpipsPercentile, MeasuredFaces, measured_faces, settings_of
from inversion.presets import plan_for
from inversion.project import demo_photo, main
from inversion.stages import presets_of
from relatent.core.errors import CheckpointError
from stylegan import load, network_id
from weights.embedded import percentiles_path

SCALE = (0.1, 0.2, 0.2, 0.3)


@pytest.fixture
def table(tmp_path, tiny_file, few_steps, monkeypatch):
    """Writes a percentiles.json for the tiny network; keywords change its entry for `balanced`."""
    path = tmp_path / "percentiles.json"
    monkeypatch.setattr(percentiles, "percentiles_path", lambda name: path if name == "tiny" else None)

    def write(network=None, lpips=SCALE, **changes):
        entry = {
            "encoder": "",
            "preconditioner": "",
            "settings": settings_of(plan_for("balanced")),
            "lpips_trunk": "faces-backbone",
        }
        presets = {"balanced": {**entry, "faces": len(lpips), "lpips": list(lpips), **changes}}
        network = network or network_id(load(tiny_file))
        path.write_text(json.dumps({"format": FORMAT, "network": network, "presets": presets}))
        percentiles._read.cache_clear()
        return path

    yield write
    percentiles._read.cache_clear()


def test_counts_what_was_easier():
    faces = MeasuredFaces("t", SCALE)
    places = {lpips: faces.percentile(lpips, "t").below for lpips in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.9)}
    assert places == {0.05: 0, 0.1: 0, 0.15: 1, 0.2: 1, 0.25: 3, 0.3: 3, 0.9: 4}
    assert faces.percentile(0.2, "vgg") is None
    assert str(LpipsPercentile(97, 100)) == "LPIPS percentile 97 of 100 validation faces"
    assert LpipsPercentile(1, 4).value == 25


def test_none_but_the_same_network_preset_and_settings(table, tiny_file):
    network, plan = load(tiny_file), plan_for("balanced")
    table()
    assert measured_faces(network, "balanced", plan) == MeasuredFaces("faces-backbone", SCALE)
    assert measured_faces(network, "best", plan_for("best")) is None
    assert measured_faces(network, "balanced", plan_for("balanced", num_steps=5)) is None
    assert measured_faces(network, "balanced", plan_for("balanced", precision="bfloat16")) is None
    table(network="tiny@000000000000")
    assert measured_faces(network, "balanced", plan) is None
    table(encoder="of another")
    assert measured_faces(network, "balanced", plan) is None
    network.name = "stranger"
    table()
    assert measured_faces(network, "balanced", plan) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": "relatent-percentiles-1", "network": "a", "presets": {"balanced": {"lpips": [2, 1]}}}',
    ],
)
def test_a_damaged_file_is_named(table, tiny_file, text):
    path = table()
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"percentiles\.json is damaged"):
        measured_faces(load(tiny_file), "balanced", plan_for("balanced"))


def test_the_command_says_it(table, tiny_file, tmp_path):
    def project(*arguments):
        arguments = [demo_photo(), "--network", tiny_file, "--outdir", tmp_path / "out", "--overwrite", *arguments]
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        report = json.loads((tmp_path / "out" / "astronaut" / "report.json").read_text())
        return result.output, report["lpips_percentile"], report["percentile_faces"]

    table(lpips=(0.0, 0.0, 0.0, 99.0))
    output, value, faces = project()
    assert ", LPIPS percentile 75 of 4 validation faces" in output
    assert (value, faces) == (75, 4)
    for more in (["--num-steps", 3], ["--preset", "paper"], ["--mask", "auto"]):
        output, value, faces = project(*more)
        assert "percentile" not in output
        assert (value, faces) == (None, None)


def test_what_ships_fits_what_ships():
    """A new network or encoder, or other settings, need a new run of benchmarks/percentiles.py."""
    path = percentiles_path("faces-128")
    if path is None:
        pytest.skip("no faces have been measured")
    table = json.loads(path.read_text())
    network = load("faces-128")
    for preset, entry in table["presets"].items():
        faces = measured_faces(network, preset, presets_of(network)[preset])
        assert faces is not None, f"run: python -m benchmarks.percentiles --preset {preset} --count {entry['faces']}"
        assert len(faces.lpips) == entry["faces"] >= 20
        assert 0 < faces.lpips[0] < 1

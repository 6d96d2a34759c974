"""The benchmark of both ways to regularise noise maps, at a size that takes seconds."""

import json

from click.testing import CliRunner

from benchmarks.noise_maps import GAINS, halved_by, main
from inversion.losses.loss import noise_regularisation
from inversion.optim import optimisation


def test_both_ways_on_the_same_faces(faces, tiny_file, tmp_path):
    options = {"--faces": faces, "--network": tiny_file, "--folder": tmp_path, "--num-steps": 3, "--count": 2}
    result = CliRunner().invoke(main, [str(part) for pair in options.items() for part in pair], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "noise-maps.json").read_text())
    assert found["each"].keys() == found["methods"].keys() == GAINS.keys()
    first, second = found["each"].values()
    assert list(first) == list(second) == ["val/0.png", "val/1.png"]
    assert first != second
    assert (tmp_path / "noise-maps.png").is_file()


def test_the_other_way_ends_with_its_block():
    with halved_by(1.0):
        assert optimisation.noise_regularisation is not noise_regularisation
    assert optimisation.noise_regularisation is noise_regularisation

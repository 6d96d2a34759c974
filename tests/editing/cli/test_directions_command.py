"""The commands, from their options to their files; a score that needs no face keeps it quick."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from planted import blueness, brightness

from editing.attributes import classifiers
from editing.attributes.classifiers import Classifier
from editing.attributes.registry import Attribute
from editing.cli import directions as directions_command
from editing.cli import learn as learn_command
from editing.cli.directions import directions, parse_channel
from editing.directions import channels, effects
from editing.directions.direction import Direction
from relatent.core.images import encode_png


@pytest.fixture
def network(tiny_generator, monkeypatch):
    """What --network is given to get the tiny generator."""
    for module in (learn_command, directions_command):
        monkeypatch.setattr(module, "open_network", lambda name, device: tiny_generator)
    return "tiny"


@pytest.fixture(autouse=True)
def quick_scores(monkeypatch):
    monkeypatch.setattr(effects, "LAYER_PROBES", 4)
    monkeypatch.setattr(effects, "SCALE_PROBES", 16)
    monkeypatch.setattr(classifiers, "STRENGTHS", (1e-3,))
    monkeypatch.setattr(channels, "ATTRIBUTE_PROBES", 4)

    def known(alignment):
        return {
            "brightness": Attribute("brightness", "lighter", brightness),
            "blueness": Attribute("blueness", "bluer", blueness),
            "flat": Attribute("flat", "nothing", lambda pictures: np.zeros(len(pictures))),
        }

    monkeypatch.setattr(learn_command, "known_attributes", known)
    monkeypatch.setattr(directions_command, "known_attributes", known)


def run(*arguments, code=0):
    done = CliRunner().invoke(directions, [str(one) for one in arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output


def test_learn_disentangled(network, tmp_path):
    options = ["--samples", 200, "--network", network, "--outdir", tmp_path]
    text = run("learn", "--all", "--disentangle", *options, code=1)
    assert "every face scores the same" in text  # flat is left out, the others are learned
    found = Direction.load(tmp_path / "brightness.safetensors")
    assert "disentangled by measured effects from blueness" in found.source
    assert found.facts["up"] == "lighter"
    assert "also_blueness" in found.facts
    refused = run("learn", "--all", "--disentangle", "--not", "blueness", *options, code=2)
    assert "neither --not nor --layers" in refused


def test_learn_writes_directions_and_a_sheet_and_tells_how_good_they_are(network, tmp_path):
    out = tmp_path / "found"
    text = run("learn", "brightness", "--not", "blueness", "--samples", 200, "--network", network, "--outdir", out)
    direction = Direction.load(out / "brightness.safetensors")
    assert direction.facts["up"] == "lighter"
    assert "orthogonal to blueness" in direction.source
    assert (out / "learned.png").stat().st_size > 0
    assert "held out accuracy" in text
    listed = run("list", "--directions", out, "--network", network)
    assert listed.startswith("brightness: lighter; held out accuracy")
    shown = run(
        "show", out / "brightness.safetensors", "--network", network, "--output", tmp_path / "a.png", "--faces", 1
    )
    assert "effect: " in shown
    assert (tmp_path / "a.png").is_file()


def test_one_attribute_that_teaches_nothing_does_not_stop_the_others(network, tmp_path):
    text = run("learn", "flat", "blueness", "--samples", 200, "--network", network, "--outdir", tmp_path / "o", code=1)
    assert "error: every face scores the same for 'flat'" in text
    assert (tmp_path / "o" / "blueness.safetensors").is_file()
    assert not (tmp_path / "o" / "flat.safetensors").exists()


def test_layers_may_be_chosen(network, tmp_path):
    run("learn", "brightness", "--layers", "5-7", "--samples", 200, "--network", network, "--outdir", tmp_path)
    assert Direction.load(tmp_path / "brightness.safetensors").layers == (5, 6, 7)


def folders(tmp_path, count=30):
    rng = np.random.default_rng(0)
    for name, level in (("with", 170), ("without", 80)):
        (tmp_path / name).mkdir()
        for index in range(count):
            pixels = rng.normal(level, 25, (32, 32, 3)).clip(0, 255).astype(np.uint8)
            (tmp_path / name / f"{index}.png").write_bytes(encode_png(pixels))
    return tmp_path / "with", tmp_path / "without"


def test_two_folders_teach_a_direction_of_ones_own(network, tmp_path):
    with_, without = folders(tmp_path)
    text = run(
        *("learn", "lit", "--with", with_, "--without", without, "--no-align", "--up", "more light"),
        *("--samples", 200, "--network", network, "--outdir", tmp_path / "o"),
    )
    assert "held out accuracy" in text
    assert Direction.load(tmp_path / "o" / "lit.safetensors").facts["up"] == "more light"
    assert Classifier.load(tmp_path / "o" / "classifiers" / "lit.safetensors").name == "lit"
    listed = run("list", "--directions", tmp_path / "o", "--network", network)
    assert len(listed.splitlines()) == 1  # the classifier is no direction


def test_a_classifier_is_trained_once_and_used_again(network, tmp_path):
    with_, without = folders(tmp_path)
    file = tmp_path / "lit.safetensors"
    run(
        "classifier", "lit", "--with", with_, "--without", without, "--no-align", "--network", network, "--output", file
    )
    run("learn", "lit", "--classifier", file, "--samples", 200, "--network", network, "--outdir", tmp_path / "o")
    assert (tmp_path / "o" / "lit.safetensors").is_file()


def test_a_function_of_ones_own(network, tmp_path, monkeypatch):
    (tmp_path / "mine_e2.py").write_text("def red(pictures):\n    return pictures[..., 0].mean(axis=(1, 2))\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    run("learn", "red", "--score", "mine_e2:red", "--samples", 200, "--network", network, "--outdir", tmp_path / "o")
    assert (tmp_path / "o" / "red.safetensors").is_file()


@pytest.mark.parametrize("command", ["sefa", "ganspace"])
def test_unsupervised_directions_and_their_sheet(network, tmp_path, command):
    out = tmp_path / "o"
    text = run(command, "--count", 2, "--layers", "coarse", "--samples", 200, "--network", network, "--outdir", out)
    assert Direction.load(out / f"{command}_1.safetensors").layers == (0, 1, 2)
    assert (out / f"{command}.png").is_file()
    assert text.count("share of") == 2


def test_style_channels_by_name_by_region_and_by_attribute(network, tmp_path, monkeypatch):
    common = ("--samples", 200, "--network", network, "--outdir", tmp_path, "--faces", 1)
    assert "reached" in run("stylespace", "10_3", *common)
    assert (tmp_path / "style_10_3.safetensors").is_file()
    mask = torch.zeros(32, 32)
    mask[:16] = 1
    monkeypatch.setattr(directions_command, "mean_region", lambda network, name, seed: mask)
    assert run("stylespace", "--region", "mouth", "--count", 2, *common).count("share in mouth") == 2
    assert run("stylespace", "--attribute", "brightness", "--count", 2, *common).count("effect on brightness") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["learn"], "what can be scored: blueness, brightness, flat"),
        (["learn", "brightness", "--all"], "expected --all or names"),
        (["learn", "hat"], "two folders of pictures"),
        (["learn", "brightness", "--not", "agee"], "unknown attribute 'agee'"),
        (["learn", "a", "b", "--score", "x:y"], "expected one NAME"),
        (["learn", "a", "--with", "x"], "either --with FOLDER and --without FOLDER"),
        (["learn", "brightness", "--layers", "9"], "layer 9"),
        (["learn", "brightness", "--samples", "3"], "--samples"),
        (["classifier", "a", "--pictures", "x"], "--column"),
        (["sefa", "--count", "99"], "1 to 24"),
        (["stylespace"], "--region NAME"),
        (["stylespace", "9-41"], "LAYER_CHANNEL"),
        (["stylespace", "99_0"], "style layer 99"),
        (["show", "smiel"], "unknown direction 'smiel'"),
    ],
)
def test_what_cannot_be_meant_ends_with_2_and_one_line(network, arguments, message):
    text = run(*arguments, "--network", network, code=2)
    assert message in text
    assert "Traceback" not in text


def test_an_unusable_file_in_the_list_is_named(network, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "smile.safetensors").write_bytes(b"nothing")
    assert "smile: cannot be used" in run("list", "--directions", tmp_path / "d", "--network", network)
    assert "directions learn --all" in run("list", "--network", network)


def test_channels_are_parsed():
    assert parse_channel("9_41") == (9, 41)


def test_help_names_what_there_is():
    assert all(
        word in run("--help") for word in ("learn", "list", "show", "sefa", "ganspace", "stylespace", "classifier")
    )

import dataclasses
import json
import sqlite3
import statistics
from contextlib import closing

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from relatent.core.errors import CheckpointError, DatasetError, UsageError
from stylegan.__main__ import main, train_command
from stylegan.measuring.features import BackboneFeatures
from stylegan.training.recipe_file import read_recipe, write_recipe
from stylegan.tuning.config import TuneConfig
from stylegan.tuning.folds import Pictures, cross_validate, mean_and_spread, split
from stylegan.tuning.page import write_page
from stylegan.tuning.search import (
    gamma_middle,
    importances,
    open_study,
    own_parameters,
    search,
    suggest,
    usable_batches,
    with_parameters,
)

optuna = pytest.importorskip("optuna")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network():
    return BackboneFeatures(CPU)


def test_folds_are_disjoint_and_hold_everything():
    folds = split(20, 3, seed=1)
    assert sorted(map(len, folds)) == [6, 7, 7]
    assert sorted(torch.cat(folds).tolist()) == list(range(20))
    assert all(torch.equal(a, b) for a, b in zip(folds, split(20, 3, seed=1), strict=True))
    with pytest.raises(DatasetError, match="too few for 3 folds"):
        split(5, 3, seed=1)


def test_mean_and_spread_by_hand():
    assert mean_and_spread([1.0, 2.0, 6.0]) == (3, pytest.approx(7**0.5))
    assert mean_and_spread([4.0]) == (4, 0)


def test_cross_validation_holds_each_fold_out(tiny_settings, network, monkeypatch):
    """Every run sees all pictures but its fold, and is scored on that fold alone."""
    from stylegan.tuning import folds as module

    seen, scored = [], []

    class Watched(module.Trainer):
        def __init__(self, settings, images, classes, device):
            seen.append(images[:, 0, 0, 0].tolist())
            super().__init__(settings, images, classes, device)

    def score(trainer, real, network, samples):
        scored.append(real[:, 0].tolist())
        return float(len(scored))

    monkeypatch.setattr(module, "Trainer", Watched)
    monkeypatch.setattr(module, "held_out_score", score)
    images = torch.arange(12, dtype=torch.uint8).view(12, 1, 1, 1).expand(12, 3, 8, 8)
    pictures = Pictures(images, None, torch.arange(12.0)[:, None])
    folds, reports = split(12, 3, 0), []
    scores = cross_validate(
        tiny_settings(),
        pictures,
        folds,
        network,
        kimg=0.008,
        checks=2,
        samples=4,
        device=CPU,
        report=lambda *report: reports.append(report),
    )
    for kept, fold, held_out in zip(seen, folds, scored[::2], strict=True):
        assert held_out == fold.tolist()
        assert set(kept) == set(range(12)) - set(held_out)
    assert scores == [2, 4, 6]  # the last check of each run
    assert [step for step, _ in reports] == [1, 2, 3, 4, 5, 6]
    assert reports[3] == (4, statistics.fmean([2, 4]))


def test_recipes_change_what_they_name(tiny_settings):
    base = tiny_settings(batch=4, ema_kimg=10.0)
    changed = with_parameters(base, {"lr": 0.001, "gamma": 0.5, "augment": 0.1, "batch": 8})
    assert (changed.learning_rate, changed.loss_weights.r1_gamma, changed.augment_strength) == (0.001, 0.5, 0.1)
    assert (changed.batch, changed.ema_kimg) == (8, 20)
    own = own_parameters(base, gamma_middle(base))
    assert with_parameters(base, own) == base
    assert usable_batches(base, 20) == [4, 8, 16]
    with pytest.raises(UsageError, match="more than the 3 pictures"):
        usable_batches(base, 3)


def test_batches_can_be_computed_in_the_parts_asked_for(tiny_settings):
    assert usable_batches(tiny_settings(batch=12, accumulate=3), 60) == [12]
    assert usable_batches(tiny_settings(batch=12, accumulate=4), 60) == [8, 12, 16, 32]


@pytest.mark.parametrize("gamma", [1e9, 1e-300])
def test_a_search_stays_within_the_bounds_of_settings(tiny_settings, gamma):
    base = tiny_settings(batch=8, ema_kimg=1e9)
    base = dataclasses.replace(base, loss_weights=dataclasses.replace(base.loss_weights, r1_gamma=gamma))
    study, middle, batches = optuna.create_study(), gamma_middle(base), usable_batches(base, 60)
    study.enqueue_trial(own_parameters(base, middle))
    for _ in range(8):
        settings = with_parameters(base, suggest(study.ask(), middle, batches))  # which checks itself
        assert settings.loss_weights.r1_gamma > 0


@pytest.fixture
def scored(monkeypatch):
    """The search with the trainings replaced by a score that is best at a learning rate of 0.001."""
    from stylegan.tuning import search as module

    tried = []

    def cross_validate(settings, pictures, folds, network, *, report, **_):
        tried.append(settings)
        value = 1 + 100 * abs(np.log(settings.learning_rate / 0.001))
        for step in range(1, 4):
            report(step, value + step)
        return [value, value + 1, value + 2]

    monkeypatch.setattr(module, "cross_validate", cross_validate)
    return tried


def pictures(count=40):
    return Pictures(torch.zeros(count, 3, 8, 8, dtype=torch.uint8), None, torch.zeros(count, 4))


@pytest.mark.slow  # SQLite commits at every score; another test resumes in the fast tier
def test_the_search_finds_what_is_best_prunes_and_resumes(tiny_settings, scored, network, tmp_path):
    config, base = TuneConfig(trials=4, warmup_trials=1), tiny_settings()
    search(open_study(tmp_path, config, "a"), base, pictures(), network, config, CPU)
    assert len(scored) == 4
    assert scored[0] == base
    config = TuneConfig(trials=9, warmup_trials=1)
    study = open_study(tmp_path, config, "a")
    search(study, base, pictures(), network, config, CPU)
    assert len(scored) == 9
    states = {trial.state.name for trial in study.trials}
    assert states == {"COMPLETE", "PRUNED"}
    assert abs(np.log(study.best_params["lr"] / 0.001)) < abs(np.log(base.learning_rate / 0.001))
    page = write_page(study, tmp_path, "<trunk>").read_text()
    assert "&lt;trunk&gt;" in page
    assert "given up early" in page
    assert "http" not in page
    with pytest.raises(UsageError, match="other settings"):
        open_study(tmp_path, config, "b")


def test_importance_names_the_parameter_that_counts(tiny_settings):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda trial: np.log(suggest(trial, 0.1, [8, 16])["lr"]) ** 2, n_trials=3)
    assert importances(study) == {}
    study.optimize(lambda trial: np.log(suggest(trial, 0.1, [8, 16])["lr"]) ** 2, n_trials=20)
    shares = importances(study)
    assert set(shares) == {"lr", "gamma", "augment", "batch"}
    assert shares["lr"] > 0.5


def test_a_recipe_that_a_killed_call_was_at_is_tried_again(tiny_settings, scored, network, tmp_path):
    config = TuneConfig(trials=2)
    study = open_study(tmp_path, config, "a")
    study.enqueue_trial({"lr": 0.0033, "gamma": 0.02, "augment": 0.25, "batch": 8})
    base = tiny_settings()
    suggest(study.ask(), gamma_middle(base), usable_batches(base, 16))
    search(open_study(tmp_path, config, "a"), base, pictures(24), network, config, CPU)
    assert scored[0].learning_rate == pytest.approx(0.0033)
    assert len(scored) == 2


def test_what_is_no_study(tmp_path):
    (tmp_path / "study.db").write_text("hello " * 100)
    with pytest.raises(CheckpointError, match="as an Optuna study"):
        open_study(tmp_path, TuneConfig(), "a")


@pytest.mark.parametrize(
    "content",
    [
        ["CREATE TABLE letters (words)"],
        ["CREATE TABLE studies (study_name)", "CREATE TABLE letters (words)"],
        ["CREATE TABLE studies (study_name)", "INSERT INTO studies VALUES ('somebody else''s')"],
    ],
)
def test_a_database_of_somebody_else_is_left_alone(tmp_path, tuned, content):
    outdir = tmp_path / "t"
    outdir.mkdir()
    with closing(sqlite3.connect(outdir / "study.db")) as database, database:
        for statement in content:
            database.execute(statement)
    before = (outdir / "study.db").read_bytes()
    with pytest.raises(UsageError, match="not of a search"):
        open_study(outdir, TuneConfig(), "a")
    done, tried, _ = tuned("--resolution", "16")
    assert done.exit_code == 2
    assert tried == []
    assert [path.name for path in outdir.iterdir()] == ["study.db"]
    assert (outdir / "study.db").read_bytes() == before


@pytest.mark.parametrize("trials", [0, 1])
def test_trials_of_a_study_without_identity_are_not_taken_over(tmp_path, trials):
    study = optuna.create_study(storage=f"sqlite:///{tmp_path / 'study.db'}", study_name="recipes")
    for _ in range(trials):
        study.enqueue_trial({"x": 1})
    if trials:
        with pytest.raises(UsageError, match="other settings"):
            open_study(tmp_path, TuneConfig(), "a")
    else:  # as a killed call leaves it
        assert open_study(tmp_path, TuneConfig(), "a").user_attrs["identity"] == "a"


class TestRecipes:
    def test_train_takes_it_and_typed_options_win(self, tmp_path):
        write_recipe(tmp_path / "r.json", {"batch": 8, "lr": 0.001, "resolution": "16", "data": "digits"}, {})
        arguments = ["train", "--outdir", str(tmp_path / "x"), "--recipe", str(tmp_path / "r.json"), "--lr", "0.004"]
        done = CliRunner().invoke(main, [*arguments, "--dry-run", "--device", "cpu"])
        assert done.exit_code == 0, done.output
        settings = json.loads(done.output)
        assert (settings["batch"], settings["learning_rate"], settings["data"]) == (8, 0.004, "digits")
        assert settings["generator"]["resolution"] == 16
        assert settings["flip"] is False  # the default of digits

    @pytest.mark.parametrize(
        ("text", "part"),
        [
            ("[]", "cannot be used"),
            ('{"format": "x", "options": {}}', "format"),
            ('{"format": "relatent-recipe-1", "options": {"outdir": "/"}}', "no option"),
            ('{"format": "relatent-recipe-1", "options": {"batch": "many"}}', "sets batch"),
            ('{"format": "relatent-recipe-1", "options": {"lr": -1}}', "sets lr"),
        ],
    )
    def test_what_is_none(self, tmp_path, text, part):
        (tmp_path / "r.json").write_text(text)
        with pytest.raises(UsageError, match=part):
            read_recipe(tmp_path / "r.json", train_command)


@pytest.fixture
def tuned(picture_folder, tmp_path, monkeypatch):
    """A function that calls tune with the trainings replaced by a score, best for the largest batch.

    Returns the call's result, the settings tried, and the folder.
    """
    from stylegan.tuning import search as module

    tried, outdir = [], tmp_path / "t"

    def cross_validate(settings, pictures, folds, network, *, report, **_):
        tried.append(settings)
        return [-settings.batch + fold for fold in range(3)]

    monkeypatch.setattr(module, "cross_validate", cross_validate)

    def call(*options):
        arguments = ["tune", "--data", str(picture_folder), "--outdir", str(outdir), "--trials", "3", "--device", "cpu"]
        return CliRunner().invoke(main, [*arguments, *options]), tried, outdir

    return call


def trained_with(recipe, tmp_path):
    """The settings that train takes from a recipe."""
    arguments = ["train", "--outdir", str(tmp_path / "run"), "--recipe", str(recipe), "--dry-run", "--device", "cpu"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_train_takes_what_was_measured_from_the_recipe(tuned, tmp_path):
    sizes = ["--resolution", "16", "--batch", "4", "--ema-kimg", "5", "--progressive", "--fade-kimg", "50"]
    done, tried, outdir = tuned(*sizes)
    assert done.exit_code == 0, done.output
    best = max(tried, key=lambda settings: settings.batch)
    assert best.batch > 4
    assert best.ema_kimg == 5 * best.batch / 4
    assert best.progressive.fade_kimg == 50
    assert trained_with(outdir / "recipe.json", tmp_path) == json.loads(best.to_json())


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [("--folds", "30", "too few for 30 folds"), ("--batch", "30", "more than the 26 pictures trained on")],
)
def test_a_call_that_is_refused_leaves_nothing(tuned, option, value, says):
    done, _, outdir = tuned("--resolution", "16", option, value)
    assert done.exit_code in (1, 2)
    assert says in done.output
    assert not outdir.exists()


def test_options_of_a_recipe_go_into_the_new_one(tuned, tmp_path):
    old = {"arch": "mlp", "resolution": "16", "data": "digits", "augment": 0.7, "z_dim": 9, "kimg": 7}
    write_recipe(tmp_path / "old.json", {**old, "img_channels": "3"}, {})
    done, tried, outdir = tuned("--recipe", str(tmp_path / "old.json"), "--z-dim", "10", "--batch", "8")
    assert done.exit_code == 0, done.output
    assert tried[0].arch == "mlp"
    best = max(tried, key=lambda settings: settings.batch)
    assert trained_with(outdir / "recipe.json", tmp_path) == json.loads(best.to_json())
    options = json.loads((outdir / "recipe.json").read_text())["options"]
    assert (options["z_dim"], options["kimg"]) == (10, 7)
    assert options["data"] == best.data != "digits"


def test_the_command(tmp_path):
    """Two folds, two recipes, trained for real; the recipe is one that train takes."""
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(24):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    sizes = ["--resolution", "8", "--z-dim", "8", "--w-dim", "8", "--mapping-layers", "1", "--channel-base", "32"]
    sizes += ["--batch", "4", "--no-flip"]
    arguments = ["tune", "--data", str(folder), "--outdir", str(tmp_path / "t"), "--trials", "2", "--folds", "2"]
    arguments += ["--run-kimg", "0.008", "--checks", "1", "--score-samples", "4", "--device", "cpu", *sizes]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    recipe = json.loads((tmp_path / "t" / "recipe.json").read_text())
    assert recipe["options"]["resolution"] == "8"
    assert recipe["options"]["flip"] is False
    assert {"lr", "gamma", "augment", "batch"} <= recipe["options"].keys()
    assert len(recipe["found"]["folds"]) == 2
    assert (tmp_path / "t" / "index.html").is_file()
    read_recipe(tmp_path / "t" / "recipe.json", train_command)
    wrong = CliRunner().invoke(main, [*arguments, "--no-such-option"])
    assert wrong.exit_code == 2
    assert "no-such-option" in wrong.output
    assert CliRunner().invoke(main, [*arguments, "--kimg", "4"]).exit_code == 2

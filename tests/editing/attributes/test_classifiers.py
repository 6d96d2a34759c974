"""Classifiers learn from labelled pictures, say how well, read their own crop, and refuse what is not theirs."""

import csv
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from editing.attributes import classifiers, labelled
from editing.attributes import registry as attributes
from editing.attributes.classifiers import (
    NUM_FEATURES,
    SIDE,
    BackboneFeatures,
    Classifier,
    backbone_features,
    train_classifier,
)
from editing.attributes.labelled import from_folders, from_table
from editing.attributes.registry import find_attributes, imported_score, known_attributes
from relatent.core.alignment import Alignment
from relatent.core.errors import CheckpointError, DatasetError, ShapeError, UsageError
from relatent.core.images import encode_png, read_photo, square
from relatent.face import Face

CROP = Alignment(0.62, 0.08)
ROOT = Path(__file__).parents[3]
LABELS = ROOT / "training" / "labels" / "faces.csv"
FACES = ROOT.parent / "shared" / "faces" / "fairface-128.zip"


def picture(level, seed):
    """64 px of noise with a disc, lighter by ``level``."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(110, 20, (SIDE, SIDE, 3))
    rows, columns = np.ogrid[:SIDE, :SIDE]
    pixels[(rows - 32) ** 2 + (columns - 32) ** 2 < 300] += level
    return pixels.clip(0, 255).astype(np.uint8)


def write(folder, level, count, seed=0):
    folder.mkdir(parents=True)
    for index in range(count):
        Image.fromarray(picture(level, seed + index)).save(folder / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def two_kinds():
    """Features and labels of pictures with a light or a dark disc."""
    crops = [picture(60 if index % 2 else -60, index) for index in range(80)]
    return backbone_features(crops), np.arange(80) % 2


@pytest.fixture(scope="module")
def trained(two_kinds):
    return train_classifier("disc", "a lighter disc", *two_kinds, CROP)


def test_two_kinds_are_told_apart(trained):
    assert trained.facts["held_out_accuracy"] >= 0.9
    assert trained.facts["pictures"] == 64
    scores = trained.score(backbone_features([picture(60, 900), picture(-60, 901)]))
    assert scores[1] < 0 < scores[0]


def test_numbers_are_predicted_in_their_own_unit():
    levels = np.linspace(-60, 60, 80)
    crops = [picture(level, index) for index, level in enumerate(levels)]
    found = train_classifier("level", "lighter", backbone_features(crops), levels, CROP)
    assert found.facts["held_out_correlation"] > 0.9
    assert found.facts["held_out_mean_error"] < 15


def test_a_classifier_survives_its_file(trained, tmp_path):
    trained.save(tmp_path / "disc.safetensors")
    again = Classifier.load(tmp_path / "disc.safetensors")
    assert np.array_equal(again.weight, trained.weight)
    assert (again.name, again.up, again.bias, again.alignment) == ("disc", "a lighter disc", trained.bias, CROP)
    assert again.facts == trained.facts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not a classifier"),
        ({"backbone": "0" * 12}, "another perceptual backbone"),
        ({"facts": "[1]"}, "damaged"),
        ({"bias": "much"}, "damaged"),
        ({"alignment": '{"scale": 0}'}, "Alignment"),
    ],
)
def test_files_that_do_not_fit_are_refused(trained, tmp_path, change, message):
    path = tmp_path / "disc.safetensors"
    trained.save(path)
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = {**file.metadata(), **change}
        save_file({"weight": file.get_tensor("weight")}, path, metadata=metadata)
    with pytest.raises(CheckpointError, match=message):
        Classifier.load(path)


def test_a_weight_of_another_length_is_refused(tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "x.safetensors", metadata={"format": classifiers.FORMAT})
    with pytest.raises(CheckpointError, match="not a classifier"):
        Classifier.load(tmp_path / "x.safetensors")


def test_the_known_crop_is_cut_out_of_a_wider_one():
    """Half the side of FFHQ's crop, an eighth further down: rows 48 to 111 and columns 32 to 95 of 128."""
    wide = np.random.default_rng(0).integers(0, 256, (1, 128, 128, 3), np.uint8)
    found = BackboneFeatures(Alignment(), Alignment(0.5, 0.125))(wide)
    assert np.allclose(found, backbone_features([wide[0, 48:112, 32:96]]), atol=1e-4)
    same = BackboneFeatures(CROP, CROP)(wide[:, :SIDE, :SIDE])
    assert np.allclose(same, backbone_features([wide[0, :SIDE, :SIDE]]), atol=1e-4)


def test_a_tighter_crop_cannot_be_read():
    with pytest.raises(UsageError, match="own crop"):
        BackboneFeatures(Alignment(0.4, 0.08), CROP)


def test_features_are_made_once_a_batch(monkeypatch):
    asked = []
    monkeypatch.setattr(classifiers, "backbone_features", lambda crops: asked.append(len(crops)) or np.zeros((2, 1)))
    features, batch = BackboneFeatures(CROP, CROP), np.zeros((2, SIDE, SIDE, 3), np.uint8)
    features(batch), features(batch)
    assert asked == [2]


def test_too_few_pictures_and_other_shapes_are_refused(two_kinds):
    features, labels = two_kinds
    with pytest.raises(DatasetError, match="at least 20 of each"):
        train_classifier("few", "", features[:20], labels[:20], CROP)
    with pytest.raises(DatasetError, match="1 different values"):
        train_classifier("one", "", features, labels * 0, CROP)
    with pytest.raises(ShapeError):
        backbone_features([np.zeros((32, 32, 3), np.uint8)])


def test_two_folders_with_and_without(tmp_path):
    data = from_folders(write(tmp_path / "with", 60, 3), write(tmp_path / "without", -60, 2), CROP, align=False)
    assert data.values.tolist() == [1, 1, 1, 0, 0]
    assert data.crops[0].shape == (SIDE, SIDE, 3)
    assert "with" in data.up


def test_a_bad_picture_and_what_is_none_are_skipped_and_named(tmp_path):
    folder = write(tmp_path / "with", 60, 2)
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("mine")
    data = from_folders(folder, write(tmp_path / "without", -60, 2), CROP, align=False)
    assert len(data.crops) == 4
    assert "broken.png" in data.skipped[0]
    assert data.skipped[1:] == [f"{folder / 'notes.txt'} is no picture."]


def test_faces_are_found_and_cropped(tmp_path, monkeypatch):
    from drawn_landmarks import neutral_face

    answers = [[Face(neutral_face(), (0, 0, 1, 1), 1.0)], []]
    monkeypatch.setattr(labelled, "find_faces", lambda pixels: answers.pop(0))
    data = from_folders(write(tmp_path / "with", 60, 1), write(tmp_path / "without", -60, 1), CROP)
    assert [crop.shape for crop in data.crops] == [(SIDE, SIDE, 3)]
    assert "no face" in data.skipped[0]


def table(path, *lines):
    path.write_text("\n".join(("file,age,kind", *lines)) + "\n")
    return path


def test_a_table_of_labels_beside_a_zip_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for name in ("train/a.png", "train/b.png", "val/c.png"):
            archive.writestr(name, encode_png(picture(0, 1)))
    labels = table(tmp_path / "labels.csv", "train/b.png,20-29,x", "train/a.png,more than 70,y", "val/c.png,5,x")
    data = from_table(tmp_path / "faces.zip", labels, "age", CROP, align=False, folder="train")
    assert data.values.tolist() == [75, 24.5]  # in the order of the files
    words = from_table(tmp_path / "faces.zip", labels, "kind", CROP, align=False)
    assert words.values.tolist() == [1, 0, 0]
    assert words.up == "more y, less x"


def test_cells_without_an_answer_are_left_out(tmp_path):
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for name in "abcd":
            archive.writestr(f"{name}.png", encode_png(picture(0, 1)))
    labels = table(tmp_path / "labels.csv", "a.png,1,x", "b.png,?,?", "c.png,,x", "d.png,0, ?")
    data = from_table(tmp_path / "faces.zip", labels, "age", CROP, align=False)
    assert data.values.tolist() == [1, 0]
    with pytest.raises(DatasetError, match="1 different labels"):
        from_table(tmp_path / "faces.zip", labels, "kind", CROP, align=False)


def test_a_table_beside_a_folder_of_photos(tmp_path, monkeypatch):
    from drawn_landmarks import neutral_face

    monkeypatch.setattr(labelled, "find_faces", lambda pixels: [Face(neutral_face(), (0, 0, 1, 1), 1.0)])
    write(tmp_path / "photos", 0, 2)
    labels = table(tmp_path / "labels.csv", "0.png,3,x", "1.png,4,x", "gone.png,5,x")
    data = from_table(tmp_path / "photos", labels, "age", CROP)
    assert data.values.tolist() == [3, 4]
    assert "gone.png" in data.skipped[0]


@pytest.mark.parametrize(
    ("lines", "column", "message"),
    [
        (["0.png,1,x"], "hair", "its columns are: file, age, kind"),
        (["0.png,old,x", "1.png,young,x", "2.png,middle,x"], "age", "exactly two words"),
        (["0.png,1,x", "1.png,nan,x"], "age", "exactly two words|numbers"),
        (["other.png,1,x"], "age", "names none"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, lines, column, message):
    write(tmp_path / "photos", 0, 1)
    labels = table(tmp_path / "labels.csv", *lines)
    with pytest.raises(DatasetError, match=message):
        from_table(tmp_path / "photos", labels, column, CROP, align=False)


def test_labels_that_are_no_text_and_zip_files_to_be_aligned_are_refused(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="UTF-8"):
        from_table(tmp_path, tmp_path / "labels.csv", "age", CROP)
    with pytest.raises(DatasetError, match="cannot be read"):
        from_table(tmp_path, tmp_path / "none.csv", "age", CROP)
    with pytest.raises(UsageError, match="--no-align"):
        from_table(tmp_path / "faces.zip", tmp_path / "labels.csv", "age", CROP)
    with pytest.raises(DatasetError, match="not a folder with pictures"):
        from_folders(tmp_path / "none", tmp_path / "none", CROP)


def test_the_known_attributes_have_scores_for_every_crop_that_shows_them(tmp_path, monkeypatch, trained):
    monkeypatch.setattr(attributes, "classifier_folder", lambda: tmp_path)
    trained.save(tmp_path / "disc.safetensors")
    known = known_attributes(CROP)
    assert {"smile", "mouth_open", "eyes_open", "yaw", "pitch", "skin_tone", "warm_light", "disc"} <= set(known)
    batch = np.stack([picture(60, 900), picture(-60, 901)])
    assert known["disc"].score(batch)[0] > known["disc"].score(batch)[1]
    assert "disc" not in known_attributes(Alignment(0.3, 0))
    assert [one.name for one in find_attributes(["Mouth-Open"], known)] == ["mouth_open"]


def test_the_classifiers_that_ship_fit_the_backbone_that_ships():
    known = known_attributes(CROP)
    assert {"age", "gender", "glasses", "beard", "fringe"} <= set(known)
    assert known["glasses"].up == "glasses"


def test_the_backbone_is_the_same_whatever_the_default_dtype_is(set_default_dtype):
    """Even in a process that had another when it first asked for it."""
    kept = classifiers._digest, classifiers._backbone
    crop = picture(60, 0)
    usual = classifiers.backbone_digest(), backbone_features([crop])
    for one in kept:
        one.cache_clear()
    set_default_dtype(torch.float64)
    try:
        assert classifiers.backbone_digest() == usual[0]
        assert classifiers._backbone().shift.dtype == torch.float32
        set_default_dtype(torch.float32)
        assert np.array_equal(backbone_features([crop]), usual[1])
    finally:
        for one in kept:
            one.cache_clear()


@pytest.mark.parametrize("column", ["glasses", "beard", "fringe"])
def test_the_labels_that_ship(column):
    """Every row names a training picture once and answers; each kind has enough pictures to hold some out."""
    with LABELS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["file"] for row in rows}) == len(rows) == 720
    assert all(re.fullmatch(r"train/\d{5}\.webp", row["file"]) for row in rows)
    assert {row["drawn"] for row in rows} == {"random", "ranked"}
    answers = [row[column] for row in rows]
    assert set(answers) <= {"0", "1", "?"}
    assert min(answers.count("0"), answers.count("1")) > 100


@pytest.mark.skipif(not FACES.exists(), reason="needs the training faces")
@pytest.mark.parametrize(("column", "least"), [("glasses", 0.9), ("beard", 0.85), ("fringe", 0.85)])
def test_the_classifiers_that_ship_agree_with_their_labels(column, least):
    with LABELS.open(newline="") as file:
        labels = {row["file"]: row[column] for row in csv.DictReader(file) if row[column] != "?"}
    wanted = [*(n for n in labels if labels[n] == "1")][:40] + [*(n for n in labels if labels[n] == "0")][:40]
    with zipfile.ZipFile(FACES) as archive:
        pictures = np.stack([square(read_photo(archive.read(name), name).pixels, 64) for name in wanted])
    scores = known_attributes(CROP)[column].score(pictures)
    assert ((scores > 0) == [labels[name] == "1" for name in wanted]).mean() >= least


def test_what_has_no_score_is_named_and_the_message_says_what_to_do():
    with pytest.raises(UsageError, match="two folders of pictures"):
        find_attributes(["hat"], known_attributes(CROP))


def test_a_function_by_its_import_path(tmp_path, monkeypatch):
    (tmp_path / "own_scores_e2.py").write_text(
        "import numpy as np\n"
        "def red(pictures):\n    return pictures[..., 0].mean(axis=(1, 2))\n"
        "def broken(pictures):\n    raise KeyError('eyes')\n"
        "def one(pictures):\n    return 3.0\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [])
    batch = np.full((2, 8, 8, 3), 7, np.uint8)
    assert imported_score("own_scores_e2:red")(batch).tolist() == [7, 7]
    with pytest.raises(UsageError, match="failed: KeyError"):
        imported_score("own_scores_e2:broken")(batch)
    with pytest.raises(UsageError, match="one number each"):
        imported_score("own_scores_e2:one")(batch)
    for path, message in [("x", "module:function"), ("own_scores_e2:none", "no function"), ("none_e2:f", "imported")]:
        with pytest.raises(UsageError, match=message):
            imported_score(path)


def test_the_number_of_features_is_what_the_backbone_gives(two_kinds):
    assert two_kinds[0].shape == (80, NUM_FEATURES)

import io
import json
import os
import struct
import zlib
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from inversion.batch import inverter, run
from inversion.batch.run import BatchOptions, project_photos
from inversion.inversion import Inversion
from inversion.pipeline import Pipeline
from inversion.project import demo_photo, main
from relatent.core.errors import UsageError
from relatent.core.images import to_pixels
from stylegan import load
from stylegan.formats.checkpoint import read_safetensors

FILES = {"target.png", "proj.png", "projected_w.npz", "inversion.safetensors", "report.json"}
KEYS = {
    "network", "preset", "seed", "settings", "seconds", "lpips", "lpips_trunk", "psnr", "ms_ssim",
    "identity_distance", "versions",
}  # fmt: skip
STAGES = {"total", "load", "align", "encode", "optimise", "tune", "measure", "write"}


@pytest.fixture
def project(tiny_file, tmp_path, few_steps):
    """Runs the command with the tiny network into tmp_path/out."""

    def command(*arguments, network=tiny_file, outdir=tmp_path / "out"):
        return CliRunner().invoke(main, [*map(str, arguments), "--network", str(network), "--outdir", str(outdir)])

    return command


@pytest.fixture
def astronaut(tmp_path):
    photo = tmp_path / "photos" / "me.png"
    photo.parent.mkdir()
    photo.write_bytes(demo_photo().read_bytes())
    return photo


def folders_in(outdir):
    return {path.name for path in outdir.iterdir() if path.is_dir()}


def one_line_error(result, *words):
    lines = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert "Traceback" not in result.output
    assert len(lines) == 1, result.stderr
    for word in words:
        assert word in lines[0]


def test_demo_writes_what_is_promised(project, tmp_path, tiny_file):
    result = project("--demo")
    assert result.exit_code == 0, result.output
    folder = tmp_path / "out" / "astronaut"
    assert str(folder) in result.output
    assert {path.name for path in folder.iterdir()} == FILES
    report = json.loads((folder / "report.json").read_text())
    assert set(report) >= KEYS
    assert set(report["seconds"]) == STAGES
    assert report["preset"] == "balanced"
    assert report["seed"] == 303
    assert report["seconds"]["encode"] == report["seconds"]["tune"] == 0
    assert report["seconds"]["optimise"] > 0
    stages = [value for stage, value in report["seconds"].items() if stage != "total"]
    assert report["seconds"]["total"] == pytest.approx(sum(stages), abs=0.01)
    target, drawn = (np.asarray(Image.open(folder / name)) for name in ("target.png", "proj.png"))
    assert target.shape == drawn.shape == (32, 32, 3)
    with np.load(folder / "projected_w.npz", allow_pickle=False) as file:
        w = file["w"]
    assert w.dtype == np.float32
    assert w.shape == (1, 8, 24)
    inversion = Inversion.load(folder)
    np.testing.assert_array_equal(w, inversion.ws.numpy())
    np.testing.assert_array_equal(to_pixels(inversion.tensor(load(tiny_file)))[0], drawn)
    assert inversion.photo == "astronaut.png"


def test_the_face_is_where_the_matrix_says(project, tmp_path):
    project("--demo")
    inversion = Inversion.load(tmp_path / "out" / "astronaut")
    x, y, _ = inversion.face_to_photo @ [15.5, 15.5, 1]
    assert 180 < x < 270  # the astronaut's face is left of the middle, in the upper part
    assert 60 < y < 170


def test_same_seed_same_files(project, tmp_path):
    project("--demo", outdir=tmp_path / "a")
    project("--demo", outdir=tmp_path / "b")
    project("--demo", "--seed", 7, outdir=tmp_path / "c")
    read = [(tmp_path / run / "astronaut" / "projected_w.npz").read_bytes() for run in "abc"]
    assert read[0] == read[1] != read[2]


def test_old_flags_and_both_spellings(project, tmp_path, astronaut):
    result = project("--target", astronaut, "--num_steps", 2, "--save_video", "--batch_size=1", "--no_align")
    assert result.exit_code == 0, result.output
    folder = tmp_path / "out" / "me"
    assert (folder / "proj.mp4").stat().st_size > 1000
    assert json.loads((folder / "report.json").read_text())["settings"]["optimiser"]["num_steps"] == 2
    square = np.asarray(Image.open(folder / "target.png")).astype(float)
    whole = np.asarray(Image.open(astronaut).convert("RGB").reduce(16)).astype(float)
    assert np.abs(square - whole).max() <= 1


def test_a_rerun_skips_what_is_done(project, tmp_path, astronaut):
    assert project(astronaut).exit_code == 0
    before = (tmp_path / "out" / "me" / "report.json").stat().st_mtime_ns
    result = project(astronaut)
    assert result.exit_code == 0
    assert "done before" in result.output
    assert (tmp_path / "out" / "me" / "report.json").stat().st_mtime_ns == before
    assert project(astronaut, "--overwrite").exit_code == 0
    assert (tmp_path / "out" / "me" / "report.json").stat().st_mtime_ns != before


def test_other_settings_are_not_mistaken_for_done(project, tmp_path, astronaut):
    project(astronaut)
    before = (tmp_path / "out" / "me" / "report.json").read_bytes()
    result = project(astronaut, "--seed", 1)
    assert result.exit_code == 1
    one_line_error(result, "another seed", "--overwrite")
    assert (tmp_path / "out" / "me" / "report.json").read_bytes() == before


def test_one_bad_photo_never_stops_or_shifts_the_others(project, tmp_path, astronaut):
    folder = astronaut.parent
    (folder / "bad.jpg").write_text("not a picture")
    (folder / "deeper").mkdir()
    mirrored = Image.open(astronaut).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mirrored.save(folder / "deeper" / "me.png")
    result = project(folder, tmp_path / "gone.jpg")
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 2
    assert {name for name in ("bad.jpg", "gone.jpg") if any(name in line for line in errors)} == {"bad.jpg", "gone.jpg"}
    assert folders_in(tmp_path / "out") == {"me", "me-2"}
    first, second = (np.asarray(Image.open(tmp_path / "out" / name / "target.png")) for name in ("me-2", "me"))
    assert np.abs(first[:, ::-1].astype(float) - second).mean() < 8
    names = {name: Inversion.load(tmp_path / "out" / name).face_to_photo for name in ("me", "me-2")}
    again = project(tmp_path / "gone.jpg", folder / "me.png", folder / "deeper" / "me.png")
    assert again.output.count("done before") == 2
    for name, matrix in names.items():
        np.testing.assert_array_equal(Inversion.load(tmp_path / "out" / name).face_to_photo, matrix)


def test_names_do_not_depend_on_what_else_is_asked(project, tmp_path, astronaut):
    other = astronaut.parent / "b" / "me.png"
    other.parent.mkdir()
    Image.open(astronaut).rotate(5).save(other)
    project(astronaut, other)
    result = project(other)
    assert "me-2: done before" in result.output
    assert folders_in(tmp_path / "out") == {"me", "me-2"}


def test_a_foreign_folder_is_left_alone(project, tmp_path, astronaut):
    (tmp_path / "out" / "me").mkdir(parents=True)
    (tmp_path / "out" / "me" / "diary.txt").write_text("mine")
    assert project(astronaut).exit_code == 0
    assert (tmp_path / "out" / "me" / "diary.txt").read_text() == "mine"
    assert (tmp_path / "out" / "me-2" / "proj.png").exists()


def test_several_faces(project, tmp_path, astronaut):
    face = Image.open(astronaut).convert("RGB")
    pair = Image.new("RGB", (1024, 600), "grey")
    pair.paste(face, (0, 0))
    pair.paste(face.resize((400, 400)), (600, 100))
    pair.save(astronaut.parent / "pair.png")
    assert project(astronaut.parent / "pair.png", "--face", "all").exit_code == 0
    assert folders_in(tmp_path / "out") == {"pair", "pair-face2"}
    large, small = (Inversion.load(tmp_path / "out" / name) for name in ("pair", "pair-face2"))
    assert np.linalg.det(large.face_to_photo) > np.linalg.det(small.face_to_photo)
    assert project(astronaut.parent / "pair.png", "--face", "all").output.count("done before") == 2
    result = project(astronaut.parent / "pair.png", "--face", 3, outdir=tmp_path / "third")
    assert result.exit_code == 1
    one_line_error(result, "pair.png", "2")
    assert project(astronaut.parent / "pair.png", "--face", 2, outdir=tmp_path / "second").exit_code == 0
    assert folders_in(tmp_path / "second") == {"pair-face2"}


def png_claiming(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def jpeg(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG")
    return buffer.getvalue()


BAD = {
    "missing": (None, "does not exist"),
    "empty": (b"", "empty"),
    "text": (b"this is not a picture at all", "not a picture"),
    "truncated": (jpeg(Image.effect_noise((300, 300), 80).convert("RGB"))[:2000], "cut short"),
    "one-pixel": (jpeg(Image.new("RGB", (1, 1))), "1 x 1"),
    "bomb": (png_claiming(40_000, 40_000), "too many pixels"),
    "no-face": (jpeg(Image.effect_noise((300, 200), 40).convert("RGB")), "no face"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_photos_get_one_line(project, tmp_path, case):
    content, words = BAD[case]
    photo = tmp_path / f"{case}.jpg"
    if content is not None:
        photo.write_bytes(content)
    result = project(photo)
    assert result.exit_code == 1
    one_line_error(result, photo.name, words)
    assert folders_in(tmp_path / "out") == set()


def test_a_folder_without_pictures(project, tmp_path):
    (tmp_path / "empty").mkdir()
    result = project(tmp_path / "empty")
    assert result.exit_code == 1
    one_line_error(result, "holds no pictures")


def test_usage_errors_exit_2(project, tmp_path, astronaut):
    assert project().exit_code == 2
    assert project(astronaut, "--preset", "quick").exit_code == 2
    assert project(astronaut, "--num-steps", 0).exit_code == 2
    result = project(astronaut, "--face", "left")
    assert result.exit_code == 2
    one_line_error(result, "largest, all, or a number")
    result = project(astronaut, "--device", "tpu9")
    assert result.exit_code == 2
    one_line_error(result, "tpu9", "cpu")
    result = project(astronaut, network="faces-129")
    assert result.exit_code == 2
    one_line_error(result, "faces-129", "did you mean faces-128")
    for args in (["--preset", "fast"], ["--preset", "fast", "--dry-run"]):
        result = project(astronaut, *args)
        assert result.exit_code == 2
        one_line_error(result, "needs an encoder", "Use the preset balanced")
    result = project(astronaut, "--preset", "fast", "--num-steps", 5)
    assert result.exit_code == 2
    one_line_error(result, "fast does not optimise", "no num_steps")
    assert not (tmp_path / "out").exists()


def test_an_outdir_that_cannot_be_written(project, tmp_path, astronaut):
    (tmp_path / "file").write_text("in the way")
    result = project(astronaut, outdir=tmp_path / "file" / "out")
    assert result.exit_code == 1
    one_line_error(result, "cannot write", "file")


def test_a_full_disk(project, tmp_path, astronaut, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    result = project(astronaut)
    assert result.exit_code == 1
    one_line_error(result, "disk is full")
    assert folders_in(tmp_path / "out") == set()


def test_a_network_with_nan(project, tiny_file, astronaut, tmp_path):
    from safetensors.torch import save_file

    tensors, metadata = read_safetensors(tiny_file)
    tensors["synthesis.blocks.4.const"][0, 0, 0] = float("nan")
    save_file(tensors, tmp_path / "nan.safetensors", metadata=metadata)
    result = project(astronaut, network=tmp_path / "nan.safetensors")
    assert result.exit_code == 1
    one_line_error(result, "nan.safetensors", "not finite")


@pytest.mark.slow
def test_odd_but_good_pictures(project, tmp_path, astronaut):
    face = Image.open(astronaut).convert("RGB")
    folder = tmp_path / "odd"
    folder.mkdir()
    grey16 = (np.asarray(face.convert("L")).astype(np.uint16)) * 257
    Image.fromarray(grey16).save(folder / "sixteen.png")
    face.quantize(64).save(folder / "palette.png")
    face.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    alpha = face.copy()
    alpha.putalpha(200)
    alpha.save(folder / "alpha.png")
    face.convert("L").save(folder / "grey.jpg")
    face.save(folder / "animated.gif", save_all=True, append_images=[Image.new("RGB", face.size)])
    turned = face.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(folder / "turned.jpg", exif=exif, quality=95)
    result = project(folder, astronaut)
    assert result.exit_code == 0, result.output
    assert "first" in result.stderr
    reference = np.asarray(Image.open(tmp_path / "out" / "me" / "target.png")).astype(float)
    for name in ("sixteen", "palette", "cmyk", "alpha", "grey", "animated", "turned"):
        target = np.asarray(Image.open(tmp_path / "out" / name / "target.png")).astype(float)
        difference = np.abs(target.mean(axis=2) - reference.mean(axis=2)).mean()
        assert difference < (60 if name == "alpha" else 12), (name, difference)


def test_dry_run_prints_settings_and_writes_nothing(project, tmp_path, astronaut):
    result = project(astronaut, "--dry-run", "--space", "w")
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    assert shown["settings"]["optimiser"]["space"] == "w"
    assert shown["photos"] == [str(astronaut)]
    assert not (tmp_path / "out").exists()


def test_help_names_every_promised_option():
    text = CliRunner().invoke(main, ["--help"]).output
    for flag in (
        "--demo", "--network", "--outdir", "--space", "--preset", "--num-steps", "--batch-size", "--seed", "--lpips",
        "--device", "--precision", "--save-video", "--no-align", "--face", "--overwrite", "--dry-run", "--target",
        "--workers", "--ray", "--ray-photos", "--retry-failed",
    ):  # fmt: skip
        assert flag in text


@pytest.mark.slow
def test_batches_give_what_single_photos_give(tiny_file, tmp_path, few_steps):
    photos = [tmp_path / f"{name}.png" for name in "abc"]
    for angle, photo in enumerate(photos):
        Image.open(demo_photo()).rotate(angle * 4).save(photo)
    network = load(tiny_file)
    for size in (1, 3):
        outcomes = list(project_photos(photos, tmp_path / str(size), network, options=BatchOptions(batch_size=size)))
        assert [outcome.status for outcome in outcomes] == ["done"] * 3
        assert [outcome.photo for outcome in outcomes] == photos
    for name in "abc":
        one, many = (Inversion.load(tmp_path / size / name) for size in "13")
        np.testing.assert_array_equal(one.face_to_photo, many.face_to_photo)
        torch.testing.assert_close(one.ws, many.ws, rtol=0, atol=0.02)


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
def test_an_interrupt_leaves_nothing_behind(project, tmp_path, astronaut, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("inversion.pipeline.measure", interrupt)
    result = project(astronaut)
    assert result.exit_code == 130
    assert folders_in(tmp_path / "out") == set()


def test_precision_is_recorded_and_checked_first(project, tmp_path, astronaut):
    assert project(astronaut, "--precision", "bfloat16").exit_code == 0
    report = json.loads((tmp_path / "out" / "me" / "report.json").read_text())
    assert report["settings"]["precision"] == "bfloat16"
    assert "another settings" in project(astronaut).stderr
    for more in ([], ["--dry-run"]):
        result = project(astronaut, "--precision", "tf32", "--device", "cpu", *more)
        assert result.exit_code == 2
        one_line_error(result, "tf32", "Ampere")


@pytest.mark.parametrize(("flags", "found"), [("avx2 amx_bf16", "bfloat16"), ("avx2", "float32")])
def test_auto_records_what_it_was(project, tmp_path, astronaut, monkeypatch, flags, found):
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    monkeypatch.setattr("relatent.core.precision.PROCESSOR", tmp_path / "cpuinfo")
    assert project(astronaut, "--precision", "auto", "--device", "cpu").exit_code == 0
    report = json.loads((tmp_path / "out" / "me" / "report.json").read_text())
    assert report["settings"]["precision"] == found
    assert "done before" in project(astronaut, "--precision", found, "--device", "cpu").stdout  # nothing else is meant


def test_a_face_is_drawn_once_for_measuring_and_writing(project, tmp_path, astronaut, monkeypatch):
    drawn = []
    original = Inversion.tensor
    monkeypatch.setattr(Inversion, "tensor", lambda self, network=None: drawn.append(1) or original(self, network))
    assert project(astronaut).exit_code == 0
    assert drawn == [1]


def test_a_folder_s_other_files_are_named(project, tmp_path, astronaut):
    for name in ("notes.txt", ".DS_Store"):
        (astronaut.parent / name).write_text("no picture")
    astronaut.rename(astronaut.with_name("me.HEIC"))  # as some exports name a JPEG or PNG
    result = project(astronaut.parent)
    assert result.exit_code == 0
    (note,) = [line for line in result.stderr.splitlines() if line.startswith("note:")]
    assert note == (
        f"note: 2 files are no pictures and were passed over: {astronaut.parent / '.DS_Store'}, "
        f"{astronaut.parent / 'notes.txt'}."
    )
    assert (tmp_path / "out" / "me" / "target.png").is_file()
    dry = json.loads(project(astronaut.parent, "--dry-run").stdout)
    assert len(dry["passed_over"]) == 2


def frames_of(path):
    """Every frame of a video, uint8 RGB [H, W, 3]."""
    video, frames = cv2.VideoCapture(str(path)), []
    while (found := video.read())[0]:
        frames.append(found[1][..., ::-1])
    video.release()
    return frames


def test_every_preset_writes_a_video(few_steps, astronaut, tmp_path):
    args = [str(astronaut), "--preset", "fast", "--outdir", str(tmp_path / "out")]
    assert CliRunner().invoke(main, args).exit_code == 0
    folder = tmp_path / "out" / "me"
    assert not (folder / "proj.mp4").exists()
    result = CliRunner().invoke(main, [*args, "--save-video"])
    assert "done before, without a video; --overwrite does it again and writes one" in result.stdout
    result = CliRunner().invoke(main, [*args, "--save-video", "--overwrite"])
    assert result.exit_code == 0, result.output
    frames = frames_of(folder / "proj.mp4")
    assert len(frames) == 5  # four steps, and what was kept
    kept = np.asarray(Image.open(folder / "proj.png").convert("RGB")).astype(int)
    step = 256 // len(kept)  # small pictures are enlarged to 256 px, and stand on the right
    side = slice(step // 2, step * len(kept), step)
    shown = [frame[:, 256:][side, side].astype(int) for frame in frames]
    assert np.abs(shown[-1] - kept).mean() < 12  # a video's colours have half the resolution
    assert np.abs(shown[-1] - kept).mean() < np.abs(shown[0] - kept).mean()
    assert "done before; --overwrite does it again" in CliRunner().invoke(main, [*args, "--save-video"]).stdout


def test_where_nothing_steps_the_video_shows_the_result_and_says_so(project, astronaut, tmp_path, monkeypatch):
    class WithoutSteps(Pipeline):
        """As one that has an encoder alone."""

        def invert(self, faces, progress=None, *, fill=1):
            return super().invert(faces)

    monkeypatch.setattr(run, "Pipeline", WithoutSteps)
    result = project(astronaut, "--save-video")
    assert result.exit_code == 0
    assert f"note: {inverter.NO_STEPS}" in result.stderr
    assert len(frames_of(tmp_path / "out" / "me" / "proj.mp4")) == 1


def test_a_video_without_ffmpeg_is_refused_before_the_work(project, astronaut, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "require_video_name", refuse := Mock(side_effect=UsageError("no ffmpeg")))
    result = project(astronaut, "--save-video")
    assert result.exit_code == 2
    assert refuse.called
    assert not (tmp_path / "out").exists()

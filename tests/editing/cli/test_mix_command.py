import json

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from invented import invented
from PIL import Image

from editing.cli.mix import mix_command, morph_command
from editing.interpolation import morph
from editing.mixing import mix
from editing.seeds import seed_inversion
from inversion import Inversion
from relatent.core.images import to_pixels
from relatent.face.crop import pack_crop, unpack_crop
from stylegan import save_generator


@pytest.fixture
def network_file(tiny_generator, tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_generator(tiny_generator, path)
    tiny_generator.file = str(path)
    return path


@pytest.fixture
def faces(tiny_generator, network_file, tmp_path):
    """Three inversions as `inversion.project` leaves them: out/me, out/you, out/her."""
    found = {}
    for seed, name in enumerate(("me", "you", "her")):
        found[name] = invented(tiny_generator, seed).replace(photo=f"{name}.jpg")
        found[name].save(tmp_path / "out" / name / "inversion.safetensors")
        (tmp_path / "out" / name / "report.json").write_text(json.dumps({"preset": "balanced", "photo": {}}))
    return found


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(command, *arguments):
        return CliRunner().invoke(command, [str(argument) for argument in arguments])

    return run


def pixels(path):
    return np.asarray(Image.open(path))


def drawn(inversion, network):
    return to_pixels(inversion.tensor(network))[0]


def test_mix_writes_what_mix_makes(run, faces, tiny_generator, tmp_path):
    result = run(mix_command, "out/me", "out/you", "--layers", "middle", "--strength", 0.5, "--outdir", "mixed")
    assert result.exit_code == 0, result.output
    expected = mix(faces["me"], faces["you"], "middle", 0.5)
    folder = tmp_path / "mixed" / "me"
    np.testing.assert_array_equal(pixels(folder / "edited.png"), drawn(expected, tiny_generator))
    saved = Inversion.load(folder / "edited.safetensors")
    assert torch.equal(saved.ws, expected.ws)
    assert saved.edits == {"mix:you:3-7": 0.5}
    report = json.loads((folder / "report.json").read_text())["mix"]
    assert report["layers"] == ["3-7"]
    assert report["strengths"] == [0.5]
    assert [path.rpartition("out/")[2] for path in report["faces"]] == [
        f"{name}/inversion.safetensors" for name in ("me", "you")
    ]
    assert str(folder).endswith(result.stdout.strip())
    assert "me.jpg that me was made from was not found" in result.stderr


def test_beside_the_inversion_its_own_report_stays(run, faces, tmp_path):
    assert run(mix_command, "out/me", "out/you").exit_code == 0
    report = json.loads((tmp_path / "out" / "me" / "report.json").read_text())
    assert report["preset"] == "balanced"
    assert report["mix"]["layers"] == ["0-2"]


def test_into_the_photo(run, faces, tmp_path):
    photo = np.full((80, 80, 3), 128, np.uint8)
    Image.fromarray(photo).save(tmp_path / "me.png")
    result = run(mix_command, "out/me", "out/you", "--layers", "all", "--photo", "me.png", "--blend", "difference")
    assert result.exit_code == 0, result.output
    pasted = pixels(tmp_path / "out" / "me" / "pasted.png")
    assert pasted.shape == photo.shape
    assert (pasted[5:60, :60] != 128).any()
    assert (pasted[72:] == 128).all()  # face_to_photo ends at 69


def test_grids_and_morphs_at_the_photo_s_resolution(run, faces, tiny_generator, tmp_path):
    """Two photos' faces of 64 px; the network draws 32."""
    y, x = np.mgrid[:90, :90]
    for name, slope in (("me", 1), ("you", -1)):
        picture = np.stack([120 + slope * (x - 45), y + 60, 200 - x], axis=-1).clip(0, 255).astype(np.uint8)
        crop = pack_crop(picture, faces[name].face_to_photo, 32)
        faces[name].replace(crop=crop).save(tmp_path / "out" / name / "inversion.safetensors")
    assert run(mix_command, "--rows", "out/me", "--cols", "out/you,7", "--outdir", "grid").exit_code == 0
    sheet = pixels(tmp_path / "grid" / "grid.png").astype(int)
    assert sheet.shape == (2 * 64, 3 * 64, 3)
    crop = unpack_crop(Inversion.load(tmp_path / "out" / "me").crop)
    assert np.abs(sheet[64:, :64] - crop).max() <= 3  # unchanged
    assert np.abs(sheet[64:, 64:128] - crop).max() > 20
    assert run(mix_command, "--rows", "out/me", "--cols", "7", "--outdir", "small", "--at=network").exit_code == 0
    assert pixels(tmp_path / "small" / "grid.png").shape == (64, 64, 3)
    assert run(mix_command, "out/me", "out/you", "--outdir", "mixed").exit_code == 0
    assert pixels(tmp_path / "mixed" / "me" / "edited.png").shape == (64, 64, 3)
    assert pixels(tmp_path / "mixed" / "me" / "drawn.png").shape == (32, 32, 3)
    for other, at, side in (
        ("mixed/me/edited.safetensors", "photo", 64),
        ("mixed/me/edited.safetensors", "network", 256),
        ("out/you", "photo", 256),  # different photos have no pixels in common
    ):
        result = run(morph_command, "out/me", other, "--frames=3", "--out=a.gif", f"--at={at}")
        assert result.exit_code == 0, result.output
        with Image.open(tmp_path / "a.gif") as video:
            assert video.size == (side, side)


def test_several_faces_and_seeds(run, faces, tiny_generator, tmp_path):
    result = run(
        mix_command, *("out/me", "out/you", "7", "--layers", "coarse", "--layers", "5-7", "--strength", 1),
        *("--strength", 0.3, "--trunc", 0.5, "--outdir", "mixed"),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    expected = mix(faces["me"], [faces["you"], seed_inversion(tiny_generator, 7, 0.5)], ["coarse", "5-7"], [1, 0.3])
    assert torch.equal(Inversion.load(tmp_path / "mixed" / "me" / "edited.safetensors").ws, expected.ws)


def test_a_seed_may_be_the_one_that_changes(run, faces, network_file, tmp_path):
    assert run(mix_command, "7", "out/you", "--outdir", "mixed", "--noise-mode", "none").exit_code == 0
    mixed = Inversion.load(tmp_path / "mixed" / "7" / "edited.safetensors")
    assert torch.equal(mixed.ws[:, :3], faces["you"].ws[:, :3])
    assert not any(level.any() for level in mixed.noise)


def test_the_old_tool_s_grid(run, network_file, tiny_generator, tmp_path):
    result = run(
        mix_command, f"--network={network_file}", "--rows=85,100", "--cols=1,2-3", "--styles=0-4", "--trunc=0.7",
        "--noise_mode=const", "--outdir=grid",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    sheet = pixels(tmp_path / "grid" / "grid.png")
    assert sheet.shape == (3 * 32, 4 * 32, 3)
    assert (sheet[:32, :32] == 255).all()
    seeds = {seed: seed_inversion(tiny_generator, seed, 0.7) for seed in (85, 100, 1, 2, 3)}
    for i, row in enumerate((85, 100), start=1):
        for j, col in enumerate((1, 2, 3), start=1):
            cell = pixels(tmp_path / "grid" / f"{row}-{col}.png")
            np.testing.assert_array_equal(cell, sheet[i * 32 : (i + 1) * 32, j * 32 : (j + 1) * 32])
            expected = drawn(mix(seeds[row], seeds[col], "0-4"), tiny_generator)
            assert np.abs(cell.astype(int) - expected).max() <= 1  # drawn in batches
    for name, top, left in (("85-85", 32, 0), ("2-2", 0, 64)):
        np.testing.assert_array_equal(
            pixels(tmp_path / "grid" / f"{name}.png"), sheet[top : top + 32, left : left + 32]
        )
    assert len(list((tmp_path / "grid").glob("*.png"))) == 2 * 3 + 5 + 1
    report = json.loads((tmp_path / "grid" / "report.json").read_text())["grid"]
    assert report["rows"] == ["seed 85", "seed 100"]
    assert report["layers"] == ["0-4"]
    assert b"compositeWithTrainedAlgorithmicMedia" in (tmp_path / "grid" / "grid.png").read_bytes()


def test_a_grid_of_photos_with_the_same_name(run, faces, tmp_path):
    faces["her"].save(tmp_path / "other" / "me" / "inversion.safetensors")
    result = run(mix_command, "--rows", "out/me,out/you", "--cols", "other/me", "--cols", "out/me", "--outdir", "grid")
    assert result.exit_code == 0, result.output
    names = {path.stem for path in (tmp_path / "grid").glob("*.png")}
    assert names == {"grid", "me-me", "you-you", "me-2-me-2", "me-me-2", "you-me-2", "you-me"}


def test_no_metadata(run, faces, tmp_path):
    for command, *arguments in (
        (mix_command, "--rows", "out/me", "--cols", "out/you", "--outdir", "grid"),
        (mix_command, "out/me", "out/you", "--outdir", "mixed"),
        (morph_command, "out/me", "out/you", "--frames=2", "--out=a.gif"),
    ):
        assert run(command, *arguments, "--no-metadata").exit_code == 0
    for name in ("grid/grid.png", "grid/me-you.png", "mixed/me/edited.png", "a.gif"):
        assert b"elatent" not in (tmp_path / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "match"),
    [
        ([], 2, "expected either faces"),
        (["out/me"], 2, "1 faces came"),
        (["out/me", "out/you", "--rows=1", "--cols=1"], 2, "expected either faces"),
        (["--rows=1"], 2, "expected either faces"),
        (["--rows=out/me", "--cols=1"], 2, "--outdir is missing"),
        (["7", "out/you"], 2, "--outdir is missing"),
        (["out/me", "out/nobody"], 1, "out/nobody"),
        (["out/me", "report.json"], 1, "report.json does not exist"),
        (["out/me", "out/you/report.json"], 1, "out/you/report.json is no face that can be read"),
        (["out/me", "9-7"], 2, "runs backwards"),
        (["out/me", "99999999999"], 2, "the seed is 99999999999"),
        (["out/me", "out/you", "--layers=fine"], 2, "no fine layers"),
        (["out/me", "out/you", "--layers=4-8"], 2, "layer 8 is not in this network"),
        (["out/me", "out/you", "--layers=corse"], 2, "did you mean coarse"),
        (["out/me", "out/you", "out/her"], 2, "1 choices of layers came for 2 inversions"),
        (["out/me", "out/you", "--strength=nan"], 2, "--strength is nan"),
        (["out/me", "out/you", "--strength=1e39"], 2, "the strength is 1e+39"),
        (["out/me", "9" * 20], 2, "at most 18 digits"),
        (["out/me", "85", "--trunc=1e39"], 2, "the truncation is 1e+39"),
        (["out/me", "out/you", "--network=faces-128"], 2, "belongs to the network tiny"),
        (["out/me", "out/foreign"], 2, "belongs to the network"),
        (["--rows=0-9999", "--cols=0-99", "--outdir=grid", "--network=tiny.safetensors"], 2, "Name fewer rows"),
        (["--rows=1", "--cols=1", "--layers=0", "--layers=1", "--outdir=grid"], 2, "once each"),
    ],
)
def test_wrong_requests_end_in_one_line(run, faces, tmp_path, arguments, code, match):
    foreign = faces["you"].replace(network="other@0123456789ab")
    foreign.save(tmp_path / "out" / "foreign" / "inversion.safetensors")
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    result = run(mix_command, *arguments)
    assert result.exit_code == code, result.output
    assert match in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before


def frames_of(path):
    video = cv2.VideoCapture(str(path))
    found = []
    while (read := video.read())[0]:
        found.append(read[1][..., ::-1].astype(float))
    return found


def is_in_order(frames, pictures):
    """Whether each frame is nearer to its own picture than to any other; codecs and palettes lose some of it."""
    distances = np.array([[np.abs(frame - picture).mean() for picture in pictures] for frame in frames])
    return list(distances.argmin(axis=1)) == list(range(len(pictures)))


def test_morph_writes_every_frame(run, faces, tiny_generator, tmp_path):
    result = run(morph_command, "out/me", "out/you", "--frames", 5, "--out", "me-you.mp4")
    assert result.exit_code == 0, result.output
    frames = frames_of(tmp_path / "me-you.mp4")
    assert [frame.shape for frame in frames] == [(256, 256, 3)] * 5
    path = morph([faces["me"], faces["you"]], tiny_generator)
    assert is_in_order(frames, [drawn(one, tiny_generator).repeat(8, 0).repeat(8, 1) for one in path.frames(5)])


def test_a_looped_gif(run, faces, tiny_generator, tmp_path):
    result = run(morph_command, "out", "--loop", "--frames=9", "--out=all.gif")
    assert result.exit_code == 0, result.output  # a folder of folders: her, me, you
    path = morph([faces[name] for name in ("her", "me", "you")], tiny_generator, loop=True)
    with Image.open(tmp_path / "all.gif") as file:
        assert (file.n_frames, file.size) == (9, (256, 256))
        frames = []
        for index in range(9):
            file.seek(index)
            frames.append(np.asarray(file.convert("RGB")).astype(float))
    assert is_in_order(frames, [drawn(one, tiny_generator).repeat(8, 0).repeat(8, 1) for one in path.frames(9)])


@pytest.mark.parametrize("name", ["a.gif", "a.mp4"])
def test_only_videos_of_ours_are_replaced(run, network_file, tmp_path, name):
    arguments = ["1-2", f"--network={network_file}", "--frames=2", f"--out={name}"]
    for _ in range(2):
        assert run(morph_command, *arguments).exit_code == 0
    (tmp_path / name).write_text("my holiday")
    result = run(morph_command, *arguments)
    assert result.exit_code == 2
    assert "does not say that Relatent made it" in result.stderr
    assert (tmp_path / name).read_text() == "my holiday"


def test_seeds_through_z(run, network_file, tmp_path):
    result = run(morph_command, "1-2", "--space=z", f"--network={network_file}", "--frames=3", "--out=z.gif")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "z.gif").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "match"),
    [
        (["out/me", "out/you", "--out=a.avi"], 2, "ends in .mp4 or .gif"),
        (["out/me", "out/you", "--out=a.gif", "--fps=60"], 2, "from 0.1 to 50"),
        (["out/me", "out/you", "--out=a.gif", "--fps=0.001"], 2, "from 0.1 to 50"),
        (["out/me", "--out=a.gif"], 2, "1 faces; expected at least two"),
        (["out/me", "out/foreign", "--out=a.gif"], 2, "belongs to the network"),
        (["out/me", "3", "--space=z", "--out=a.gif"], 2, "has no z"),
        (["out/me", "out/nobody", "--out=a.gif"], 1, "out/nobody"),
        (["out/me", "out/you", "--out=out/me/report.json/a.gif"], 1, "is a file, not a folder"),
    ],
)
def test_wrong_morphs_end_in_one_line(run, faces, tmp_path, arguments, code, match):
    faces["you"].replace(network="other@0123456789ab").save(tmp_path / "out" / "foreign" / "inversion.safetensors")
    result = run(morph_command, *arguments)
    assert result.exit_code == code, result.output
    assert match in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.output
    assert not list(tmp_path.glob("*.gif"))

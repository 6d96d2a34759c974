"""Photos go into networks of every readable kind, at each network's own size and alignment."""

import json
from pathlib import Path

import numpy as np
import psp_files
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from benchmarks.foreign import as_written, nvidia_network, rosinality_tensors, stylegan3_network, write_nvidia
from inversion import Inversion
from inversion.project import demo_photo, main
from relatent.core.alignment import Alignment
from relatent.face import align_face, find_faces
from stylegan import AliasFreeConfig, Generator, GeneratorConfig, load

FORMATS = Path(__file__).parents[2].parent / "shared" / "formats"


def network_of(z_dim=12, w_dim=12, resolution=16, c_dim=0, img_channels=3):
    sizes = {
        "img_channels": img_channels,
        "mapping_layers": 2,
        "channel_base": 64,
        "channel_max": 8,
        "conv_clamp": None,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = Generator(GeneratorConfig(resolution, z_dim, w_dim, c_dim, **sizes))
    generator.recompute_w_avg()
    return generator.eval().requires_grad_(False)


def nvidia(folder):
    return write_nvidia(folder / "tiny.pkl", G_ema=nvidia_network(network_of(z_dim=8)))


def nvidia_with_classes(folder):
    return write_nvidia(folder / "classes.pkl", G_ema=nvidia_network(network_of(z_dim=8, c_dim=3)))


def grey(folder):
    return write_nvidia(folder / "grey.pkl", G_ema=nvidia_network(network_of(z_dim=8, img_channels=1)))


def rosinality(folder):
    generator = network_of()
    torch.save({"g_ema": rosinality_tensors(generator), "latent_avg": generator.w_avg}, folder / "tiny.pt")
    return folder / "tiny.pt"


def stylegan3(rotation):
    def write(folder):
        config = AliasFreeConfig(
            resolution=16, z_dim=8, w_dim=12, mapping_layers=2, num_layers=4, channel_base=128, channel_max=8,
            conv_kernel=1 if rotation else 3, use_radial_filters=rotation,
        )  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            generator = Generator(config)
        generator.recompute_w_avg()
        return write_nvidia(folder / "smooth.pkl", G_ema=as_written(stylegan3_network(generator)))

    return write


def shared(name):
    def find(folder):
        if not (FORMATS / name).exists():
            pytest.skip("shared/formats is not here")
        return FORMATS / name

    return find


KINDS = {
    "NVIDIA": nvidia,
    "NVIDIA with classes": nvidia_with_classes,
    "a grey one": grey,
    "rosinality": rosinality,
    "StyleGAN3-T": stylegan3(rotation=False),
    "StyleGAN3-R": stylegan3(rotation=True),
    "a StyleGAN3-T made elsewhere": shared("nvidia-sg3t.pkl"),
}


def project(*arguments):
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind(kind, tmp_path, few_steps):
    path = KINDS[kind](tmp_path)
    result = project(demo_photo(), "--network", path, "--outdir", tmp_path / "out")
    assert result.exit_code == 0, result.output
    folder, network = tmp_path / "out" / "astronaut", load(path)
    target, drawn = (np.asarray(Image.open(folder / f"{name}.png")) for name in ("target", "proj"))
    assert target.shape == drawn.shape == (network.resolution, network.resolution, 3)
    photo = np.asarray(Image.open(demo_photo()).convert("RGB"))
    (face,) = find_faces(photo)
    assert np.array_equal(target, align_face(photo, face.landmarks, Alignment(), network.resolution).image)
    again = Inversion.load(folder)
    assert again.ws.shape == (1, network.num_ws, network.w_dim)
    difference = np.asarray(again.image()).astype(int) - drawn
    assert np.abs(difference).max() == 0
    assert json.loads((folder / "report.json").read_text())["network"].startswith(path.stem)


@pytest.fixture(scope="module")
def e4e(tmp_path_factory):
    """A checkpoint of e4e on a generator of 8 px with 4 layers of 512 dimensions, as its encoder gives them."""
    generator = network_of(resolution=8, z_dim=512, w_dim=512)
    decoder = {f"decoder.{name}": tensor for name, tensor in rosinality_tensors(generator).items()}
    encoder = psp_files.encoder_state(dtype=torch.float16)
    path = tmp_path_factory.mktemp("e4e") / "e4e.pt"
    torch.save({"state_dict": {**encoder, **decoder}, "latent_avg": generator.w_avg, "opts": psp_files.E4E}, path)
    return path


def test_an_e4e_file_is_network_and_encoder_at_once(e4e, tmp_path, few_steps):
    args = [demo_photo(), "--network", e4e, "--encoder", e4e, "--preset"]
    result = project(*args, "fast", "--outdir", tmp_path / "fast")
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "fast" / "astronaut" / "report.json").read_text())
    assert report["seconds"]["encode"] > 0
    assert report["seconds"]["optimise"] == 0
    result = project(*args, "balanced", "--num-steps", 1, "--outdir", tmp_path / "balanced")
    assert result.exit_code == 0, result.output
    fast, started = (Inversion.load(tmp_path / name / "astronaut").ws for name in ("fast", "balanced"))
    average = load(e4e).w_avg
    assert (started - fast).norm() < 0.2 * (started - average).norm()  # it started at the encoder's, not the average


def test_an_encoder_of_another_network_is_refused(e4e, tmp_path, few_steps):
    out = tmp_path / "out"
    result = project(demo_photo(), "--network", rosinality(tmp_path), "--encoder", e4e, "--outdir", out)
    assert result.exit_code == 2
    assert not out.exists()  # known before any photo is read
    assert "gives 4 latents of 512 dimensions" in result.stderr
    assert "Traceback" not in result.output

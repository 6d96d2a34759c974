import io
import pickle
import zipfile

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from invented import invented

from editing import Direction, edit
from editing.__main__ import main
from editing.directions.direction import find_direction
from editing.directions.imported import import_direction, read_channels
from relatent.core.errors import CheckpointError, UsageError
from stylegan import network_id, save_generator
from weights.reading import arrays
from weights.reading.arrays import read_npy

VECTOR = np.linspace(-1, 1, 24).astype(np.float32)
LAYERS = np.arange(8 * 24, dtype=np.float32).reshape(8, 24)


def header(shape, descr="<f4"):
    """The start of a .npy file that claims ``shape``."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("array", "expected", "space"),
    [
        (VECTOR, VECTOR, "w"),
        (VECTOR[None].astype(np.float64), VECTOR, "w"),  # InterFaceGAN
        (LAYERS, LAYERS, "w+"),
        (LAYERS[None], LAYERS, "w+"),
        (LAYERS.reshape(1, -1), LAYERS, "w+"),  # 1 x 9216 at full size
        (np.asfortranarray(LAYERS), LAYERS, "w+"),
        (VECTOR.astype(">f8"), VECTOR, "w"),
    ],
)
def test_numpy_vectors(tiny_generator, tmp_path, array, expected, space):
    np.save(tmp_path / "Age W-boundary.npy", array)
    direction = import_direction(tmp_path / "Age W-boundary.npy", tiny_generator)
    np.testing.assert_allclose(direction.vector.numpy(), expected, rtol=1e-6)
    assert direction.space == space
    assert direction.name == "age_w_boundary"
    assert direction.network == network_id(tiny_generator)
    assert direction.source.startswith("imported")
    assert "as published" in direction.unit
    assert "names no network" in direction.facts["warning"]
    me = invented(tiny_generator, 1)
    torch.testing.assert_close(edit(me, age_w_boundary=1, directions=[direction]).ws, direction.apply(me.ws, 1.0))


@pytest.mark.parametrize("shape", [(512,), (1, 512), (18, 512), (1, 9216), (18, 24), (1, 25), ()])
def test_another_size_is_explained(tiny_generator, tmp_path, shape):
    np.save(tmp_path / "age.npy", np.ones(shape, np.float32))
    with pytest.raises(UsageError, match=r"tiny has latents of 8 layers x 24.*own network.*directions learn"):
        import_direction(tmp_path / "age.npy", tiny_generator)


@pytest.mark.parametrize("name", ["w.npz", "rosinality.pt"])
def test_faces_are_known_by_the_names_of_their_entries(tiny_generator, tmp_path, name):
    latents = np.ones((1, 8, 24), np.float32) * 1000  # nothing like a face of this network
    if name == "w.npz":
        np.savez(tmp_path / name, w=latents)
    else:
        torch.save({"me.jpg": {"img": torch.zeros(2), "latent": torch.from_numpy(latents[0])}}, tmp_path / name)
    with pytest.raises(CheckpointError, match=r"holds .*(w|latent).*it holds faces: edit with python -m editing edit"):
        import_direction(tmp_path / name, tiny_generator)


@pytest.mark.parametrize("suffix", ["npz", "npy", "pt", "txt"])
def test_a_file_given_as_a_direction_is_not_called_damaged(tiny_generator, tmp_path, suffix):
    path = tmp_path / f"age.{suffix}"
    save = {"npz": lambda: np.savez(path, w=VECTOR), "npy": lambda: np.save(path, VECTOR)}
    save |= {"pt": lambda: torch.save(torch.from_numpy(VECTOR), path), "txt": lambda: path.write_text("9_41")}
    save[suffix]()
    with pytest.raises(CheckpointError, match=r"directions import\. A face's latents are no direction: .*editing edit"):
        find_direction(path, tiny_generator)


class Harmful:
    def __reduce__(self):
        return (exec, ("import pathlib; pathlib.Path('harmed').touch()",))


def test_objects_are_never_unpickled(tiny_generator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    harmful = np.empty(1, object)
    harmful[0] = Harmful()
    np.save("boundary.npy", harmful, allow_pickle=True)
    np.savez("all.npz", lat_comp=harmful, lat_stdev=np.ones(3), allow_pickle=True)
    with pytest.raises(CheckpointError, match=r"Python objects.*never loaded"):
        import_direction("boundary.npy", tiny_generator)
    with pytest.raises(CheckpointError, match="Python objects"):
        import_direction("all.npz", tiny_generator, component=0)
    (tmp_path / "plain.npy").write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(CheckpointError, match="not a readable"):
        import_direction("plain.npy", tiny_generator)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        header((24,)) + b"\0" * 95,
        header((24,)) + b"\0" * 97,
        header((10**12,)) + b"\0" * 96,
        header((2**40, 2**40)) + b"\0" * 96,
        header((-24,)) + b"\0" * 96,
        header((24,), "<U1") + b"\0" * 96,
        header((24,), "<c8") + b"\0" * 192,
        header((24,)).replace(b"{", b"["),
        b"\x93NUMPY\x09\x00" + header((24,))[8:] + b"\0" * 96,
    ],
)
def test_damaged_arrays(tmp_path, data):
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(CheckpointError):
        read_npy(tmp_path / "a.npy")


def test_values_that_are_not_finite(tiny_generator, tmp_path):
    np.save(tmp_path / "a.npy", np.full(24, np.nan))
    with pytest.raises(ValueError, match="not finite"):
        import_direction(tmp_path / "a.npy", tiny_generator)


def test_ganspace(tiny_generator, tmp_path):
    components, deviations = np.random.default_rng(0).normal(size=(5, 1, 24)), np.arange(1.0, 6)
    np.savez(tmp_path / "a.npz", lat_comp=components, lat_stdev=deviations, lat_mean=np.zeros((1, 24)))
    direction = import_direction(tmp_path / "a.npz", tiny_generator, component=3, name="light", layers=(2, 1))
    np.testing.assert_allclose(direction.vector.numpy(), 4 * components[3, 0], rtol=1e-5)
    assert direction.name == "light"
    assert direction.layers == (1, 2)
    assert direction.space == "w+"
    assert "deviation" in direction.unit
    for component, came in ((None, "none was chosen"), (5, "5 was chosen")):
        with pytest.raises(UsageError, match=f"{came}; expected --component 0 to 4"):
            import_direction(tmp_path / "a.npz", tiny_generator, component=component)


def test_damaged_archives(tiny_generator, tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez(path, other=np.ones(3))
    with pytest.raises(CheckpointError, match="GANSpace"):
        import_direction(path, tiny_generator, component=0)
    np.savez(path, lat_comp=np.ones((3, 24)), lat_stdev=np.ones(3))
    data = path.read_bytes()
    for size in (0, 30, len(data) // 2):
        path.write_bytes(data[:size])
        with pytest.raises(CheckpointError):
            import_direction(path, tiny_generator, component=0)
    np.savez(path, lat_comp=np.ones((3, 24)), lat_stdev=np.ones(2))
    with pytest.raises(CheckpointError, match="3 components and 2 deviations"):
        import_direction(path, tiny_generator, component=0)
    monkeypatch.setattr(arrays, "MAX_BYTES", 2**16)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:  # a kilobyte that would be much more
        archive.writestr("lat_comp.npy", header((2**18,)) + b"\0" * 2**20)
        archive.writestr("lat_stdev.npy", header((3,)) + b"\0" * 12)
    with pytest.raises(CheckpointError, match="GANSpace"):
        import_direction(path, tiny_generator, component=0)


def test_torch_files(tiny_generator, tmp_path):
    torch.save(torch.from_numpy(VECTOR)[None], tmp_path / "age.pt")
    direction = import_direction(tmp_path / "age.pt", tiny_generator)
    np.testing.assert_array_equal(direction.vector.numpy(), VECTOR)
    components = torch.randn(5, 1, 24)
    torch.save({"mean": torch.zeros(1, 24), "comp": components, "std": torch.full((5,), 2.0)}, tmp_path / "pca.pt")
    direction = import_direction(tmp_path / "pca.pt", tiny_generator, component=1)
    torch.testing.assert_close(direction.vector, 2 * components[1, 0])
    torch.save({"ckpt": "x.pt", "eigvec": torch.eye(24)}, tmp_path / "factor.pt")
    direction = import_direction(tmp_path / "factor.pt", tiny_generator, component=7)
    assert direction.vector.argmax() == 7
    torch.save({"a": torch.zeros(3)}, tmp_path / "what.pt")
    with pytest.raises(CheckpointError, match="expected comp and std"):
        import_direction(tmp_path / "what.pt", tiny_generator)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="holds a list"):
        import_direction(tmp_path / "list.pt", tiny_generator)


def test_style_channels(tiny_generator, tmp_path):
    (tmp_path / "smile.txt").write_text("# layer_channel change\n5_3 2.5\n\n")
    direction = import_direction(tmp_path / "smile.txt", tiny_generator)
    assert direction.space == "s"
    assert direction.source == "imported: smile.txt, style channels"
    ws = tiny_generator.sample_w(1, 0)[:, None].expand(-1, 8, -1)
    layer = tiny_generator.synthesis.blocks["16"].conv0  # 4: conv, ToRGB; 8: conv0, conv1, ToRGB; 16: number 5
    index = tiny_generator.synthesis.layers.index(layer)
    samples = layer.affine(tiny_generator.sample_w(10_000, 1))
    change = layer.affine(direction.apply(ws, 1.0)[:, index]) - layer.affine(ws[:, index])
    assert change[0, 3] / samples.std(dim=0)[3] == pytest.approx(2.5, rel=0.05)
    (tmp_path / "far.txt").write_text("99_0 1")
    with pytest.raises(UsageError, match="layer 99"):
        import_direction(tmp_path / "far.txt", tiny_generator)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "9_41 -2.5\n6_501"),
        ("a.csv", "9,41,-2.5\n6,501,1"),
        ("a.json", '{"9_41": -2.5, "6_501": 1}'),
        ("a.json", "[[9, 41, -2.5], [6, 501]]"),
        ("a.json", '["9_41 -2.5", "6_501"]'),
    ],
)
def test_spellings_of_channels(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_channels(tmp_path / name) == {(9, 41): -2.5, (6, 501): 1.0}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", ""),
        ("a.txt", "nine"),
        ("a.txt", "9_41 e"),
        ("a.txt", "9_41 1e999"),
        ("a.json", "{"),
        ("a.json", "7"),
        ("a.json", '{"9_41": null}'),
        ("a.json", "[" * 100_000),
        ("a.json", "[[[9, 41]]]"),
    ],
)
def test_lists_that_are_none(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(CheckpointError):
        read_channels(tmp_path / name)


def test_our_own_files_pass_through(tiny_generator, tmp_path):
    Direction(torch.ones(24), "a", network_id(tiny_generator)).save(tmp_path / "a.safetensors")
    assert import_direction(tmp_path / "a.safetensors", tiny_generator, name="b").name == "b"
    Direction(torch.ones(24), "a", "tiny@000000000000").save(tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="belongs to"):
        import_direction(tmp_path / "a.safetensors", tiny_generator)


def test_the_command(tiny_generator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_generator(tiny_generator, tmp_path / "tiny.safetensors")
    np.save("age.npy", VECTOR)

    def run(*arguments):
        return CliRunner().invoke(main, ["directions", "import", *arguments], catch_exceptions=False)

    result = run("age.npy", "--for-network", "tiny.safetensors", "--layers", "0-2,5")
    assert result.exit_code == 0, result.output
    assert "names no network" in result.stderr
    direction = Direction.load("directions/age.safetensors")
    assert direction.layers == (0, 1, 2, 5)
    result = run("age.npy")
    assert result.exit_code == 2
    assert "--for-network" in result.stderr
    result = run("none.npy", "--for-network", "tiny.safetensors")
    assert result.exit_code == 1
    assert "does not exist" in result.stderr
    result = run("age.doc", "--for-network", "tiny.safetensors")
    assert result.exit_code == 2
    assert run("age.npy", "--for-network", "tiny.safetensors", "--layers", "9").exit_code == 2


class TestFacesAreNoDirections:
    """A latent that is given where a direction is wanted is noticed, by what its file says or by where it lies."""

    def face(self, network):
        return network.mapping(torch.randn(1, 16, generator=torch.Generator().manual_seed(3)))  # [1, L, w_dim]

    @pytest.mark.parametrize("shape", [(24,), (1, 8, 24)])
    def test_by_where_it_lies(self, tiny_generator, tmp_path, shape):
        ws = self.face(tiny_generator)
        np.save(tmp_path / "me.npy", (ws if len(shape) == 3 else ws[0, 0]).numpy())
        direction = import_direction(tmp_path / "me.npy", tiny_generator)
        assert "it is a face's latent, not a direction" in direction.facts["warning"]

    def test_a_difference_of_faces_is_none(self, tiny_generator, tmp_path):
        difference = self.face(tiny_generator) - tiny_generator.w_avg
        for index, vector in enumerate((difference, difference / difference.norm(), VECTOR)):
            np.save(tmp_path / f"{index}.npy", np.asarray(vector))
            direction = import_direction(tmp_path / f"{index}.npy", tiny_generator)
            assert "a face" not in direction.facts["warning"]

    def test_by_what_the_file_says(self, tiny_generator, tmp_path):
        ws = self.face(tiny_generator)
        np.savez(tmp_path / "projected_w.npz", w=ws.numpy())
        np.save(tmp_path / "latents.npy", {"me.jpg": [ws[0].numpy()]})
        torch.save({"me.jpg": {"latent": ws[0], "noise": []}}, tmp_path / "me.pt")
        for name in ("projected_w.npz", "latents.npy", "me.pt"):
            with pytest.raises(
                UsageError, match=r"holds a face, not a direction: edit with python -m editing edit .*me|w"
            ):
                import_direction(tmp_path / name, tiny_generator)

    def test_an_inversion_of_ours(self, tiny_generator, tmp_path):
        invented(tiny_generator, 1).save(tmp_path / "me.safetensors")
        with pytest.raises(CheckpointError, match=r"It is a face: edit it with python -m editing edit"):
            import_direction(tmp_path / "me.safetensors", tiny_generator)

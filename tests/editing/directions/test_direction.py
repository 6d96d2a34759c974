import pytest
import torch
from safetensors.torch import save_file

from editing import Direction, find_direction
from editing.directions import direction
from editing.directions.direction import direction_files, direction_folder
from relatent.core.errors import CheckpointError, ShapeError, UnknownNameError, UsageError
from stylegan import network_id


@pytest.fixture
def smile(tiny_generator):
    vector = torch.linspace(-1, 1, tiny_generator.w_dim)
    return Direction(
        vector, "smile", network_id(tiny_generator), (1, 3), "w", "interfacegan", facts={"auc": 0.9, "n": "x"}
    )


def test_round_trip_keeps_everything(smile, tmp_path):
    for one in (smile, smile.replace(layers=None, vector=torch.ones(8, 24), space="s", unit="two steps")):
        one.save(tmp_path / "a.safetensors")
        again = Direction.load(tmp_path / "a.safetensors")
        assert torch.equal(again.vector, one.vector)
        for name in ("name", "network", "layers", "space", "source", "unit", "facts"):
            assert getattr(again, name) == getattr(one, name)


def test_only_its_layers_move(smile):
    ws = torch.randn(2, 8, 24)
    moved = smile.apply(ws, 2.0) - ws
    torch.testing.assert_close(moved[:, [1, 3]], (2 * smile.vector).expand(2, 2, 24))
    assert not moved[:, [0, 2, 4, 5, 6, 7]].any()


def test_each_sample_has_its_strength(smile):
    ws = torch.randn(3, 8, 24)
    moved = smile.replace(layers=None).apply(ws, torch.tensor([0.0, 1.0, -2.0])) - ws
    torch.testing.assert_close(
        moved[:, 5], torch.tensor([0.0, 1.0, -2.0])[:, None] * smile.vector, atol=1e-6, rtol=1e-5
    )


def test_a_vector_for_each_layer(smile):
    vector = torch.randn(8, 24)
    ws = torch.zeros(1, 8, 24)
    torch.testing.assert_close(smile.replace(vector=vector, layers=None).apply(ws, 1.0)[0], vector)
    masked = smile.replace(vector=vector).apply(ws, 1.0)[0]
    torch.testing.assert_close(masked[3], vector[3])
    assert not masked[2].any()


def test_another_size_is_refused(smile):
    for shape in ((1, 8, 32), (1, 3, 24)):
        with pytest.raises(ShapeError, match=r"another size|layers 1, 3"):
            smile.apply(torch.zeros(shape), 1.0)
    with pytest.raises(ShapeError, match=r"expected \[N, L, w_dim\]"):
        smile.apply(torch.zeros(8, 24), 1.0)
    with pytest.raises(ShapeError, match="another size"):
        smile.replace(vector=torch.zeros(18, 24), layers=None).apply(torch.zeros(1, 8, 24), 1.0)


def test_another_network_is_refused(smile, tiny_generator):
    smile.check_network(tiny_generator)
    smile.check_network("renamed@" + smile.network.partition("@")[2])
    with pytest.raises(UsageError, match="belongs to the network tiny@"):
        smile.check_network("tiny@000000000000")


@pytest.mark.parametrize("vector", [torch.zeros(2, 2, 2), torch.zeros(0), torch.zeros(4, dtype=torch.int64)])
def test_vectors_are_checked(vector):
    with pytest.raises(ShapeError, match="expected floats"):
        Direction(vector, "smile", "tiny@0")


def test_values_and_space_are_checked():
    with pytest.raises(ShapeError, match="not finite"):
        Direction(torch.tensor([float("nan")]), "smile", "tiny@0")
    with pytest.raises(UsageError, match="space"):
        Direction(torch.zeros(4), "smile", "tiny@0", space="z")
    assert Direction(torch.zeros(4, dtype=torch.float64), "smile", "tiny@0").vector.dtype == torch.float32


def test_finding_by_name(smile, tiny_generator, tmp_path, monkeypatch):
    monkeypatch.setattr(direction, "FOLDER", tmp_path / "weights")
    folder = direction_folder(tiny_generator)
    assert folder == tmp_path / "weights" / "tiny" / "directions"
    smile.save(folder / "mouth_open.safetensors")
    for name in ("mouth_open", "mouth-open", folder / "mouth_open.safetensors"):
        assert find_direction(name, tiny_generator).name == "smile"
    with pytest.raises(UnknownNameError, match=r"did you mean mouth_open.*path"):
        find_direction("mouth_opened", tiny_generator)
    smile.replace(name="mine").save(tmp_path / "own" / "mouth_open.safetensors")
    assert find_direction("mouth_open", smile.network, [tmp_path / "own"]).name == "mine"
    assert list(direction_files(smile.network)) == ["mouth_open"]
    smile.replace(network="other@0").save(tmp_path / "others" / "mouth_open.safetensors")
    assert find_direction("mouth_open", tiny_generator, [tmp_path / "others"]).network == smile.network
    with pytest.raises(UsageError, match="belongs to"):
        find_direction(folder / "mouth_open.safetensors", "tiny@000000000000")
    with pytest.raises(CheckpointError, match="does not exist"):
        find_direction("nowhere/smile.safetensors", tiny_generator)


def test_a_network_s_name_never_leaves_the_folder():
    for name in ("../../etc", "..", "/etc", ""):
        parts = direction_folder(f"{name}@0").relative_to(direction.FOLDER).parts
        assert ".." not in parts
        assert len(parts) == 2


def test_damaged_files(smile, tmp_path, tiny_generator):
    path = tmp_path / "a.safetensors"
    smile.save(path)
    data = path.read_bytes()
    for size in (0, 7, 100, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(CheckpointError):
            Direction.load(path)
    good = {"format": "relatent-direction-1", "name": "a", "network": "tiny@0", "space": "w", "source": "", "unit": ""}
    good |= {"layers": "null", "facts": "{}"}
    for wrong in ({"layers": "7"}, {"layers": "["}, {"facts": "[]"}, {"space": "z"}, {"facts": '{"a": []}'}):
        save_file({"vector": torch.ones(4)}, path, metadata={**good, **wrong})
        with pytest.raises(CheckpointError, match="damaged direction"):
            Direction.load(path)
    save_file({"vector": torch.ones(4, dtype=torch.int64)}, path, metadata=good)
    with pytest.raises(CheckpointError, match="damaged direction"):
        Direction.load(path)
    save_file({"vector": torch.ones(4)}, path)
    with pytest.raises(CheckpointError, match="directions import"):
        Direction.load(path)

import numpy as np
import pytest
import torch
from invented import invented

from editing import Direction, edit, edits
from editing.edits import within
from inversion import Inversion
from relatent.core.alignment import Alignment
from relatent.core.errors import ShapeError, UnknownNameError, UsageError
from stylegan import network_id


@pytest.fixture
def me(tiny_generator):
    return invented(tiny_generator, 1)


@pytest.fixture
def directions(tiny_generator):
    torch.manual_seed(3)
    network = network_id(tiny_generator)
    smile, age = (Direction(torch.randn(24), name, network) for name in ("smile", "age"))
    return [smile, age, Direction(torch.randn(8, 24), "pose", network, (0, 1), "w+")]


def test_an_edit_is_a_sum_of_moves(me, directions):
    edited = edit(me, {"smile": 2}, age=-1, directions=directions)
    torch.testing.assert_close(edited.ws, me.ws + 2 * directions[0].vector - directions[1].vector)
    assert edited.edits == {"smile": 2.0, "age": -1.0}
    assert me.edits == {}
    assert me.origin is None


def test_everything_else_stays(me, directions):
    edited = edit(me, smile=1, directions=directions)
    assert edited.noise is me.noise
    assert edited.face_to_photo is me.face_to_photo
    for name in ("network", "network_file", "seed", "photo", "losses", "space"):
        assert getattr(edited, name) == getattr(me, name)


def test_edits_add_up_and_go_back(me, directions, tiny_generator):
    twice = edit(edit(me, smile=1.5, directions=directions), smile=0.5, pose=1, directions=directions)
    once = edit(me, smile=2, pose=1, directions=directions)
    torch.testing.assert_close(twice.ws, once.ws, atol=1e-5, rtol=0)
    assert twice.edits == {"smile": 2.0, "pose": 1.0}
    assert torch.equal(twice.origin, me.ws)
    assert torch.equal(twice.unedited().tensor(tiny_generator), me.tensor(tiny_generator))
    assert twice.unedited().edits == {}
    assert torch.equal(edit(me, smile=0, directions=directions).ws, me.ws)


def test_w_stays_w_as_long_as_all_layers_agree(tiny_generator, directions):
    flat = invented(tiny_generator, 1, space="w")
    assert edit(flat, smile=1, directions=directions).space == "w"
    assert edit(flat, pose=1, directions=directions).space == "w+"
    assert edit(flat, smile=1, directions=[directions[0].replace(layers=(0,))]).space == "w+"


def test_the_mask_decides_where_it_shows(me, directions, tiny_generator, tmp_path):
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., :16] = 1
    edited = edit(me, smile=2, directions=directions).replace(mask=mask)
    edited.save(tmp_path / "a.safetensors")
    drawn = Inversion.load(tmp_path / "a.safetensors").tensor(tiny_generator)
    whole, before = edited.replace(mask=None).tensor(tiny_generator), me.tensor(tiny_generator)
    torch.testing.assert_close(drawn[..., :16], whole[..., :16])
    torch.testing.assert_close(drawn[..., 16:], before[..., 16:])
    assert (whole - before)[..., 16:].abs().max() > 0.01


def test_regions_become_a_mask(me, directions, tiny_generator):
    tiny_generator.alignment = Alignment(0.62, 0.08)
    edited = edit(me, smile=2, directions=directions, only=["mouth"], network=tiny_generator)
    mask = edited.mask[0, 0].numpy()
    assert mask.max() > 0.9
    assert mask[:8].max() < 0.05  # nothing noisy looks like a face, so it lies where one should: below the middle
    y = (mask.sum(axis=1) * np.arange(32)).sum() / mask.sum()
    assert 16 < y < 30
    changed = (edited.tensor(tiny_generator) - me.tensor(tiny_generator)).abs().amax(dim=1)[0].numpy()
    assert changed[mask == 0].max() == 0
    assert changed.max() > 0.01
    kept = within(edited, keep=["mouth"], network=tiny_generator)
    torch.testing.assert_close(kept.mask, 1 - edited.mask)


def test_a_region_is_where_it_was_and_where_it_went(me, directions, tiny_generator, monkeypatch):
    """A mouth that opens leaves its old place, and both must be redrawn."""
    here = edits.drawn_landmarks(np.full((32, 32, 3), 128, np.uint8), tiny_generator.alignment)
    places = [here, here - [0, 10]]
    monkeypatch.setattr(edits, "drawn_landmarks", lambda *_: places.pop(0))
    edited = edit(me, smile=2, directions=directions, only=["mouth"], network=tiny_generator)
    x, y = here[48:68].mean(axis=0).round().astype(int)
    assert edited.mask[0, 0, y, x] > 0.9
    assert edited.mask[0, 0, y - 10, x] > 0.9


def test_what_changes_nothing_can_be_saved(me, directions, tiny_generator, tmp_path):
    for edited in (edit(me), edit(me, smile=0, directions=directions), me.replace(origin=me.ws, mask=None)):
        edited.save(tmp_path / "a.safetensors")
        assert torch.equal(Inversion.load(tmp_path / "a.safetensors").ws, me.ws)
    shared = torch.randn(2, *me.ws.shape)  # views of one tensor, and one not contiguous
    me.replace(ws=shared[0], origin=shared[1], noise=(shared[0, 0][None, None].mT,)).save(tmp_path / "a.safetensors")
    assert torch.equal(Inversion.load(tmp_path / "a.safetensors").origin, shared[1])
    directions[0].replace(vector=shared[0, 0, 0]).save(tmp_path / "d.safetensors")


def test_what_is_not_finite_is_never_written(me, tmp_path):
    with pytest.raises(UsageError, match="not finite"):
        me.replace(ws=me.ws * float("inf")).save(tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_what_is_refused(me, directions, tiny_generator):
    with pytest.raises(UnknownNameError, match="unknown direction 'smlie'"):
        edit(me, smlie=1, directions=directions)
    with pytest.raises(UnknownNameError, match="unknown region 'mouht': did you mean mouth"):
        edit(me, smile=1, directions=directions, only=["mouht"])
    for strength in ("2", None, float("nan"), True, 1e39):
        with pytest.raises(UsageError, match="expected a number"):
            edit(me, {"smile": strength}, directions=directions)
    for psi in ("1", None, float("inf"), 1e39):
        with pytest.raises(UsageError, match=r"the truncation is .*expected a number"):
            edit(me, truncation=psi, network=tiny_generator)
    far = directions[0].replace(vector=torch.full((24,), 1e38))
    with pytest.raises(UsageError, match="no network can draw"):
        edit(me, smile=10, directions=[far])
    foreign = directions[0].replace(network="tiny@000000000000")
    with pytest.raises(UsageError, match="belongs to the network"):
        edit(me, smile=1, directions=[foreign])
    with pytest.raises(ShapeError, match="another size"):
        edit(me, smile=1, directions=[directions[0].replace(vector=torch.zeros(48))])

"""Points of a face are dragged: tracking, steps, bad points, and whole drags on small networks of every kind."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from invented import invented

import relatent
from editing import DragOptions, drag
from editing.dragging import plausibility
from editing.dragging.features import FeatureReader, feature_layers, layer_at
from editing.dragging.plausibility import Plausibility
from editing.dragging.points import LANDMARKS, checked_points, landmark, parse_landmark, parse_point
from editing.dragging.run import drag_points
from editing.dragging.steps import Stepper, derivative, metric_of
from editing.dragging.tracking import Tracker
from editing.seeds import seed_inversion
from relatent.core.errors import ShapeError, UnknownNameError, UsageError

FACE = DragOptions(pixels="face", limit=1000)


def smooth_features(size=32, channels=6, shift=(0.0, 0.0)):
    """Features [1, C, size, size] of sums of waves, moved by ``shift`` (x, y) in features."""
    rng = torch.Generator().manual_seed(1)
    y, x = torch.meshgrid(torch.arange(size) - shift[1], torch.arange(size) - shift[0], indexing="ij")
    waves = torch.rand(channels, 3, 4, generator=rng)
    total = 0.0
    for wave in waves.unbind(1):
        a, b, phase, _ = (part[:, None, None] for part in wave.unbind(1))
        total = total + torch.sin(0.6 * (a - 0.5) * x + 0.6 * (b - 0.5) * y + 6 * phase)
    return total[None]


@pytest.fixture
def reader(tiny_generator):
    return FeatureReader(tiny_generator, layer_at(tiny_generator, 32))


@pytest.mark.parametrize("shift", [(1.0, 0.0), (-1.3, 0.6), (0.4, -1.7)])
def test_a_handle_is_found_where_its_features_went(reader, shift):
    points = torch.tensor([[12.0, 14.0], [20.0, 11.5]])
    tracker = Tracker(reader, smooth_features(), points, radius=3, reach=3)
    expected = points + 0.7 * torch.tensor(shift)
    found = tracker.find(smooth_features(shift=shift), expected)
    assert torch.allclose(found - points, torch.tensor(shift).expand(2, 2), atol=0.12)


def test_the_derivative_of_a_place_is_that_of_tracking_it(tiny_generator):
    inversion = seed_inversion(tiny_generator, 3)
    reader = FeatureReader(tiny_generator, layer_at(tiny_generator, 16))
    start = inversion.ws
    with torch.no_grad():
        tracker = Tracker(reader, reader.draw(start).features, torch.tensor([[15.0, 16.0]]), radius=4, reach=2)
    ws = start.clone().requires_grad_(True)
    jacobian = derivative(tracker.places(reader.draw(ws).features, torch.tensor([[15.0, 16.0]])), ws)
    way = jacobian[0] / jacobian[0].norm()  # along which x changes fastest
    step = 0.02 / float(jacobian[0].norm())
    with torch.no_grad():
        moved = tracker.find(reader.draw(start + step * way).features, torch.tensor([[15.0, 16.0]]))[0, 0] - 15.0
    # not closer, because features are interpolated linearly, and slopes are taken over a whole feature
    assert float(moved) == pytest.approx(0.02, rel=0.4)


def test_a_step_goes_the_whole_way_and_no_shorter_one_does(tiny_generator):
    metric = metric_of(tiny_generator)
    start = seed_inversion(tiny_generator, 1).ws
    rng = torch.Generator().manual_seed(0)
    jacobian = torch.randn(2, *start.shape[1:], generator=rng)
    layers = 4
    stepper = Stepper(metric, start, layers, damping=1.0)
    way = torch.tensor([[0.7, -0.4]])
    new = stepper.step(start, jacobian, way)
    gone = (jacobian * (new - start)).sum(dim=(1, 2))
    assert torch.allclose(gone, way.flatten(), rtol=0.01, atol=1e-3)
    assert torch.equal(new[:, layers:], start[:, layers:])
    other = torch.randn(1, *start.shape[1:], generator=rng)  # any other change that goes the same way is longer
    other[:, layers:] = 0
    other = new + other - (stepper.step(start, jacobian, (jacobian * other).sum(dim=(1, 2)).view(1, 2)) - start)
    inverse = torch.linalg.inv(metric.covariance)
    lengths = [((one - start) @ inverse * (one - start)).sum() for one in (new, other)]
    assert lengths[0] < lengths[1]


@pytest.mark.parametrize(
    ("handles", "targets", "said"),
    [
        ([(500, 5)], [(6, 6)], "outside the face"),
        ([(5, 5)], [(6, -40)], "outside the face"),
        ([(5, 5)], [(5, 5)], "starts at 5,5 and is to end there"),
        ([(i % 14 + 1, i // 14 + 1) for i in range(200)], [(0, 0)] * 200, "200 points came"),
        ([], [], "0 points came"),
        ([(float("nan"), 5)], [(6, 6)], "two finite numbers"),
        ([(5, 5)], [(float("inf"), 6)], "two finite numbers"),
        ([(5, 5, 5)], [(6, 6)], "two finite numbers"),
        (["ab"], [(6, 6)], "two finite numbers"),
        ([(5, 5)], [(6, 6), (7, 7)], "1 handles came with 2 targets"),
        ([(5, 5), (5, 5)], [(6, 6), (7, 7)], "start at the same place"),
    ],
)
def test_bad_points_get_a_sentence(handles, targets, said):
    with pytest.raises(UsageError, match=said) as caught:
        checked_points(handles, targets, np.eye(3), 32)
    assert "\n" not in str(caught.value)


def test_points_of_the_photo_are_carried_into_the_face():
    to_face = np.linalg.inv(np.array([[2.0, 0, 10], [0, 2, 5], [0, 0, 1]]))
    here, there = checked_points([(30, 25)], [(34, 25)], to_face, 32)
    assert np.allclose(here, [[10, 10]])
    assert np.allclose(there, [[12, 10]])


def test_texts_become_points():
    assert parse_point("210,300.5", "--from") == (210, 300.5)
    assert parse_landmark("mouth_left=+10,-4") == ("mouth_left", (10, -4))
    for text in ("", "210", "a,b", "1,nan", "1,2,3"):
        with pytest.raises(UsageError, match="expected X,Y"):
            parse_point(text, "--from")
    with pytest.raises(UsageError, match="NAME=RIGHT,DOWN"):
        parse_landmark("mouth_left")
    with pytest.raises(UnknownNameError, match="mouth_left"):
        parse_landmark("mouth_lft=1,2")


def test_landmarks_are_where_dlib_puts_them():
    points = np.stack([np.arange(68.0), 2 * np.arange(68.0)], axis=1)
    assert landmark("eyelid_left", points).tolist() == [37.5, 75]
    assert all(max(numbers) < 68 for numbers in LANDMARKS.values())


@pytest.mark.parametrize(
    "change",
    [{"pixels": "screen"}, {"num_steps": 0}, {"tolerance": float("nan")}, {"limit": 1001}, {"radius": 0}, {"level": 2}],
)
def test_bad_options_get_a_sentence(change):
    with pytest.raises(UsageError, match=next(iter(change))):
        DragOptions(**change)


def gone(result):
    """What is left of each way, as a share of it."""
    left = np.linalg.norm(result.targets - result.points, axis=1)
    return left / np.linalg.norm(result.targets - result.handles, axis=1)


@pytest.mark.parametrize("kind", ["stylegan2", "stylegan3-t", "stylegan3-r", "noise", "tuned", "edited"])
def test_points_come_nearer_on_every_kind_of_network(tiny_generator, tiny_alias_free, kind):
    network = tiny_generator
    if kind.startswith("stylegan3"):
        network = tiny_alias_free(**({"conv_kernel": 1, "use_radial_filters": True} if kind.endswith("r") else {}))
    inversion = seed_inversion(network, 4)
    if kind == "noise":
        inversion = invented(network, 4).replace(face_to_photo=None)
    if kind == "tuned":
        weight = network.synthesis.blocks["16"].conv1.weight
        rng = torch.Generator().manual_seed(0)
        left, right = (torch.randn(*shape, generator=rng) * 0.1 for shape in ((len(weight), 1), (1, weight[0].numel())))
        inversion = inversion.replace(tuned={"blocks.16.conv1.weight": (left.half(), right.half())})
    if kind == "edited":
        inversion = inversion.replace(ws=inversion.ws + 0.1, origin=inversion.ws, edits={"smile": 1.0})
    result = drag_points(inversion, network, [(15, 15)], [(16.5, 15)], options=FACE)
    assert gone(result).max() < 0.6
    assert result.steps <= FACE.num_steps
    face = result.face
    assert torch.equal(face.unedited().ws, inversion.unedited().ws)
    assert set(face.edits) == {*inversion.edits, "drag:15,15>16.5,15"}
    assert face.tuned is inversion.tuned
    assert face.noise is inversion.noise
    assert not torch.equal(face.ws, inversion.ws)
    assert face.tensor(network).isfinite().all()


def test_the_derivative_reads_tuned_weights(tiny_generator):
    inversion = seed_inversion(tiny_generator, 4)
    weight = tiny_generator.synthesis.blocks["16"].conv1.weight
    tuned = {"blocks.16.conv1.weight": (torch.ones(len(weight), 1), torch.ones(1, weight[0].numel()))}
    layer = layer_at(tiny_generator, 16)
    plain, changed = (
        FeatureReader(tiny_generator, layer, None, one).draw(inversion.ws).features for one in (None, tuned)
    )
    assert not torch.allclose(plain, changed)


def test_features_lie_where_the_picture_shows_them(tiny_alias_free, tiny_generator):
    for network in (tiny_generator, tiny_alias_free()):
        for layer in feature_layers(network):
            reader = FeatureReader(network, layer)
            features = reader.draw(seed_inversion(network, 1).ws).features
            assert features.shape[-1] == layer.rate + 2 * layer.margin
            size = features.shape[-1]
            ramp = (torch.arange(size) - layer.margin + 0.5).expand(
                1, 1, size, size
            ) / layer.rate  # 0 to 1 over the picture
            middle = (network.resolution - 1) / 2
            assert float(reader.sample(ramp.contiguous(), torch.tensor([[middle, middle]]))) == pytest.approx(
                0.5, abs=1e-5
            )


def test_a_mask_holds_the_rest_still(tiny_generator):
    inversion = seed_inversion(tiny_generator, 4)
    mask = np.zeros((32, 32), np.float32)
    mask[8:24, 8:24] = 1
    outside = torch.from_numpy(mask)[None, None] == 0
    changes = []
    for chosen in (None, mask):
        face = drag_points(inversion, tiny_generator, [(15, 15)], [(16.5, 15)], chosen, options=FACE).face
        before, after = (one.replace(mask=None).tensor(tiny_generator) for one in (inversion, face))
        changes.append(float((after - before).square()[outside.expand(-1, 3, -1, -1)].mean()))
    assert changes[1] < 0.9 * changes[0]
    assert torch.equal(face.mask[0, 0], torch.from_numpy(mask))
    shown = face.tensor(tiny_generator)  # what the mask leaves out is not changed at all
    assert torch.allclose(shown[:, :, 0], inversion.tensor(tiny_generator)[:, :, 0])


def test_a_bad_mask_gets_a_sentence(tiny_generator):
    inversion = seed_inversion(tiny_generator, 4)
    for mask, error in (
        (np.zeros((32, 32)), UsageError),
        (np.full((32, 32), np.nan), ShapeError),
        (np.ones((9, 9)), ShapeError),
        ("moth", UnknownNameError),
        ([], UsageError),
    ):
        with pytest.raises(error):
            drag(inversion, [(15, 15)], [(17, 15)], mask, options=FACE, network=tiny_generator)


def test_the_yardstick_takes_its_turn_for_every_face_and_is_kept(tiny_generator):
    turns = []

    @contextmanager
    def turn():
        turns.append("on")
        yield
        turns.append("off")

    plausibility._kept.pop(tiny_generator, None)
    usual = plausibility.usual_distance(tiny_generator, turn)
    assert usual > plausibility.SMALL
    assert turns == ["on", "off"] * (1 + plausibility.FACES)  # others may draw between two faces
    assert plausibility.usual_distance(tiny_generator, turn) == usual
    assert len(turns) == 2 * (1 + plausibility.FACES)


def test_a_drag_stops_where_the_face_would_change_too_much(tiny_generator, monkeypatch):
    inversion = seed_inversion(tiny_generator, 4)
    monkeypatch.setattr("editing.dragging.plausibility.usual_distance", lambda _: 1e-9)  # any change is too much
    result = drag_points(inversion, tiny_generator, [(15, 15)], [(17, 15)], options=DragOptions(pixels="face"))
    assert torch.equal(result.face.ws, inversion.ws)
    assert result.reason == "plausibility"
    assert result.change == 0
    assert "too much" in result.report(32)["ended_because"]


def test_progress_sees_every_accepted_step_and_may_stop(tiny_generator):
    inversion = seed_inversion(tiny_generator, 4)
    seen = []
    result = drag_points(
        inversion, tiny_generator, [(15, 15)], [(18, 15)], options=FACE,
        progress=lambda step: seen.append(step) or len(seen) < 2,
    )  # fmt: skip
    assert result.reason == "stopped"
    assert len(seen) == 2
    assert torch.equal(seen[0].face.ws, inversion.ws)
    assert seen[1].distances[0] < seen[0].distances[0] == pytest.approx(3)
    assert torch.equal(seen[1].face.ws, result.face.ws)


def test_the_same_drag_gives_the_same_face(tiny_generator):
    inversion = seed_inversion(tiny_generator, 4)
    faces = [drag(inversion, [(15, 15)], [(17, 15)], options=FACE, network=tiny_generator) for _ in range(2)]
    assert torch.equal(faces[0].ws, faces[1].ws)


def test_one_point_of_an_embedded_face_arrives():
    face = seed_inversion(relatent.load("faces-128"), 2, psi=0.7)
    network = face.open_network()
    result = drag_points(face, network, [(48, 96)], [(44, 92)], options=DragOptions(pixels="face"))
    assert result.reason == "arrived"
    assert result.steps < 20
    assert result.report(128)["points"][0]["distance_after_percent"] <= 0.5
    assert relatent.drag is drag


def test_a_handle_does_not_slide_along_an_edge(reader):
    edge = torch.tanh(torch.arange(32.0) - 15).expand(1, 6, 32, 32).transpose(2, 3).contiguous()  # changes with y alone
    points = torch.tensor([[12.0, 15.0]])
    tracker = Tracker(reader, edge, points, radius=3, reach=3)
    expected = points + torch.tensor([[0.7, 0.0]])
    found = tracker.find(edge.roll(1, dims=2), expected)
    assert torch.allclose(found, torch.tensor([[12.7, 16.0]]), atol=0.15)


def test_a_drag_brings_back_what_the_points_do_not_need(tiny_generator, monkeypatch):
    inversion = seed_inversion(tiny_generator, 4)
    changes = []
    for restorations in (0, 2):
        monkeypatch.setattr("editing.dragging.search.RESTORATIONS", restorations)
        result = drag_points(inversion, tiny_generator, [(15, 15)], [(16.5, 15)], options=FACE)
        changes.append(result.change)
        assert gone(result).max() < 0.6
    assert changes[1] < 0.9 * changes[0]


def test_the_residual_is_the_distance(tiny_generator):
    pictures = [seed_inversion(tiny_generator, seed).tensor(tiny_generator) for seed in (1, 2)]
    plausibility = Plausibility(tiny_generator, pictures[0])
    distance = plausibility.residual(pictures[1]).square().sum()
    assert 100 * float(distance) / plausibility.usual == pytest.approx(plausibility.change(pictures[1]), rel=1e-4)
    assert 20 < plausibility.change(pictures[1]) < 500
    assert plausibility.change(pictures[0]) == 0

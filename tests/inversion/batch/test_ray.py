"""Batches on Ray clusters: what they give is what one process gives, whichever worker is lost."""

import os
import signal
from pathlib import Path

import pytest
from stand_in import StandIn, run
from test_batches import check_equal, check_whole, make_photos, processes_of, states, statuses, turned_photos

from inversion import InvertConfig
from inversion.batch.ray_data import RayExecutor
from inversion.batch.run import BatchOptions, project_photos
from relatent.core.errors import RelatentError, UsageError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Ray's own, and of what it imports
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def ray():
    """Ray with two local workers, no dashboard, no statistics, and a small object store."""
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_raylet_start_wait_time_s", "120")  # a busy machine takes long
        module = pytest.importorskip("ray")  # reads the environment
        yield module
        module.shutdown()


@pytest.fixture
def local(ray):
    ray.shutdown()
    ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=500 * 10**6, log_to_driver=False)
    yield ray
    ray.shutdown()


def test_two_local_workers(local, tmp_path):
    paths = make_photos(tmp_path / "photos", "a", "b/a", "crash", "bad", "c-pair")
    work = StandIn()
    for photos in ("path", "store"):
        out = tmp_path / photos
        outcomes = list(
            run(paths, out, RayExecutor("local", work, 2, photos=photos), work, face="all", hash_first=False)
        )
        assert sorted(statuses(outcomes)) == ["done"] * 4 + ["failed"] * 2
        assert any("crashed the worker process" in one.message for one in outcomes)
        assert set(statuses(run(paths, out, work=work, face="all"))) == {"skipped", "failed"}


def test_a_lost_worker_s_photos_are_done_again(local, tmp_path):
    paths = make_photos(tmp_path / "photos", *(f"photo{number}" for number in range(60)))
    work = StandIn(tmp_path / "log", 0.1)
    outcomes = run(paths, tmp_path / "out", RayExecutor("local", work, 2), work)
    first = next(outcomes)
    actors = [one for one in processes_of([os.getpid()]) if b"ray::" in _command(one) and b"Map" in _command(one)]
    assert actors
    os.kill(actors[0], signal.SIGKILL)
    assert statuses([first, *outcomes]) == ["done"] * 60
    check_whole(tmp_path / "out", paths)


def _command(process):
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def test_two_machines(ray, tmp_path):
    from ray.cluster_utils import Cluster

    ray.shutdown()
    limits = {"num_cpus": 1, "object_store_memory": 250 * 10**6}
    cluster = Cluster(initialize_head=True, head_node_args={**limits, "include_dashboard": False})
    second = cluster.add_node(**limits)
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        assert len(ray.nodes()) == 2
        paths = make_photos(tmp_path / "photos", *(f"photo{number}" for number in range(60)))
        work = StandIn(tmp_path / "log", 0.1)
        outcomes = run(paths, tmp_path / "out", RayExecutor("auto", work, 2), work)
        first = next(outcomes)
        cluster.remove_node(second)  # with the photos that it was working on
        assert statuses([first, *outcomes]) == ["done"] * 60
        check_whole(tmp_path / "out", paths)
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_results_are_those_of_one_process(local, tiny_file, tmp_path):
    photos = turned_photos(tmp_path)
    config = InvertConfig(num_steps=4)
    for name, options in {
        "here": BatchOptions(),
        "ray": BatchOptions(ray="local", workers=2, batch_size=1),
        "pairs": BatchOptions(ray="local", workers=1, batch_size=2, ray_photos="store"),
    }.items():
        assert statuses(project_photos(photos, tmp_path / name, tiny_file, config, options)) == ["done"] * 3
    check_equal(tmp_path / "here", tmp_path / "ray", tmp_path / "pairs")


class CannotOpenThere(StandIn):
    def open(self):
        raise RelatentError("the network has gone")


def test_errors_of_actors_are_told(local, tmp_path):
    with pytest.raises(RelatentError, match="the network has gone"):
        list(run(make_photos(tmp_path / "photos", "a"), tmp_path / "out", RayExecutor("local", CannotOpenThere(), 1)))
    assert states(tmp_path / "out") == {"a": "pending"}


def test_no_such_cluster(ray, tmp_path):
    ray.shutdown()
    with pytest.raises(UsageError, match="no such Ray cluster"):
        list(run(make_photos(tmp_path / "photos", "a"), tmp_path / "out", RayExecutor("127.0.0.1:1", StandIn(), 1)))

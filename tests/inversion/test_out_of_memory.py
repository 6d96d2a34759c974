"""Where memory runs out, photos are inverted in halves of the batch, and one that does not fit is named as such."""

from __future__ import annotations

import re
import warnings

import pytest
import torch

from inversion import invert_images
from inversion.batch.run import BatchOptions, project_photos
from inversion.batch_size import TOGETHER, batch_size_for, batch_size_in_worker, bytes_of_step
from inversion.optim.optimisation import Optimisation
from relatent.core.errors import DeviceError
from relatent.core.images import encode_png
from stylegan import Generator, GeneratorConfig


@pytest.fixture
def photos():
    return torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def room_for(monkeypatch):
    """Lets steps of so many photos pass, and no more."""
    step = Optimisation.step

    def limit(count):
        def limited(self):
            if len(self.target.images) > count:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB.")
            return step(self)

        monkeypatch.setattr(Optimisation, "step", limited)

    return limit


@pytest.mark.parametrize("execution", ["eager", "graph"])
def test_halves(tiny_generator, photos, room_for, execution):
    room_for(2)
    seen = []
    masks = torch.ones(5, 1, 32, 32)
    masks[3, :, :9] = 0
    options = {"num_steps": 2, "seed": 1, "masks": masks, "execution": execution}
    with pytest.warns(UserWarning, match="more memory than cpu has free") as caught:
        found = invert_images(photos, tiny_generator, progress=seen.append, **options)
    said = [
        re.match(r"(\d) photos .* going on with (\d) together\. A --batch-size", str(one.message)) for one in caught
    ]
    assert [match.groups() for match in said] == [("5", "3"), ("3", "2")]
    assert len(found) == 5
    for index, inversion in enumerate(found):
        (alone,) = invert_images(
            photos[index : index + 1], tiny_generator, **{**options, "masks": masks[index : index + 1]}
        )
        torch.testing.assert_close(inversion.ws, alone.ws, rtol=1e-3, atol=1e-3)
    assert [(step.first, len(step.images)) for step in seen] == [(0, 2), (0, 2), (2, 1), (2, 1), (3, 2), (3, 2)]


def test_one_photo_that_does_not_fit(tiny_generator, photos, room_for):
    room_for(0)
    with pytest.raises(DeviceError, match=r"too little free memory.*--precision bfloat16"):
        invert_images(photos[:1], tiny_generator, num_steps=2)


def test_other_errors_are_not_taken_for_it(tiny_generator, photos, monkeypatch):
    def fails(self):
        raise RuntimeError("something else")

    monkeypatch.setattr(Optimisation, "step", fails)
    with pytest.raises(RuntimeError, match="something else"):
        invert_images(photos[:2], tiny_generator, num_steps=2)


@pytest.mark.parametrize("preset", ["balanced", pytest.param("best", marks=pytest.mark.slow)])
def test_videos_of_a_batch_show_each_photo(tiny_file, tmp_path, preset, room_for, monkeypatch, photos):
    """Of photos that are tuned one by one, and of halves, each step's pictures belong to some photos of the batch."""
    pytest.importorskip("imageio_ffmpeg")
    if preset == "balanced":
        room_for(1)
    files = []
    for index, image in enumerate(photos[:2]):
        files.append(tmp_path / f"{index}.png")
        files[-1].write_bytes(encode_png(((image + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()))
    from inversion import InvertConfig

    config = InvertConfig(preset=preset, num_steps=2, align=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the halves
        outcomes = list(
            project_photos(files, tmp_path / "out", tiny_file, config, BatchOptions(save_video=True, batch_size=2))
        )
    assert [one.status for one in outcomes] == ["done", "done"]
    assert all((one.folder / "proj.mp4").stat().st_size > 0 for one in outcomes)


class TestBatchSize:
    @pytest.fixture
    def network(self):
        """Of full size on the meta device: it has no weights."""
        with torch.device("meta"):
            return Generator(GeneratorConfig(resolution=1024))

    @pytest.mark.parametrize(("gib", "count"), [(80, TOGETHER), (10, 2), (4, 1), (1, 1)])
    def test_follows_free_memory(self, network, monkeypatch, gib, count):
        monkeypatch.setattr("inversion.batch_size.free_memory", lambda device: gib * 2**30)
        assert batch_size_for(network) == count

    def test_where_memory_is_not_known(self, network, monkeypatch):
        monkeypatch.setattr("inversion.batch_size.free_memory", lambda device: None)
        assert batch_size_for(network) == 1

    def test_one_on_a_cpu(self, tiny_generator):
        assert batch_size_for(tiny_generator) == 1

    @pytest.mark.parametrize(("size", "count"), [(32, TOGETHER), (256, TOGETHER), (512, 1)])
    def test_several_in_a_worker_process(self, size, count):
        assert (
            batch_size_in_worker(Generator(GeneratorConfig(resolution=size, channel_base=256, channel_max=8))) == count
        )

    def test_estimate_at_1024_px(self, network):
        """3.3 GB were measured on a CPU (benchmarks/results/speed.md)."""
        assert bytes_of_step(network) / 2**20 == pytest.approx(3268, rel=0.1)

"""The door to encoders, and how one starts an inversion."""

import os

import pytest
import torch
from psp_files import E4E, write
from torch import nn

from inversion.encoders.encoder import Encoder, start_from_encoder
from inversion.encoders.loading import load_encoder
from relatent.core.alignment import Alignment
from relatent.core.errors import CheckpointError, ShapeError, UsageError

NUM_WS, W_DIM = 8, 24  # of the tiny generator


class Means(nn.Module):
    """Codes that tell what the encoder saw: the first 24 pixels of the red channel, the same for each layer."""

    def __init__(self, num_ws=NUM_WS):
        super().__init__()
        self.num_ws = num_ws
        self.gain = nn.Parameter(torch.ones(()))
        self.drop = nn.Dropout(0.5)

    def forward(self, image):
        codes = self.drop(self.gain * image[:, 0].flatten(1)[:, :W_DIM])
        return codes[:, None].expand(-1, self.num_ws, -1)


@pytest.fixture
def encoder():
    offset = torch.arange(NUM_WS * W_DIM).view(NUM_WS, W_DIM).float()
    return Encoder(Means(), offset, resolution=16, alignment=Alignment(1.0, 0.0), network="tiny@0").eval()


@pytest.fixture
def image():
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


class TestEncoder:
    def test_sizes(self, encoder):
        assert (encoder.resolution, encoder.num_ws, encoder.w_dim) == (16, NUM_WS, W_DIM)
        assert (encoder.alignment, encoder.network) == (Alignment(1.0, 0.0), "tiny@0")

    def test_codes_come_without_the_offset_and_latents_with_it(self, encoder, image):
        codes = encoder(image)
        assert codes.shape == (2, NUM_WS, W_DIM)
        assert torch.equal(codes[:, 3], image[:, 0].flatten(1)[:, :W_DIM])
        assert torch.equal(encoder.ws(image), codes + encoder.offset)

    @pytest.mark.parametrize("shape", [(3, 16, 16), (1, 1, 16, 16), (1, 3, 16, 15), (1, 3, 32, 32)])
    def test_pictures_of_another_shape_are_refused(self, encoder, shape):
        with pytest.raises(ShapeError, match=r"expected float \[N, 3, 16, 16\]"):
            encoder(torch.zeros(shape))

    def test_pixels_are_refused(self, encoder):
        with pytest.raises(ShapeError, match=r"torch\.uint8"):
            encoder(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))


class TestStart:
    def test_is_the_encoders_latents(self, encoder, image, tiny_generator):
        ws = start_from_encoder(encoder, image, tiny_generator)
        assert torch.equal(ws, encoder.ws(image))
        assert not ws.requires_grad
        assert not ws.is_inference()  # those cannot be optimised

    def test_larger_pictures_are_reduced_by_area(self, encoder, tiny_generator):
        image = torch.randn(2, 3, 64, 64)
        small = image.unflatten(3, (16, 4)).unflatten(2, (16, 4)).mean(dim=(3, 5))
        torch.testing.assert_close(start_from_encoder(encoder, image, tiny_generator), encoder.ws(small))

    def test_smaller_pictures_are_enlarged_smoothly(self, encoder, tiny_generator):
        ramp = torch.linspace(-1, 1, 8).expand(1, 3, 8, 8)
        row = (start_from_encoder(encoder, ramp, tiny_generator) - encoder.offset)[0, 0, :16]
        assert (row.diff()[1:-1] > 0).all()
        assert row.diff().max() < 0.2

    def test_half_precision_pictures(self, encoder, image, tiny_generator):
        ws = start_from_encoder(encoder, image.half(), tiny_generator)
        assert ws.dtype == torch.float32
        torch.testing.assert_close(ws, encoder.ws(image), atol=2e-3, rtol=1e-3)

    @pytest.mark.parametrize("sizes", [(NUM_WS + 2, W_DIM), (NUM_WS, W_DIM + 1)])
    def test_a_network_of_other_sizes_is_refused(self, image, tiny_generator, sizes):
        encoder = Encoder(Means(), torch.zeros(sizes), resolution=16)
        with pytest.raises(UsageError, match=rf"{sizes[0]} latents of {sizes[1]} .* tiny reads 8 of 24"):
            start_from_encoder(encoder, image, tiny_generator)

    @pytest.mark.parametrize("shape", [(3, 16, 16), (1, 1, 16, 16), (1, 3, 16, 15)])
    def test_pictures_of_another_shape_are_refused(self, encoder, tiny_generator, shape):
        with pytest.raises(ShapeError, match=r"expected float \[N, 3, R, R\]"):
            start_from_encoder(encoder, torch.zeros(shape), tiny_generator)


class TestLoading:
    @pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
    def test_a_checkpoint(self, tmp_path, zipped):
        path = tmp_path / "e4e.pt"
        content = write(path, E4E, zipped=zipped)
        encoder = load_encoder(str(path))
        assert (encoder.resolution, encoder.num_ws, encoder.w_dim) == (256, 4, 512)
        assert encoder.alignment == Alignment(1.0, 0.0)
        assert not encoder.training
        assert not any(parameter.requires_grad for parameter in encoder.parameters())
        assert torch.equal(encoder.offset, content["latent_avg"])
        weight = content["state_dict"]["encoder.styles.3.convs.8.weight"]
        assert torch.equal(encoder.model.heads[3].convs[4].weight, weight.float())

    def test_is_float32_whatever_the_default_dtype_is(self, tmp_path, set_default_dtype):
        write(tmp_path / "e4e.pt", E4E)
        set_default_dtype(torch.float64)
        encoder = load_encoder(tmp_path / "e4e.pt")
        floats = [tensor for tensor in (*encoder.parameters(), *encoder.buffers()) if tensor.is_floating_point()]
        assert {tensor.dtype for tensor in floats} == {torch.float32}

    def test_missing_file(self, tmp_path):
        with pytest.raises(CheckpointError, match="No such file"):
            load_encoder(tmp_path / "e4e.pt")

    def test_folder(self, tmp_path):
        with pytest.raises(CheckpointError, match="directory"):
            load_encoder(tmp_path)

    def test_a_generator(self, tiny_file):
        with pytest.raises(CheckpointError, match="says format 'relatent-generator-1'; expected an encoder"):
            load_encoder(tiny_file)

    @pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html>", b"PK\x03\x04", b"\x80\x02."])
    def test_no_checkpoint_at_all(self, tmp_path, content):
        path = tmp_path / "e4e.pt"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"e4e\.pt"):
            load_encoder(path)

    def test_hostile_one_is_not_run(self, tmp_path):
        class Hostile:
            def __reduce__(self):
                return os.system, (f"touch {tmp_path / 'ran'}",)

        for zipped in (True, False):
            path = tmp_path / f"e4e-{zipped}.pt"
            torch.save(
                {"state_dict": {"encoder.x": Hostile()}, "opts": {}}, path, _use_new_zipfile_serialization=zipped
            )
            with pytest.raises(CheckpointError, match=r"\.system"):
                load_encoder(path)
        assert not (tmp_path / "ran").exists()

    def test_cut_short(self, tmp_path):
        path = tmp_path / "e4e.pt"
        write(path, E4E)
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(CheckpointError, match=r"e4e\.pt"):
            load_encoder(path)

"""Checkpoints of pSp and e4e: the encoders' codes agree with those of their authors' code, and damage is refused."""

import argparse
import collections
import json
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from psp_files import E4E, PSP, average, checkpoint, encoder_state, layout
from published_encoders import Published

from inversion.encoders.psp import encoder_from_psp, parse_psp, read_psp
from inversion.encoders.style_blocks import Encoder4Editing, GradualStyleEncoder
from relatent.core.errors import CheckpointError
from stylegan import load
from weights.reading.pickles import read_torch

FORMATS = Path(__file__).parents[3].parent / "shared" / "formats"
SOURCE = Path("e4e.pt")
needs_formats = pytest.mark.skipif(not FORMATS.exists(), reason="shared/formats is not here")


def encoder_of(content):
    opts = content.get("opts")
    plain = vars(opts) if isinstance(opts, argparse.Namespace) else opts  # as read_torch gives it
    return encoder_from_psp(parse_psp({**content, "opts": plain}, SOURCE))


def shapes_of(kind):
    return {name: tuple(shape) for name, shape in json.loads((FORMATS / f"{kind}-keys.json").read_text()).items()}


def filled(name, shape):
    """A tensor by the rule of shared/formats/README.md."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if name.endswith("running_var"):
        return 0.5 + x.abs()
    if name.endswith(("running_mean", "bias")):
        return 0.1 * x
    return 1 + 0.1 * x if len(shape) == 1 else x.div_(math.sqrt(math.prod(shape[1:])))


@pytest.fixture(scope="module")
def full_state():
    """A gigabyte, so only once: pSp's tensors at 256 px are the first of e4e's at 1024 px."""
    return {f"encoder.{name}": filled(name, shape) for name, shape in shapes_of("e4e").items()}


@pytest.fixture
def content():
    return checkpoint(E4E)


@needs_formats
class TestAgreement:
    @pytest.mark.parametrize(("kind", "opts"), [("e4e", E4E), ("psp", PSP)])
    def test_codes(self, full_state, kind, opts):
        state = {f"encoder.{name}": full_state[f"encoder.{name}"] for name in shapes_of(kind)}
        with np.load(FORMATS / f"{kind}-reference.npz") as file:
            image, expected = torch.from_numpy(file["image"]), torch.from_numpy(file["codes"])
        codes = encoder_of({"state_dict": state, "opts": {**opts, "start_from_latent_avg": False}})(image)
        assert codes.shape == expected.shape
        assert (codes - expected).abs().max() < 1e-5 * expected.abs().max()

    @pytest.mark.parametrize(("kind", "num_ws"), [("e4e", 18), ("psp", 14)])
    def test_these_tests_write_the_published_layout(self, kind, num_ws):
        assert layout(num_ws) == shapes_of(kind)

    def test_decoder(self, tmp_path):
        """The generator in a checkpoint is the one rosinality's own file holds."""
        own = read_torch(FORMATS / "rosinality-8px.pt")
        state = {f"decoder.{name}": tensor for name, tensor in own["g_ema"].items()}
        path = tmp_path / "e4e.pt"
        torch.save(checkpoint(E4E, state_dict=state, latent_avg=own["latent_avg"].view(-1)), path)
        expected = load(FORMATS / "rosinality-8px.pt")
        z = torch.randn(2, expected.z_dim, generator=torch.Generator().manual_seed(0))
        assert torch.equal(load(path)(z, truncation_psi=0.7), expected(z, truncation_psi=0.7))


@pytest.mark.parametrize(("opts", "kind"), [(E4E, Encoder4Editing), (PSP, GradualStyleEncoder)])
def test_the_options_tell_the_encoders_apart(opts, kind):
    assert type(encoder_of(checkpoint(opts)).model) is kind


class TestOffset:
    @pytest.mark.parametrize("shape", [(), (1,), (4,)])
    def test_is_the_average_for_each_layer(self, shape):
        offset = encoder_of(checkpoint(E4E, latent_avg=average(*shape))).offset
        assert torch.equal(offset, average(*shape).expand(4, 512))

    def test_half_precision_is_widened(self):
        assert encoder_of(checkpoint(E4E, latent_avg=average(4).half())).offset.dtype == torch.float32

    def test_is_zero_where_the_options_say_so(self):
        offset = encoder_of(checkpoint({**E4E, "start_from_latent_avg": False})).offset
        assert torch.equal(offset, torch.zeros(4, 512))

    @pytest.mark.parametrize("latent_avg", [None, average(4)], ids=["without", "with"])
    def test_its_presence_stands_in_for_the_option(self, latent_avg):
        offset = encoder_of(checkpoint({"encoder_type": "Encoder4Editing"}, latent_avg=latent_avg)).offset
        assert torch.equal(offset, torch.zeros(4, 512) if latent_avg is None else latent_avg)

    @pytest.mark.parametrize("option", [torch.zeros(2), "False", None])
    def test_option_that_is_none(self, option):
        with pytest.raises(CheckpointError, match="expected True or False"):
            encoder_of(checkpoint({**E4E, "start_from_latent_avg": option}))

    def test_missing(self):
        with pytest.raises(CheckpointError, match="no latent_avg"):
            encoder_of(checkpoint(E4E, latent_avg=None))

    @pytest.mark.parametrize(
        "latent_avg", [average(5), average(1, 1), torch.zeros(48), torch.zeros(512, dtype=torch.int64), torch.zeros(())]
    )
    def test_of_another_shape(self, latent_avg):
        with pytest.raises(CheckpointError, match="latent_avg as"):
            encoder_of(checkpoint(E4E, latent_avg=latent_avg))

    def test_of_another_kind(self):
        with pytest.raises(CheckpointError, match="'latent_avg' as list"):
            encoder_of(checkpoint(E4E, latent_avg=[0.0] * 512))

    def test_not_finite(self):
        with pytest.raises(CheckpointError, match="not finite in 'latent_avg'"):
            encoder_of(checkpoint(E4E, latent_avg=average(4).log()))


class TestRefused:
    @pytest.mark.parametrize("name", ["input_layer.1.running_var", "body.23.res_layer.5.fc2.weight", "latlayer2.bias"])
    def test_missing_weights(self, content, name):
        del content["state_dict"][f"encoder.{name}"]
        with pytest.raises(CheckpointError, match=f"missing encoder.{name}"):
            encoder_of(content)

    def test_missing_head(self, content):
        state = {name: tensor for name, tensor in content["state_dict"].items() if ".styles.1." not in name}
        with pytest.raises(CheckpointError, match="3 layers"):
            encoder_of({**content, "state_dict": state})

    @pytest.mark.parametrize("name", ["styles.4.linear.weight", "styles.x", "body.24.res_layer.2.weight", "a" * 10**6])
    def test_weights_left_over(self, content, name):
        content["state_dict"][f"encoder.{name}"] = torch.zeros(512)
        with pytest.raises(CheckpointError, match=r"missing|unexpected") as caught:
            encoder_of(content)
        assert len(str(caught.value)) < 600

    def test_other_shapes(self, content):
        content["state_dict"]["encoder.styles.0.linear.weight"] = torch.zeros(512, 48)
        with pytest.raises(
            CheckpointError, match=r"styles\.0\.linear\.weight is \[512, 48\] where \[512, 512\] belongs"
        ):
            encoder_of(content)

    def test_endless_shape_is_not_walked_through(self, content):
        content["state_dict"]["encoder.latlayer1.weight"] = torch.zeros(1).expand(2**40)
        with pytest.raises(CheckpointError, match="latlayer1"):
            encoder_of(content)

    def test_whole_numbers(self, content):
        content["state_dict"]["encoder.latlayer1.bias"] = torch.zeros(512, dtype=torch.int64)
        with pytest.raises(CheckpointError, match=r"torch\.int64 where torch\.float32 belongs"):
            encoder_of(content)

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_values_that_are_not_finite(self, content, value):
        bias = content["state_dict"]["encoder.latlayer1.bias"].clone()
        bias[7] = value
        content["state_dict"]["encoder.latlayer1.bias"] = bias
        with pytest.raises(CheckpointError, match=r"not finite in 'encoder\.latlayer1\.bias'"):
            encoder_of(content)

    def test_large_values_whose_sum_overflows_are_finite(self, content):
        content["state_dict"]["encoder.latlayer1.bias"] = torch.full((512,), 1e37)
        encoder_of(content)

    def test_no_encoder(self, content):
        with pytest.raises(CheckpointError, match=r"no encoder\.\* weights"):
            encoder_of({**content, "state_dict": {"decoder.input.input": torch.zeros(1, 512, 4, 4)}})

    @pytest.mark.parametrize("content", [None, [], {}, {"g_ema": {}}, {"state_dict": []}, {"state_dict": {3: 4}}])
    def test_something_else(self, content):
        with pytest.raises(CheckpointError, match="no state_dict"):
            parse_psp(content, SOURCE)

    def test_weights_that_are_none(self, content):
        content["state_dict"]["encoder.latlayer1.bias"] = "weights"
        with pytest.raises(CheckpointError, match=r"'encoder\.latlayer1\.bias' as str"):
            encoder_of(content)


class TestOtherEncoders:
    def test_restyle(self, content):
        content["state_dict"]["encoder.input_layer.0.weight"] = torch.zeros(64, 6, 3, 3)
        with pytest.raises(CheckpointError, match="ReStyle"):
            encoder_of(content)

    def test_restyle_on_resnet(self):
        state = {"encoder.conv1.weight": torch.zeros(64, 6, 7, 7), "encoder.bn1.weight": torch.zeros(64)}
        with pytest.raises(CheckpointError, match="ReStyle"):
            encoder_of(checkpoint({"encoder_type": "ResNetProgressiveBackboneEncoder"}, state_dict=state))

    def test_of_label_maps(self, content):
        content["state_dict"]["encoder.input_layer.0.weight"] = torch.zeros(64, 19, 3, 3)
        with pytest.raises(CheckpointError, match="19 channels"):
            encoder_of(content)

    @pytest.mark.parametrize("named", ["BackboneEncoderUsingLastLayerIntoW", "x" * 10**6, 7])
    def test_of_another_type(self, named):
        with pytest.raises(CheckpointError, match="of the type") as caught:
            encoder_of(checkpoint({"encoder_type": named}))
        assert len(str(caught.value)) < 400

    @pytest.mark.parametrize("opts", [None, {}, [], {"start_from_latent_avg": True}])
    def test_of_a_type_that_is_not_told(self, content, opts):
        with pytest.raises(CheckpointError, match="encoder_type"):
            encoder_of({**content, "opts": opts})


def test_what_else_a_training_saved_does_not_matter(tmp_path):
    """Objects of classes that nobody here knows among the options and beside them, and DataParallel's prefix."""
    opts = argparse.Namespace(**E4E, device=torch.device("cpu"), schedule=collections.Counter("a"))
    state = {f"module.{name}": tensor for name, tensor in encoder_state(dtype=torch.float16).items()}
    content = {**checkpoint(E4E), "opts": opts, "state_dict": state, "discriminator": torch.nn.Linear(2, 2)}
    torch.save(content, tmp_path / "e4e.pt")
    found = read_psp(tmp_path / "e4e.pt")
    assert type(encoder_from_psp(found).model) is Encoder4Editing


def test_codes_are_those_of_the_papers():
    """On an eighth of the side, where heads end in a pixel early: the same arithmetic in a fraction of the time."""
    state = encoder_state(num_ws=8)
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    for opts, expected in zip((PSP, E4E), Published(state).codes(image, 8), strict=True):
        found = encoder_of({"state_dict": state, "opts": {**opts, "start_from_latent_avg": False}}).model(image)
        assert found.shape == expected.shape
        assert (found - expected).abs().max() < 1e-5 * expected.abs().max()

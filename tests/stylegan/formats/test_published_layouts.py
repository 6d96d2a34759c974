"""Networks of others in every wrapping they come in: what is drawn is what float64 loops draw from their tensors."""

from __future__ import annotations

import pickle

import published
import pytest
import torch
from safetensors.torch import save_file

from benchmarks.foreign import Persisted, nvidia_modules, write_nvidia
from relatent.core.errors import CheckpointError
from stylegan import load
from weights.reading.plain_data import Unknown

SG2, SG3, ROSINALITY = published.nvidia_stylegan2(), published.nvidia_stylegan3(), published.rosinality_stylegan2()
AVERAGE = torch.linspace(-1, 1, 5)
TOLERANCE = 1e-5


def as_object(tensors, kwargs=(), **attributes):
    """Tensors as the object that NVIDIA's code pickles, its parts built with ``kwargs``."""
    network = Persisted("Generator")
    for name, tensor in tensors.items():
        network.put(name, tensor)
    for part, given in dict(kwargs).items():
        (network[part] if part else network).state["_init_kwargs"] = given
    for name, state in attributes.items():
        network[name.replace("__", ".")].state.update(state)
    return network


SMOOTH = {
    "synthesis": {"w_dim": 5, "img_resolution": 16, "img_channels": 3, "channel_base": 1024, "channel_max": 5}
    | {"num_layers": 4, "num_fp16_res": 0},
    "mapping": {"z_dim": 6, "c_dim": 0, "w_dim": 5, "num_ws": 6, "num_layers": 2},
}


def saved(path, value, zipped=True):
    with nvidia_modules():
        torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def below(prefix, tensors):
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def near(found, expected):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < TOLERANCE * expected.abs().max()


def z_of(count=2, width=6):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(3))


def check_stylegan2(path, state=SG2, *, clamp=256, entry=None, rate=0.01, average=None, c=None):
    """Every output of the network in ``path`` against the loops."""
    generator, z = load(path, entry=entry), z_of(width=5 if average is not None else 6)
    average = state["mapping.w_avg"] if average is None else average
    w = published.map_z(state, z, c, rate)
    near(generator.mapping.map(z, c), w)
    near(generator.mapping(z, c, truncation_psi=0.7)[:, 0], average.lerp(w.float(), 0.7).double())
    ws = torch.randn(2, generator.num_ws, 5, generator=torch.Generator().manual_seed(4))
    expected = published.draw_stylegan2(state, ws, clamp=clamp)
    near(generator.synthesis(ws), expected)
    near(generator.synthesis(ws, "none"), published.draw_stylegan2(state, ws, noise=False, clamp=clamp))
    return generator


def check_stylegan3(path, state=SG3, **changes):
    generator, z = load(path), z_of()
    near(generator.mapping.map(z), published.map_z(state, z))
    ws = torch.randn(2, generator.num_ws, 5, generator=torch.Generator().manual_seed(4))
    near(generator.synthesis(ws), published.draw_stylegan3(state, ws, **changes))
    return generator


class TestStyleGAN2:
    def test_pickle(self, tmp_path):
        check_stylegan2(write_nvidia(tmp_path / "a.pkl", G_ema=as_object(SG2)), clamp=None)

    def test_bare_pickle(self, tmp_path):
        with nvidia_modules():
            (tmp_path / "a.pkl").write_bytes(pickle.dumps(as_object(SG2)))
        check_stylegan2(tmp_path / "a.pkl", clamp=None)

    @pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
    @pytest.mark.parametrize("whole", [True, False])
    def test_saved_by_pti_and_others(self, tmp_path, zipped, whole):
        network = as_object(SG2)
        check_stylegan2(saved(tmp_path / "model.pt", network if whole else {"g_ema": network}, zipped), clamp=None)

    @pytest.mark.parametrize("prefix", ["", "module.", "generator.", "module.generator.", "_orig_mod."])
    @pytest.mark.parametrize("entry", [None, "g_ema", "state_dict", "model"])
    def test_state_dict(self, tmp_path, prefix, entry):
        tensors = below(prefix, SG2)
        check_stylegan2(saved(tmp_path / "a.pt", tensors if entry is None else {entry: tensors, "step": 3}))

    @pytest.mark.parametrize("prefix", ["", "module.", "generator."])
    def test_safetensors(self, tmp_path, prefix):
        save_file(below(prefix, SG2), tmp_path / "a.safetensors", metadata={"format": "pt"})
        check_stylegan2(tmp_path / "a.safetensors")

    def test_averaged_one_of_two_in_one_state_dict(self, tmp_path):
        other = {name: tensor + 1 for name, tensor in SG2.items()}
        state = {**below("generator.", other), **below("generator_ema.", SG2), "discriminator.fc.bias": torch.zeros(2)}
        check_stylegan2(saved(tmp_path / "a.ckpt", {"state_dict": state}))

    def test_a_package_s_own_copy_of_the_modules(self, tmp_path):
        data = write_nvidia(tmp_path / "a.pkl", protocol=2, G_ema=as_object(SG2)).read_bytes()
        (tmp_path / "b.pkl").write_bytes(data.replace(b"ctorch_utils.persistence", b"cours.torch_utils.persistence"))
        check_stylegan2(tmp_path / "b.pkl", clamp=None)

    def test_without_noise(self, tmp_path):
        state = published.nvidia_stylegan2(noise=False)
        save_file(state, tmp_path / "a.safetensors")
        assert check_stylegan2(tmp_path / "a.safetensors", state).num_ws == 4
        off = {f"synthesis__b{size}__conv{i}": {"use_noise": False} for size, i in ((4, 1), (8, 0), (8, 1))}
        check_stylegan2(write_nvidia(tmp_path / "a.pkl", G_ema=as_object(state, **off)), state, clamp=None)

    def test_with_classes(self, tmp_path):
        state = published.nvidia_stylegan2(c_dim=3)
        save_file(state, tmp_path / "a.safetensors")
        check_stylegan2(tmp_path / "a.safetensors", state, c=torch.eye(3)[:2])

    def test_grey(self, tmp_path):
        """One channel, drawn as the three that photos have."""
        state = published.nvidia_stylegan2(colours=1)
        save_file(state, tmp_path / "a.safetensors")
        ws = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(4))
        near(load(tmp_path / "a.safetensors").synthesis(ws), published.draw_stylegan2(state, ws).expand(-1, 3, -1, -1))

    def test_with_transparency(self, tmp_path):
        save_file(published.nvidia_stylegan2(colours=4), tmp_path / "a.safetensors")
        with pytest.raises(CheckpointError, match=r"img_channels is 4; expected 3 \(RGB\) or 1 \(grey\).*transparency"):
            load(tmp_path / "a.safetensors")

    def test_fast_mapping_network(self, tmp_path):
        state = published.nvidia_stylegan2(rate=1.0)
        save_file(state, tmp_path / "a.safetensors")
        check_stylegan2(tmp_path / "a.safetensors", state, rate=1.0)


class TestRosinality:
    STATE = published.renamed(ROSINALITY)

    def check(self, path, **options):
        return check_stylegan2(path, {**self.STATE, **options.pop("state", {})}, clamp=None, average=AVERAGE, **options)

    @pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
    @pytest.mark.parametrize("prefix", ["", "module.", "generator."])
    def test_published_file(self, tmp_path, prefix, zipped):
        content = {"g_ema": below(prefix, ROSINALITY), "latent_avg": AVERAGE}
        self.check(saved(tmp_path / "a.pt", content, zipped))

    def test_decoder_of_an_encoder_file(self, tmp_path):
        content = {"state_dict": below("decoder.", ROSINALITY), "latent_avg": AVERAGE.repeat(4, 1), "opts": {}}
        self.check(saved(tmp_path / "e4e.pt", content))

    def test_safetensors_with_the_average_inside(self, tmp_path):
        save_file({**ROSINALITY, "latent_avg": AVERAGE}, tmp_path / "a.safetensors")
        self.check(tmp_path / "a.safetensors")

    def test_live_weights_are_taken_on_request_alone(self, tmp_path):
        path = saved(tmp_path / "a.pt", {"g": ROSINALITY, "d": {"a": torch.zeros(2)}, "latent_avg": AVERAGE})
        self.check(path, entry="g")
        with pytest.raises(CheckpointError, match=r"weights convert \S*a.pt NETWORK.safetensors --entry g"):
            load(path)

    def test_fast_mapping_network(self, tmp_path):
        """lr_mlp=1: taken for 0.01, w would be ten thousand times too small."""
        state = published.rosinality_stylegan2(rate=1.0)
        path = saved(tmp_path / "a.pt", {"g_ema": state, "latent_avg": AVERAGE})
        self.check(path, state=published.renamed(state), rate=1.0)


class TestStyleGAN3:
    def test_pickle(self, tmp_path):
        check_stylegan3(write_nvidia(tmp_path / "a.pkl", G_ema=as_object(SG3, SMOOTH)))

    def test_trained_by_stylegan3_fun(self, tmp_path):
        more = {**SMOOTH, "mapping": {**SMOOTH["mapping"], "freeze_layers": 0, "freeze_embed": False}}
        check_stylegan3(write_nvidia(tmp_path / "a.pkl", G_ema=as_object(SG3, more)))

    @pytest.mark.parametrize("rotation", [False, True])
    @pytest.mark.parametrize("num_critical", [1, 2])
    @pytest.mark.parametrize("prefix", ["", "module."])
    def test_state_dict(self, tmp_path, rotation, num_critical, prefix):
        changes = {"num_critical": num_critical, **({"kernel": 1, "radial": True} if rotation else {})}
        state = published.nvidia_stylegan3(**changes)
        check_stylegan3(saved(tmp_path / "final_pti_model.pt", below(prefix, state)), state, **changes)

    def test_safetensors(self, tmp_path):
        save_file(SG3, tmp_path / "a.safetensors")
        check_stylegan3(tmp_path / "a.safetensors")

    def test_transform_that_is_left_out(self, tmp_path):
        state = {name: tensor for name, tensor in SG3.items() if name != "synthesis.input.transform"}
        check_stylegan3(saved(tmp_path / "a.pt", state))

    def test_half_precision(self, tmp_path):
        """Rounded weights draw what rounded weights draw; the filters are rounded, too, and known again."""
        half = {name: tensor.half() for name, tensor in SG3.items()}
        wide = {name: SG3[name] if name.endswith("_filter") else tensor.float() for name, tensor in half.items()}
        for index, path in enumerate(
            (write_nvidia(tmp_path / "a.pkl", G_ema=as_object(half, SMOOTH)), saved(tmp_path / "b.pt", half))
        ):
            generator = check_stylegan3(path, wide)
            assert generator.synthesis.layers[index].weight.dtype == torch.float32

    def test_other_filters(self, tmp_path):
        layer = next(name for name in SG3 if name.endswith("up_filter"))
        with pytest.raises(CheckpointError, match="filter"):
            load(saved(tmp_path / "a.pt", {**SG3, layer: SG3[layer] * 1.01}))


class Elsewhere:
    """A class that no network file has need of."""

    def __init__(self, *arguments):
        self.arguments = arguments


class Keyed(dict):
    """Another, that holds more of the same."""


def odd():
    thing = Elsewhere(1, [2])
    return {"pipe": thing, ("a", 1): Keyed(a=thing), "many": [thing, {thing.__class__}], "lists": Keyed(b=[thing])}


class TestWhatNobodyAskedFor:
    @pytest.mark.parametrize("protocol", [2, 4, 5])
    def test_is_not_looked_at(self, tmp_path, protocol):
        discriminator = Persisted("ProjectedDiscriminator", extra=Elsewhere(1))
        path = write_nvidia(
            tmp_path / "a.pkl", protocol, D=discriminator, augment=Elsewhere(3), G_ema=as_object(SG2), more=odd()
        )
        check_stylegan2(path, clamp=None)
        with pytest.raises(CheckpointError, match=r"asks to import .*Elsewhere; .* Nothing was run"):
            load(path, entry="D")

    @pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
    def test_in_a_torch_file(self, tmp_path, zipped):
        odd_tensors = {"complex": torch.zeros(2, dtype=torch.complex64)} if zipped else {}
        content = {
            "g_ema": ROSINALITY,
            "latent_avg": AVERAGE,
            "d": odd(),
            "module": torch.nn.Linear(2, 2),
            **odd_tensors,
        }
        TestRosinality().check(saved(tmp_path / "a.pt", content, zipped))

    def test_inside_the_wanted_one_it_is_refused(self, tmp_path):
        network = as_object(SG2, synthesis={"hook": Elsewhere(1)})
        with pytest.raises(CheckpointError, match=r"asks to import .*Elsewhere"):
            load(write_nvidia(tmp_path / "a.pkl", G_ema=network))
        with pytest.raises(CheckpointError, match=r"asks to import .*Elsewhere"):
            load(saved(tmp_path / "a.pt", {"g_ema": {**ROSINALITY, "style.1.weight": Elsewhere(1)}}))

    def test_nothing_of_it_comes_out(self, tmp_path):
        from weights.reading.pickles import open_pickle

        (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": Elsewhere(1), "b": [1]}))
        content = open_pickle(tmp_path / "a.pkl")
        assert type(content.value["a"]) is Unknown
        assert content.take(content.value["b"]) == [1]
        with pytest.raises(CheckpointError, match="Elsewhere"):
            content.take(content.value)

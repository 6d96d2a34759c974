"""Adaptive augmentation and path-length regularisation inside a training run."""

import pytest
import torch

from stylegan.networks.discriminator import DiscriminatorConfig
from stylegan.networks.generator import GeneratorConfig
from stylegan.training.loss import GanLossWeights, path_lengths
from stylegan.training.settings import TrainingSettings
from stylegan.training.state import load_state, save_state
from stylegan.training.trainer import Trainer

SIZES = {"resolution": 8, "channel_base": 64, "channel_max": 8}


def trainer(**changes):
    loss_weights = GanLossWeights(r1_gamma=0.1, **changes.pop("loss_weights", {}))
    settings = TrainingSettings(
        data="none",
        data_folder=None,
        name="tiny",
        generator=GeneratorConfig(z_dim=4, w_dim=6, mapping_layers=1, **SIZES),
        discriminator=DiscriminatorConfig(**SIZES),
        loss_weights=loss_weights,
        batch=4,
        **changes,
    )
    images = torch.randint(0, 256, (16, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Trainer(settings, images, None, torch.device("cpu"))


def test_path_lengths_by_hand():
    # a linear "network": image = ws summed over layers, as [N, 1, 1, w_dim]; J^T y is y for each layer
    ws = torch.zeros(2, 3, 5, requires_grad=True)
    image = ws.sum(dim=1)[:, None, None, :]
    torch.manual_seed(0)
    lengths = path_lengths(image, ws)
    torch.manual_seed(0)
    noise = torch.randn(2, 1, 1, 5) / 5**0.5
    torch.testing.assert_close(lengths, noise.square().sum(dim=(1, 2, 3)).sqrt())


def test_path_length_moves_its_mean_and_leaves_it_alone_without_weight():
    run = trainer(loss_weights={"path_length_weight": 2.0, "path_length_interval": 2})
    run.train_step()
    first = float(run.path_mean)
    assert first > 0
    run.train_step()
    assert float(run.path_mean) == first  # not its turn
    run.train_step()
    assert float(run.path_mean) != first
    idle = trainer()
    idle.run_tick(12)
    assert float(idle.path_mean) == 0


def test_path_length_changes_the_generator():
    plain, regular = trainer(), trainer(loss_weights={"path_length_weight": 2.0})
    plain.train_step()
    regular.train_step()
    assert any(
        not torch.equal(a, b) for a, b in zip(plain.generator.parameters(), regular.generator.parameters(), strict=True)
    )


def test_adaptive_strength_rises_against_a_sure_discriminator():
    run = trainer(ada=True)
    torch.nn.init.constant_(run.discriminator.out.bias, 50.0)  # calls everything real
    tick = run.run_tick(4 * 4 * 3)
    assert tick.augment == pytest.approx(3 * 16 / 500_000, abs=1e-4)
    assert trainer().run_tick(16).augment == 0


def test_resuming_goes_on_exactly(tmp_path):
    def make():
        return trainer(ada=True, loss_weights={"path_length_weight": 2.0, "path_length_interval": 2})

    unbroken, first = make(), make()
    unbroken.strength.p = first.strength.p = 0.5
    for _ in range(5):
        first.train_step()
    save_state(first, tmp_path / "state.safetensors")
    second = make()
    load_state(second, tmp_path / "state.safetensors")
    assert second.strength.p == first.strength.p
    for _ in range(5):
        unbroken.train_step()
    for _ in range(4):
        unbroken.train_step()
        second.train_step()
    for name, tensor in unbroken.generator.state_dict().items():
        assert torch.equal(tensor, second.generator.state_dict()[name]), name
    assert unbroken.strength.p == second.strength.p
    assert float(unbroken.path_mean) == float(second.path_mean)

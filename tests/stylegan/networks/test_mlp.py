"""Networks of fully connected layers."""

from __future__ import annotations

import pytest
import torch

from relatent.core.errors import ShapeError
from stylegan import Generator, MlpConfig, MlpDiscriminator, MlpDiscriminatorConfig, load, save_generator


class TestMlp:
    def test_sizes(self):
        generator, discriminator = MlpConfig(), MlpDiscriminatorConfig()
        assert generator.widths == [100, 256, 512, 1024, 784]
        assert discriminator.widths == [784, 1024, 512, 256, 1]

    def test_draws_as_any_generator(self, tmp_path):
        generator = Generator(MlpConfig(resolution=12, z_dim=6, width=8), name="dense").eval()
        ws = generator.mapping(torch.randn(5, 6), truncation_psi=0.5)
        image = generator.synthesis(ws)
        assert (ws.shape, image.shape) == ((5, 1, 6), (5, 3, 12, 12))
        assert torch.equal(image[:, 0], image[:, 2])
        assert image.abs().max() <= 1
        save_generator(generator, tmp_path / "dense.safetensors")
        again = load(tmp_path / "dense.safetensors")
        assert torch.allclose(again.synthesis(ws), image, atol=1e-6)
        with pytest.raises(ShapeError, match=r"expected \[N, 1, 6\]"):
            generator.synthesis(torch.zeros(1, 2, 6))

    def test_batch_norm_standardises_in_training_and_remembers(self):
        generator = Generator(MlpConfig(resolution=8, z_dim=6, width=8, layers=1)).train()
        norm = generator.synthesis.norms[0]
        seen = []
        norm.register_forward_hook(lambda _, given, out: seen.append(out))
        for _ in range(60):
            generator(torch.randn(64, 6))
        assert seen[-1].mean(dim=0).abs().max() < 1e-5
        assert seen[-1].var(dim=0, correction=0).sub(1).abs().max() < 1e-2
        generator.eval()(torch.randn(2000, 6))
        assert seen[-1].mean(dim=0).abs().max() < 0.2

    def test_discriminator_leaves_units_out_in_training_only(self):
        judge = MlpDiscriminator(MlpDiscriminatorConfig(resolution=8, width=8))
        image = torch.randn(2, 1, 8, 8)
        assert not torch.equal(judge.train()(image), judge(image))
        assert torch.equal(judge.eval()(image), judge(image))
        with pytest.raises(ShapeError, match="1, 8, 8"):
            judge(torch.zeros(1, 3, 8, 8))

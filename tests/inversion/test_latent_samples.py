"""Latents as inversions are."""

import torch

from inversion.latent_samples import random_latents


def test_random_latents_lie_where_inversions_do(tiny_generator):
    torch.manual_seed(0)
    spread = tiny_generator.w_std()
    ws = random_latents(tiny_generator, 400, spread)
    assert ws.shape == (400, tiny_generator.num_ws, 24)
    within = (ws - ws.mean(dim=1, keepdim=True)).square().sum(dim=2).mean(dim=1).sqrt()
    assert 0.3 < float((within > 0.3 * spread).float().mean()) < 0.7  # about half are mixed from two
    assert float((ws.mean(dim=1) - tiny_generator.w_avg).square().sum(dim=1).mean().sqrt()) < 1.1 * spread

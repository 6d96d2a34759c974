"""A generator whose pictures do what they are told: the right answer is known before anything is learned."""

import torch
from torch import nn

NUM_WS, W_DIM = 6, 12
BRIGHT_LAYER, BLUE_LAYER = 2, 4


class PlantedSynthesis(nn.Module):
    """Brightness follows w of one layer along one axis, blueness w of another layer along another."""

    num_ws, w_dim, img_channels, resolution = NUM_WS, W_DIM, 3, 16

    def __init__(self, bright, blue):
        super().__init__()
        self.register_buffer("bright", bright)
        self.register_buffer("blue", blue)

    def forward(self, ws, noise_mode="const", noise=None):
        image = (ws[:, BRIGHT_LAYER] @ self.bright)[:, None, None, None].expand(-1, 3, 16, 16) * 0.1
        tint = torch.tensor([0.0, 0.0, 1.0])[None, :, None, None]
        return image + (ws[:, BLUE_LAYER] @ self.blue)[:, None, None, None] * 0.1 * tint


def planted_generator(overlap=0.0):
    """A generator and its two unit axes, whose cosine is ``overlap``; w is standard normal."""
    from stylegan import Generator, GeneratorConfig

    rng = torch.Generator().manual_seed(5)
    first, second = torch.linalg.qr(torch.randn(W_DIM, 2, generator=rng)).Q.T
    bright, blue = first, overlap * first + (1 - overlap**2) ** 0.5 * second
    generator = Generator(
        GeneratorConfig(resolution=16, z_dim=W_DIM, w_dim=W_DIM, mapping_layers=1, channel_base=64, channel_max=4),
        name="planted",
    )
    generator.mapping.map = lambda z, c=None: z
    generator.synthesis = PlantedSynthesis(bright, blue)
    return generator.eval().requires_grad_(False), bright.double().numpy(), blue.double().numpy()


def brightness(pictures):
    """Mean of red: blueness leaves it alone."""
    return pictures[..., 0].mean(axis=(1, 2)).astype(float)


def blueness(pictures):
    return pictures[..., 2].mean(axis=(1, 2)) - pictures[..., 0].mean(axis=(1, 2)).astype(float)

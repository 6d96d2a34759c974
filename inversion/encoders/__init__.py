"""Encoders, which predict latents from pictures: Relatent's residual encoder with its training, pSp and e4e."""

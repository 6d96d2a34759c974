"""How latents, noise maps and weights are optimised."""

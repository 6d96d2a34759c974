"""Directions in latent space: learning, unsupervised discovery, import, and measurement of their effects."""

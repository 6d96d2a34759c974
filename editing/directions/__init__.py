"""Directions in latent space: learnt, found without labels, imported, measured."""

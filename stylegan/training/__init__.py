"""Training of generators: data, augmentation, losses, training loop, metrics."""

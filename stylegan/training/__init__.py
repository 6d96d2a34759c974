"""Training: data, augmentation, losses, the training loop, and how a run is judged."""

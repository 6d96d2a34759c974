"""The pictures of a training run, and their augmentation."""

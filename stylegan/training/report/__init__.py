"""What a training run shows: its page, curves, TensorBoard logs and video."""

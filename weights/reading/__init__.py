"""Readers of untrusted files (pickles, torch.save, NumPy), which execute nothing and limit memory and time."""

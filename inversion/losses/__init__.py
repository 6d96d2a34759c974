"""The losses of inversion."""

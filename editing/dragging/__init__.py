"""Drag editing: a point of the face is moved, and the face follows (Pan et al. 2023)."""

"""Measures of a trained generator against real pictures: distances, scores, path lengths and separability."""

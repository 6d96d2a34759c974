"""Scores of face attributes, from which directions are learned and with which their effects are measured."""

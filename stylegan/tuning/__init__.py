"""Hyper-parameter search by cross-validated short trainings."""

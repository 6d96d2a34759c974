"""The commands of `python -m editing`: parsing and printing only."""

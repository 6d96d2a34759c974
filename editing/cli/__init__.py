"""The commands of `python -m editing`: parsing of options, and output."""

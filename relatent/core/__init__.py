"""Shared by all other packages: pixel conventions, errors, devices, files, command-line behaviour."""

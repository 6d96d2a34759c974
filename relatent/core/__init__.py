"""What every other package may lean on: pixel conventions, errors, devices, files."""

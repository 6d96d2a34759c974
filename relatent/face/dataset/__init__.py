"""Makes a set of aligned faces from photos."""

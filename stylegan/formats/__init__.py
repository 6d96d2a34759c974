"""Networks on disk: our own format, and those of other projects, read as data."""

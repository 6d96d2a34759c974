"""Published weights: found by name, fetched, verified, cached."""

"""Scripts behind every figure in README and docs. Not installed; results lie in `results/` as JSON."""

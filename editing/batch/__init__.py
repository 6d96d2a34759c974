"""Many edits or mixes: inversions in, result folders out."""

"""Edits and mixes of many inversions, written to result folders."""

"""Inversion of many photos: result folders, reports, and reruns that skip finished photos."""

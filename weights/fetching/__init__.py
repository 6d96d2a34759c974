"""Fetching published weights by name: download, verification and cache."""

"""The embedded networks, downloads of published weights, and readers of foreign checkpoints that execute nothing."""

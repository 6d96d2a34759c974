"""What an inversion minimises."""

"""The recipes and states that the embedded network is trained from; no part of what is installed."""

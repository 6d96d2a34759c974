"""Nothing but a place: it puts the helpers beside it (planted.py, invented.py) on the path of every test below."""

"""Puts the helpers beside it (planted.py, invented.py) on the path of every test below."""

from kept_answers import dlib_is_asked_once  # noqa: F401

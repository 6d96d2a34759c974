"""Editing of inverted faces: directions, edits, style mixing, and pasting back into the photo."""

from editing.directions.direction import Direction, find_direction
from editing.edits import edit
from editing.mixing import mix
from editing.pasting import paste_back

__all__ = ["Direction", "edit", "find_direction", "mix", "paste_back"]

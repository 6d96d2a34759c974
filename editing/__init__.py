"""Editing of inverted faces: directions, edits, dragged points, style mixing, and pasting back into the photo."""

from editing.directions.direction import Direction, find_direction
from editing.dragging.options import DragOptions
from editing.dragging.run import drag
from editing.edits import edit
from editing.mixing import mix
from editing.pasting import paste_back

__all__ = ["Direction", "DragOptions", "drag", "edit", "find_direction", "mix", "paste_back"]

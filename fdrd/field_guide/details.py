"""Small details shared by several meta-categories."""

from __future__ import annotations

from fdrd.field_guide.outline import ellipse
from fdrd.field_guide.sketch import Sketch


def dewdrop(sketch: Sketch, x: float, y: float) -> None:
    """Draw a drop of water with a highlight around (x, y)."""
    sketch.body(ellipse(x, y, 0.1, 0.1), (206, 230, 246))
    sketch.fill(ellipse(x - 0.035, y - 0.04, 0.036, 0.036, 0, 8), (255, 255, 255))

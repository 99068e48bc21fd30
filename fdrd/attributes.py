"""Attribute spans of a caption, by type. (Placeholder; the tagger follows.)"""

from __future__ import annotations

import re

from fdrd.record import Attribute

_COLOURS = re.compile(
    r"\b(?:black|white|red|green|blue|yellow|brown|orange|pink|purple|grey|gray)\b", re.I
)


def find_attributes(caption: str, category: str = "") -> tuple[Attribute, ...]:
    """The attribute spans of a caption."""
    return tuple(
        Attribute("colour", m.group(), m.start(), m.end()) for m in _COLOURS.finditer(caption)
    )

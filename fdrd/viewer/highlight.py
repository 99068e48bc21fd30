"""Text in parts: a caption with its attribute spans, and a negative with the words in which it differs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

_TOKEN = re.compile(r"\s+|\w+|[^\w\s]")
_MOST = 2000
"""Tokens above which two texts are not compared word by word."""


class Part(NamedTuple):
    """A part of a text, and what it is: an attribute type, `changed`, or nothing."""

    text: str
    kind: str


def attribute_parts(caption: str, attributes: Iterable[Mapping[str, Any]]) -> list[Part]:
    """Split a caption at its attribute spans.

    >>> attribute_parts("A red cat.", [{"type": "color", "start": 2, "end": 5}])
    [Part(text='A ', kind=''), Part(text='red', kind='color'), Part(text=' cat.', kind='')]
    """
    parts, at = [], 0
    for span in sorted(attributes, key=lambda span: int(span["start"])):
        start, end = span["start"], span["end"]
        if at <= start < end <= len(caption):
            parts += [Part(caption[at:start], ""), Part(caption[start:end], span["type"])]
            at = end
    return [part for part in (*parts, Part(caption[at:], "")) if part.text]


def changed_parts(caption: str, negative: str) -> list[Part]:
    """Split a negative into what it shares with the caption, and what it changes.

    >>> changed_parts("A red cat.", "A red dog.")
    [Part(text='A red ', kind=''), Part(text='dog', kind='changed'), Part(text='.', kind='')]
    """
    old, new = _TOKEN.findall(caption), _TOKEN.findall(negative)
    if max(len(old), len(new)) > _MOST:
        return [Part(negative, "")]
    blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    parts = [
        Part("".join(new[start:end]), "" if kind == "equal" else "changed")
        for kind, _, _, start, end in blocks
    ]
    return [part for part in parts if part.text]

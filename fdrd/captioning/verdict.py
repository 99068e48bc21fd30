"""What an evaluator found: its answer read as JSON, however it is wrapped, into problems and advice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_MOST = 300  # characters of what an evaluator says that go on into the next question


@dataclass(frozen=True, slots=True)
class Verdict:
    """The problems, as keys of `fdrd.captioning.reasons.VERDICTS`, and what was said about them."""

    problems: tuple[str, ...] = ()
    advice: str = ""


def read_verdict(text: str) -> Verdict:
    """The verdict in an evaluator's answer.

    >>> read_verdict('Sure: {"names_category": true, "contradictions": ["red"], "inventions": []}')
    Verdict(problems=('picture_contradicted',), advice='The picture contradicts: red.')
    >>> read_verdict("It is fine.").problems
    ('evaluation_unreadable',)
    """
    for found in _objects(text):
        names = found.get("names_category")
        contradictions, inventions = found.get("contradictions"), found.get("inventions")
        if not isinstance(names, bool):
            continue
        if not isinstance(contradictions, list) or not isinstance(inventions, list):
            continue
        given = {
            "category_not_named": not names,
            "picture_contradicted": bool(contradictions),
            "detail_invented": bool(inventions),
        }
        problems = tuple(problem for problem, there in given.items() if there)
        return Verdict(problems, _advice(found, contradictions, inventions) if problems else "")
    return Verdict(("evaluation_unreadable",), "")


def _advice(found: dict[str, Any], contradictions: list[Any], inventions: list[Any]) -> str:
    """What the evaluator advises, or what it listed where it advises nothing."""
    said = str(found.get("advice") or "").strip()
    if not said and contradictions:
        said = f"The picture contradicts: {'; '.join(map(str, contradictions))}. "
    if not said and inventions:
        said = f"Not to be seen: {'; '.join(map(str, inventions))}."
    return " ".join(said.split())[:_MOST]


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that stand in a text, outermost first."""
    decoder, start = json.JSONDecoder(), text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
            continue
        if isinstance(value, dict):
            yield value
        start = text.find("{", end)

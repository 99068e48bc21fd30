"""Which methods work on which encoders, from the registry."""

from __future__ import annotations

from benchmark.models.backbone import ALL, TOKENS
from benchmark.registry import method_names, obstacle, takes, works_with

ENCODERS = {
    "CLIP, MetaCLIP 2, SigLIP, SigLIP 2": ALL,
    "SigLIP 2 NaFlex": ALL - {TOKENS},
    "any other": frozenset[str](),
}
"""Capabilities by the name of a column."""


def compatibility():
    """Return the headings and one row per method."""
    rows = [["method", *ENCODERS]]
    for name in method_names():
        row = [f"`{name}`"]
        for can in ENCODERS.values():
            options = works_with(name, can)
            if options is None:
                row.append(f"no: {obstacle(name, {}, can)}")
            else:
                row.append("yes" + (f", with `{options}`" if options else ""))
        rows.append(
            row if takes(name, "backbone") else [row[0], *["yes, uses none"] * len(ENCODERS)]
        )
    return rows


def compatibility_table():
    """Return the table as Markdown."""
    headings, *rows = compatibility()
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)

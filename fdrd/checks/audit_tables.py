"""Render audits as Markdown for the dataset card and as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from fdrd.checks.audits import Audit
from fdrd.checks.flaws import FLAWS, NEGATIVE_FLAWS
from fdrd.text.controls import escape, markdown_table
from fdrd.text.grid import Grid

_TILT = 1.05  # words with a smaller factor are not shown
_Rows = list[tuple[str, ...]]
_NOT_TRAINED = (
    "The text-only baseline, which picks the true caption among its negatives without the image, takes some "
    "seconds per thousand rows. Run `fdrd audit` on this folder to add it here."
)


def markdown(audits: Sequence[Audit]) -> str:
    """Return the section "Audit" of a dataset card."""
    parts = ["## Audit", "", "Computed from captions and negatives alone, by `fdrd audit`.", ""]
    for title, heads, rows in _tables(audits):
        cells = [tuple(map(escape, row)) for row in (heads, *rows)]
        parts += [f"**{title}**", "", markdown_table(cells[0], cells[1:], text_columns=1), ""]
    if any(audit.negatives and audit.text_only is None for audit in audits):
        parts += [_NOT_TRAINED, ""]
    return "\n".join(parts)


def tables(audits: Sequence[Audit]) -> RenderableType:
    """Return the same tables for a terminal."""
    grids = (Grid(heads, rows, title) for title, heads, rows in _tables(audits))
    return Group(*(each for grid in grids for each in (Text(""), grid)))


def _tables(audits: Sequence[Audit]) -> list[tuple[str, tuple[str, ...], _Rows]]:
    domains = tuple(audit.domain or "-" for audit in audits)
    found = [("Captions (rows)", ("", *domains), _caption_rows(audits))]
    if any(audit.negatives for audit in audits):
        found.append(("Negatives (rows / negatives)", ("", *domains), _negative_rows(audits)))
    if text_only := _text_only_rows(audits):
        heads = ("domain", "negatives", "rows", "chance", "words", "context")
        found.append(("Text-only baseline: accuracy without the image", heads, text_only))
    title = "Share of captions with an attribute of the type"
    return [*found, (title, ("type", *domains), _coverage_rows(audits))]


def _caption_rows(audits: Sequence[Audit]) -> _Rows:
    return [
        ("rows", *(f"{audit.rows:,}" for audit in audits)),
        ("categories", *(f"{audit.categories:,}" for audit in audits)),
        ("rows that share their caption", *(f"{audit.sharing:,}" for audit in audits)),
        ("CLIP tokens, mean (estimate)", *(f"{audit.clip_tokens[0]:.1f}" for audit in audits)),
        ("CLIP tokens, maximum (estimate)", *(f"{audit.clip_tokens[1]}" for audit in audits)),
        *((text, *(f"{audit.flaws[flaw]:,}" for audit in audits)) for flaw, text in FLAWS.items()),
    ]


def _negative_rows(audits: Sequence[Audit]) -> _Rows:
    rows: _Rows = [("negatives", *(f"{audit.negatives:,}" for audit in audits))]
    for flaw, text in NEGATIVE_FLAWS.items():
        counts = (audit.negative_flaws[flaw] for audit in audits)
        rows.append((text, *(f"{rows_with:,} / {number:,}" for rows_with, number in counts)))
    biases = [audit.bias for audit in audits]
    return [
        *rows,
        ("words per true caption", *(f"{b.true_words:.2f}" if b else "-" for b in biases)),
        ("words per negative", *(f"{b.negative_words:.2f}" if b else "-" for b in biases)),
        ("the longest is true", *(f"{b.longest_is_true:.1%}" if b else "-" for b in biases)),
        ("more frequent in true captions", *(_tilted(b.true) if b else "-" for b in biases)),
        ("more frequent in negatives", *(_tilted(b.negative) if b else "-" for b in biases)),
    ]


def _tilted(words: Sequence[tuple[str, float]]) -> str:
    """Return words with the factor by which they are more frequent.

    >>> _tilted([("hairless", 2.04), ("a", 1.0)])
    'hairless 2.0x'
    """
    return ", ".join(f"{word} {factor:.1f}x" for word, factor in words if factor >= _TILT) or "-"


def _text_only_rows(audits: Sequence[Audit]) -> _Rows:
    return [
        (
            audit.domain or "-",
            kind,
            f"{readers['words'].rows:,}",
            f"{readers['words'].chance:.1%}",
            *(
                f"{100 * readers[reader].accuracy:.1f} ± {readers[reader].standard_error:.1%}"
                for reader in ("words", "context")
            ),
        )
        for audit in audits
        for kind, readers in (audit.text_only or {}).items()
    ]


def _coverage_rows(audits: Sequence[Audit]) -> _Rows:
    types = audits[0].coverage if audits else {}
    return [(type_, *(f"{audit.coverage[type_]:.0%}" for audit in audits)) for type_ in types]

"""The audit as Markdown, for the dataset card, and as tables, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fdrd.checks.audit.flaws import FLAWS, NEGATIVE_FLAWS
from fdrd.checks.audit.report import Audit
from fdrd.text.markup import escape

_TILT = 1.05  # how many times as often a word must be there to be shown
_Rows = list[tuple[str, ...]]
_UNREAD = (
    "How often a reader that sees no image picks the true caption out of its negatives takes some seconds "
    "for each thousand rows: `fdrd audit` on this folder finds out, and puts it here."
)


def markdown(audits: Sequence[Audit]) -> str:
    """The section "Audit" of a dataset card."""
    parts = [
        "## Audit",
        "",
        "Read off the captions and their negatives alone, by `fdrd audit`.",
        "",
    ]
    for title, heads, rows in _tables(audits):
        parts += [f"**{title}**", "", "| " + " | ".join(map(escape, heads)) + " |"]
        parts += ["|---|" + "---:|" * (len(heads) - 1)]
        parts += ["| " + " | ".join(map(escape, row)) + " |" for row in rows]
        parts.append("")
    if any(audit.negatives and audit.blind is None for audit in audits):
        parts += [_UNREAD, ""]
    return "\n".join(parts)


def tables(audits: Sequence[Audit]) -> RenderableType:
    """The same for a terminal."""
    shown = []
    for title, heads, rows in _tables(audits):
        table = Table(title=title, title_justify="left")
        for place, head in enumerate(heads):
            table.add_column(Text(head), justify="right" if place else "left")
        for row in rows:
            table.add_row(*map(Text, row))
        shown.append(table)
    return Group(*shown)


def _tables(audits: Sequence[Audit]) -> list[tuple[str, tuple[str, ...], _Rows]]:
    domains = tuple(audit.domain or "-" for audit in audits)
    found = [
        ("Captions (rows)", ("", *domains), _caption_rows(audits)),
        (
            "Share of captions with an attribute of the type",
            ("type", *domains),
            _coverage_rows(audits),
        ),
    ]
    if any(audit.negatives for audit in audits):
        found.insert(1, ("Negatives (rows / negatives)", ("", *domains), _negative_rows(audits)))
    blind = _blind_rows(audits)
    if blind:
        heads = ("domain", "negatives", "rows", "chance", "words", "context")
        found.insert(2, ("A reader that sees no image picks the true caption", heads, blind))
    return found


def _caption_rows(audits: Sequence[Audit]) -> _Rows:
    return [
        ("rows", *(f"{audit.rows:,}" for audit in audits)),
        ("categories", *(f"{audit.categories:,}" for audit in audits)),
        (
            "rows that share their caption",
            *(f"{audit.sharing:,}" for audit in audits),
        ),
        ("CLIP tokens, mean (estimate)", *(f"{audit.clip_tokens[0]:.1f}" for audit in audits)),
        ("CLIP tokens, most (estimate)", *(f"{audit.clip_tokens[1]}" for audit in audits)),
        *((text, *(f"{audit.flaws[flaw]:,}" for audit in audits)) for flaw, text in FLAWS.items()),
    ]


def _negative_rows(audits: Sequence[Audit]) -> _Rows:
    rows: _Rows = [("negatives", *(f"{audit.negatives:,}" for audit in audits))]
    for flaw, text in NEGATIVE_FLAWS.items():
        counts = (audit.negative_flaws[flaw] for audit in audits)
        rows.append((text, *(f"{rows_with:,} / {number:,}" for rows_with, number in counts)))
    biases = [audit.bias for audit in audits]
    rows.append(("words of a true caption", *(f"{b.true_words:.2f}" if b else "-" for b in biases)))
    rows.append(("words of a negative", *(f"{b.negative_words:.2f}" if b else "-" for b in biases)))
    rows.append(
        (
            "the longest is the true one",
            *(f"{100 * b.longest_is_true:.1f} %" if b else "-" for b in biases),
        )
    )
    rows.append(("more often in true captions", *(_tilted(b.true) if b else "-" for b in biases)))
    rows.append(("more often in negatives", *(_tilted(b.negative) if b else "-" for b in biases)))
    return rows


def _tilted(words: Sequence[tuple[str, float]]) -> str:
    """Words with how many times as often they are there.

    >>> _tilted([("hairless", 2.04), ("a", 1.0)])
    'hairless 2.0 x'
    """
    return ", ".join(f"{word} {factor:.1f} x" for word, factor in words if factor >= _TILT) or "-"


def _blind_rows(audits: Sequence[Audit]) -> _Rows:
    return [
        (
            audit.domain or "-",
            kind,
            f"{readers['words'].rows:,}",
            f"{100 * readers['words'].chance:.1f} %",
            *(
                f"{100 * readers[reader].accuracy:.1f} ± {100 * readers[reader].standard_error:.1f} %"
                for reader in ("words", "context")
            ),
        )
        for audit in audits
        for kind, readers in (audit.blind or {}).items()
    ]


def _coverage_rows(audits: Sequence[Audit]) -> _Rows:
    types = audits[0].coverage if audits else {}
    return [
        (type_, *(f"{100 * audit.coverage[type_]:.0f} %" for audit in audits)) for type_ in types
    ]

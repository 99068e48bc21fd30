r"""Tables as LaTeX, for `\usepackage{booktabs,amssymb}`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from benchmark.reporting.tables import Table
from fdrd.text.markup import visible

_SIGNS = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "<": "$<$",
        ">": "$>$",
        "≥": r"$\geq$",
        "▼": r"$\blacktriangledown$",
        "–": "--",
    }
)


def latex(parts: Sequence[Table | str]) -> str:
    """Return tables as LaTeX; the sentences that follow a table are notes below it, inside its float."""
    tables: list[tuple[Table, list[str]]] = []
    for part in parts:
        if isinstance(part, Table):
            tables.append((part, []))
        else:
            tables[-1][1].append(part)
    labels = [_slug(table.title) for table, _ in tables]
    counts = Counter(labels)
    floats = []
    for index, (label, (table, notes)) in enumerate(zip(labels, tables, strict=True), 1):
        unique = label if counts[label] == 1 else f"{label}-{index}"
        floats.append(_table(table, notes, unique))
    return "\n\n".join(["% \\usepackage{booktabs,amssymb}", *floats]) + "\n"


def _slug(title: str) -> str:
    """Return a title as a label.

    >>> _slug("Birds, test: MRR")
    'birds-test-mrr'
    """
    return "-".join(re.findall(r"[a-z0-9]+", title.lower())[:6]) or "results"


def _table(table: Table, notes: Sequence[str], label: str) -> str:
    def line(cells: Sequence[str], index: int = -1) -> str:
        shown = [
            rf"\textbf{{{_text(cell)}}}" if (index, n) in table.best else _text(cell)
            for n, cell in enumerate(cells)
        ]
        return " & ".join(shown) + r" \\"

    columns = "l" * table.text_columns + "r" * (len(table.head) - table.text_columns)
    lines = [
        r"\begin{table}",
        rf"\caption{{{_text(table.title or 'Results')}}}",
        rf"\label{{tab:{label}}}",
        r"\centering",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *_groups(table.groups),
        line(table.head),
        r"\midrule",
        *(line(row, index) for index, row in enumerate(table.rows)),
        *([r"\midrule", *map(line, table.foot)] if table.foot else []),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\smallskip\footnotesize {_text(note)}" for note in notes),
        r"\end{table}",
    ]
    return "\n".join(lines)


def _groups(groups: Sequence[str]) -> list[str]:
    """Return the line of headings that span several columns, and the rules below it."""
    cells, rules, column = [], [], 1
    for name, members in groupby(groups):
        width = len([*members])
        cells += [rf"\multicolumn{{{width}}}{{c}}{{{_text(name)}}}"] if name else [""] * width
        rules += [rf"\cmidrule(lr){{{column}-{column + width - 1}}}"] if name else []
        column += width
    return [" & ".join(cells) + r" \\", " ".join(rules)] if rules else []


def _text(text: str) -> str:
    r"""Return text with LaTeX's signs escaped.

    >>> print(_text("20 % of a_b"))
    20 \% of a\_b
    """
    return " ".join(visible(text).translate(_SIGNS).split())

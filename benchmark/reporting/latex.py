r"""Tables as LaTeX, for `\usepackage{booktabs,amssymb}`."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.reporting.tables import Table
from fdrd.text.controls import visible

_SIGNS = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "≈": r"$\approx$",
        "≥": r"$\geq$",
        "▼": r"$\blacktriangledown$",
        "–": "--",
    }
)


def latex(parts: Sequence[Table | str]) -> str:
    """Return tables and sentences as LaTeX."""
    return (
        "\n\n".join(_table(part) if isinstance(part, Table) else _text(part) for part in parts)
        + "\n"
    )


def _table(table: Table) -> str:
    def line(cells: Sequence[str], index: int = -1) -> str:
        shown = [
            rf"\textbf{{{_text(cell)}}}" if (index, n) in table.best else _text(cell)
            for n, cell in enumerate(cells)
        ]
        return " & ".join(shown) + r" \\"

    columns = "l" * table.text_columns + "r" * (len(table.head) - table.text_columns)
    body = [line(row, index) for index, row in enumerate(table.rows)]
    foot = [r"\midrule", *map(line, table.foot)] if table.foot else []
    rows = [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        line(table.head),
        r"\midrule",
        *body,
        *foot,
    ]
    caption = [rf"\caption{{{_text(table.title)}}}"] if table.title else []
    lines = [
        r"\begin{table}",
        *caption,
        r"\centering",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _text(text: str) -> str:
    r"""Return text with LaTeX's signs escaped.

    >>> print(_text("20 % of a_b"))
    20 \% of a\_b
    """
    return " ".join(visible(text).translate(_SIGNS).split())

"""Results as one HTML file that needs nothing else: no script, no font, no request.

Every text on it comes from data or options, so every text is escaped, and a policy in the head forbids
what slipped through to run or to load.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from benchmark.reporting.comparison import Comparison, Name, base_to_new, compare, percent_columns
from benchmark.reporting.examples import Example, Examples, examples
from benchmark.reporting.tables import (
    Grid,
    category_grid,
    domain_grid,
    halves_grid,
    interval_grid,
    main_grid,
    negatives_grid,
    rank_grid,
    settings_grid,
)
from benchmark.reporting.wording import (
    HARMONIC,
    SHORT,
    commands,
    gallery,
    heading,
    legend,
    versions,
)
from benchmark.result import BenchResult

HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>Results</title>
<style>
:root { color-scheme: light dark; --line: #8886; --mark: #2a7de11f; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; }
section { margin-bottom: 3rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th { vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
td.best { font-weight: 700; background: var(--mark); }
tr.foot td { font-style: italic; opacity: .8; }
.said, figcaption { font-size: .9em; opacity: .85; }
.examples { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; width: 15rem; }
img { display: block; border-radius: 4px; }
pre { overflow-x: auto; padding: .6rem; border: 1px solid var(--line); border-radius: 4px; }
</style>
</head>
<body>
<h1>Results</h1>
"""


def page(results: Sequence[BenchResult], named: Name | None = None) -> str:
    """The whole page; examples with pictures where the dataset lies on this machine as measured."""
    comparisons = compare(results, percent_columns(), named)
    parts = [HEAD, *map(_comparison, comparisons)]
    for base, new in base_to_new(comparisons):
        grid = halves_grid(base, new)
        parts.append(_section(grid.said, _table(grid), _said(HARMONIC)))
    return "".join([*parts, "</body>\n</html>\n"])


def _comparison(comparison: Comparison) -> str:
    found = examples(comparison)
    return _section(
        heading(comparison.settings),
        _said(gallery(comparison.settings)),
        _table(main_grid(comparison), _best(comparison)),
        _said(legend(comparison)),
        _examples(found) if found else "",
        *(_told(grid(comparison)) for grid in (negatives_grid, domain_grid)),
        _folded(category_grid(comparison)),
        *(_folded(grid(comparison)) for grid in (interval_grid, rank_grid, settings_grid)),
        "<h3>The same numbers again</h3>",
        f"<pre>{escape(chr(10).join(commands(comparison)))}</pre>",
        _said(versions(comparison)),
    )


def _section(title: str, *parts: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{''.join(parts)}</section>\n"


def _said(text: str) -> str:
    return f'<p class="said">{escape(text)}</p>\n'


def _told(grid: Grid | None) -> str:
    return _said(grid.said) + _table(grid) if grid else ""


def _folded(grid: Grid) -> str:
    title = escape(grid.said.rstrip(":"))
    return f"<details>\n<summary>{title}</summary>\n{_table(grid)}</details>\n"


def _table(grid: Grid, best: frozenset[tuple[int, int]] = frozenset()) -> str:
    """A grid; cells of `best` (row, column) stand out."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in grid.head)
    rows = [
        _row(row, [column for at, column in best if at == place])
        for place, row in enumerate(grid.rows)
    ]
    foot = [_row(row, [], ' class="foot"') for row in grid.foot]
    body = "\n".join([*rows, *foot])
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>\n"
    )


def _row(cells: Sequence[str], best: Sequence[int], of_class: str = "") -> str:
    opening = ('<td class="best">' if place in best else "<td>" for place, _ in enumerate(cells))
    written = (f"{tag}{escape(cell)}</td>" for tag, cell in zip(opening, cells, strict=True))
    return f"<tr{of_class}>{''.join(written)}</tr>"


def _best(comparison: Comparison) -> frozenset[tuple[int, int]]:
    """Where the highest number of each column stands, among two methods or more."""
    found = set()
    for column in range(len(percent_columns())):
        cells = [(row.cells[column], place) for place, row in enumerate(comparison.rows)]
        means = [(cell.mean, place) for cell, place in cells if cell is not None]
        highest = max((mean for mean, _ in means), default=0.0)
        found |= {(place, column + 1) for mean, place in means if mean == highest}
    return frozenset(found) if len(comparison.rows) > 1 else frozenset()


def _examples(found: Examples) -> str:
    parts = []
    for title, chosen in (("gains most", found.won), ("loses most", found.lost)):
        if chosen:
            figures = "".join(map(_figure, chosen))
            said = f"Where {found.label} {title} against the best of the others"
            parts.append(f'<h3>{escape(said)}</h3>\n<div class="examples">\n{figures}</div>\n')
    return "".join(parts)


def _figure(example: Example) -> str:
    head = ["rank", *SHORT.values()]
    rows = [
        [name, *(f"{rank:.0f}" if rank == int(rank) else f"{rank:.1f}" for rank in ranks)]
        for name, ranks in example.ranks.items()
    ]
    return (
        f'<figure><img src="{escape(example.picture)}" alt="{escape(example.caption)}">\n'
        f"<figcaption>{escape(example.caption)}</figcaption>\n"
        f"{_table(Grid('', head, rows, []))}</figure>\n"
    )

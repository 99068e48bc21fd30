"""Reports of results: a Markdown page, or one self-contained HTML file.

The HTML has no script, font or request. All text comes from data or options, so all of it is escaped, and
the content policy in the head blocks anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape as html_escape
from pathlib import Path

from benchmark.reporting.comparison import (
    SHORT,
    Comparison,
    Label,
    base_to_new,
    group_results,
    main_columns,
)
from benchmark.reporting.examples import Example, Examples, examples
from benchmark.reporting.result_plots import plots_of
from benchmark.reporting.svg_plots import svg
from benchmark.reporting.tables import (
    HARMONIC,
    Table,
    category_table,
    commands,
    domain_table,
    gallery_text,
    halves_table,
    heading,
    interval_table,
    legend,
    main_table,
    negatives_table,
    rank_table,
    settings_table,
    versions,
)
from benchmark.result import BenchResult, read_results
from fdrd.files.atomic import write_text
from fdrd.text.markup import escape, markdown_table

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
.note, figcaption { font-size: .9em; opacity: .85; }
.examples { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; width: 15rem; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; }
.plots figure { width: min(100%, 30rem); }
.plots svg { width: 100%; height: auto; border-radius: 4px; }
img { display: block; border-radius: 4px; }
pre { overflow-x: auto; padding: .6rem; border: 1px solid var(--line); border-radius: 4px; }
</style>
</head>
<body>
<h1>Results</h1>
"""

DETAILS: tuple[Callable[[Comparison], Table | None], ...] = (
    interval_table,
    rank_table,
    settings_table,
)


def report(
    results: str | Path | Sequence[BenchResult],
    *,
    html: str | Path | None = None,
    named: Label | None = None,
) -> str:
    """Return a report of results as Markdown, or write it as HTML, as `fdrd report` does.

    Args:
        results: a folder of result files, or results.
        html: write an HTML file here instead, and return its text. It adds a table by category, and images
            if the dataset is on this machine as measured.
        named: returns the name of a row.

    Raises:
        FdrdError: the folder holds no results, or a file is invalid.
    """
    found = read_results(Path(results)) if isinstance(results, str | Path) else results
    if html is None:
        return markdown(found, named)
    text = html_page(found, named)
    write_text(Path(html), text)
    return text


def markdown(results: Sequence[BenchResult], named: Label | None = None) -> str:
    """Return a Markdown page with tables, settings, and the commands that repeat the runs."""
    parts = ["# Results"]
    comparisons = group_results(results, main_columns(), named)
    for comparison in comparisons:
        settings = comparison.settings
        parts += [f"## {escape(heading(settings))}", gallery_text(settings)]
        parts += [_markdown(main_table(comparison)), legend(comparison)]
        for build in (negatives_table, domain_table, *DETAILS):
            if table := build(comparison):
                parts += [table.title, _markdown(table)]
        lines = "\n".join(f"$ {line}" for line in commands(comparison))
        parts += ["To repeat these runs:", f"```console\n{lines}\n```", versions(comparison)]
    for base, new in base_to_new(comparisons):
        table = halves_table(base, new)
        parts += [f"## {escape(table.title)}", _markdown(table), HARMONIC]
    return "\n\n".join(parts) + "\n"


def _markdown(table: Table) -> str:
    rows = [[escape(cell) for cell in row] for row in table.rows]
    rows += [[f"*{first}*", *rest] for first, *rest in table.foot]
    return markdown_table([escape(cell) for cell in table.head], rows, text_columns=1)


def html_page(results: Sequence[BenchResult], named: Label | None = None) -> str:
    """Return the HTML page, with example images if the dataset is on this machine as measured."""
    comparisons = group_results(results, main_columns(), named)
    parts = [HEAD, *map(_html_section, comparisons)]
    for base, new in base_to_new(comparisons):
        table = halves_table(base, new)
        parts.append(_section(table.title, _html(table), _note(HARMONIC)))
    return "".join([*parts, "</body>\n</html>\n"])


def _html_section(comparison: Comparison) -> str:
    found = examples(comparison)
    shown = filter(None, (negatives_table(comparison), domain_table(comparison)))
    folded = filter(None, (build(comparison) for build in (category_table, *DETAILS)))
    return _section(
        heading(comparison.settings),
        _note(gallery_text(comparison.settings)),
        _html(main_table(comparison)),
        _note(legend(comparison)),
        _html_plots(comparison),
        _html_examples(found) if found else "",
        *(_note(table.title) + _html(table) for table in shown),
        *(
            f"<details>\n<summary>{html_escape(table.title.rstrip(':'))}</summary>\n"
            f"{_html(table)}</details>\n"
            for table in folded
        ),
        "<h3>To repeat these runs</h3>",
        f"<pre>{html_escape(chr(10).join(commands(comparison)))}</pre>",
        _note(versions(comparison)),
    )


def _section(title: str, *parts: str) -> str:
    return f"<section>\n<h2>{html_escape(title)}</h2>\n{''.join(parts)}</section>\n"


def _note(text: str) -> str:
    return f'<p class="note">{html_escape(text)}</p>\n'


def _html(table: Table) -> str:
    head = "".join(f"<th>{html_escape(cell)}</th>" for cell in table.head)
    rows = []
    for place, row in enumerate(table.rows):
        best = [' class="best"' if (place, n) in table.best else "" for n in range(len(row))]
        rows.append(
            "<tr>"
            + "".join(f"<td{b}>{html_escape(cell)}</td>" for b, cell in zip(best, row, strict=True))
            + "</tr>"
        )
    for row in table.foot:
        cells = "".join(f"<td>{html_escape(cell)}</td>" for cell in row)
        rows.append(f'<tr class="foot">{cells}</tr>')
    body = "\n".join(rows)
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>\n"
    )


def _html_plots(comparison: Comparison) -> str:
    drawn = (
        f"<figure>{svg(plot, standalone=True)}\n<figcaption>{html_escape(plot.title)}</figcaption></figure>\n"
        for plot in plots_of(comparison)
    )
    return f'<details open>\n<summary>Plots</summary>\n<div class="plots">\n{"".join(drawn)}</div></details>\n'


def _html_examples(found: Examples) -> str:
    parts = []
    for title, chosen in (("gains most", found.won), ("loses most", found.lost)):
        if chosen:
            figures = "".join(map(_figure, chosen))
            head = html_escape(f"Where {found.label} {title} against the best of the others")
            parts.append(f'<h3>{head}</h3>\n<div class="examples">\n{figures}</div>\n')
    return "".join(parts)


def _figure(example: Example) -> str:
    rows = [
        [name, *(f"{rank:.0f}" if rank == int(rank) else f"{rank:.1f}" for rank in ranks)]
        for name, ranks in example.ranks.items()
    ]
    caption = html_escape(example.caption)
    return (
        f'<figure><img src="{html_escape(example.image)}" alt="{caption}">\n'
        f"<figcaption>{caption}</figcaption>\n"
        f"{_html(Table('', ['rank', *SHORT.values()], rows))}</figure>\n"
    )

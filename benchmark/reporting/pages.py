"""Reports of results: a Markdown page, one self-contained HTML file, LaTeX tables, or CSV.

The HTML has no script, font or request. All text comes from data or options, so all of it is escaped, and
the content policy in the head blocks anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape as html_escape
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Literal

from benchmark.reporting import sentences, tables
from benchmark.reporting.comparison import Comparison, group_results, heading
from benchmark.reporting.examples import Example, Examples, examples
from benchmark.reporting.latex import latex
from benchmark.reporting.plots import MISSING, can_plot, inline_svg, write_plots
from benchmark.reporting.records import to_csv
from benchmark.reporting.result_plots import named_plots, plots_of
from benchmark.result import BenchResult, open_results
from benchmark.retrieval_metrics import SHORT
from fdrd.files.atomic import write_text
from fdrd.text.controls import escape, fenced, markdown_table, visible

Format = Literal["markdown", "html", "latex", "csv"]
DETAILS = (tables.interval_table, tables.further_table, tables.cost_table, tables.settings_table)


def report(
    results: str | Path | Sequence[str | Path | BenchResult],
    *,
    format: Format = "markdown",
    html: str | Path | None = None,
    figures: str | Path | None = None,
) -> str:
    """Return a report of results, as `fdrd report` prints it.

    Args:
        results: results, result files, and folders of result files.
        format: `markdown` has all tables, `latex` the main ones, `csv` one line per result. `html` adds plots, a
            table by category, and images if the dataset is on this machine as measured.
        html: path of an HTML file to write; its text is returned.
        figures: folder for the plots, each as SVG, PDF and PNG; needs the extra `report`.

    Raises:
        FdrdError: the folder holds no results, or a file is invalid.
    """
    found = open_results(results)
    if figures is not None:
        write_plots(named_plots(found), Path(figures))
    if html is not None:
        text = html_page(found)
        write_text(Path(html), text)
        return text
    if format == "csv":
        return to_csv(found)
    if format == "latex":
        return latex(tables.main_parts(found, tests=True))
    return html_page(found) if format == "html" else markdown(found)


def html_parts(parts: Sequence[tables.Table | str]) -> str:
    """Return tables and sentences as HTML, e.g. for a notebook."""
    return "".join(
        _note(part) if isinstance(part, str) else f"<h3>{_literal(part.title)}</h3>\n{_html(part)}"
        for part in parts
    )


def markdown(results: Sequence[BenchResult]) -> str:
    """Return a Markdown page with tables, settings, and the commands that repeat the runs."""
    comparisons = group_results(results)
    parts = [
        f"# {escape(title(comparisons))}",
        sentences.measured_on(results),
        sentences.definitions(),
    ]
    for comparison in comparisons:
        parts += [f"## {escape(heading(comparison.settings))}", sentences.sizes_text(comparison)]
        parts += [_markdown(tables.main_table(comparison)), escape(sentences.legend(comparison))]
        shown = [
            *tables.significance(comparison),
            *tables.negatives_parts(comparison),
            *tables.pairs_parts(comparison),
        ]
        details = [
            tables.mrr_table("domain", comparison),
            *(build(comparison) for build in DETAILS),
        ]
        shown += [table for table in details if table]
        parts += _markdown_parts(shown, "###")
        lines = "\n".join(f"$ {line}" for line in sentences.commands(comparison))
        parts += [
            "To repeat these runs:",
            fenced(lines, "console"),
            escape(sentences.versions(comparison)),
        ]
    parts += _markdown_parts(tables.summary(comparisons, lambda comparison: []), "##")
    return "\n\n".join(filter(None, parts)) + "\n"


def title(comparisons: Sequence[Comparison]) -> str:
    """Return the title of a report: the datasets that were measured."""
    names = dict.fromkeys(each.settings.data.name for each in comparisons)
    return f"Results on {', '.join(names)}"


def _markdown_parts(parts: Sequence[tables.Table | str], level: str) -> list[str]:
    """Return sentences, and tables with their headings."""
    return [
        escape(part)
        if isinstance(part, str)
        else f"{level} {escape(part.title)}\n\n{_markdown(part)}"
        for part in parts
    ]


def _markdown(table: tables.Table) -> str:
    rows = [[escape(cell) for cell in row] for row in table.rows]
    rows += [[f"*{escape(first)}*", *map(escape, rest)] for first, *rest in table.foot]
    return markdown_table([escape(cell) for cell in table.titles], rows, text_columns=1)


def html_page(results: Sequence[BenchResult]) -> str:
    """Return the HTML page, with example images if the dataset is on this machine as measured."""
    comparisons = group_results(results)
    sections = [_note(f"{sentences.measured_on(results)} {sentences.definitions()}".strip())]
    sections += map(_html_section, comparisons)
    for part in tables.summary(comparisons, lambda comparison: []):
        sections.append(_note(part) if isinstance(part, str) else _section(part.title, _html(part)))
    page = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    return page.substitute(title=_literal(title(comparisons)), sections="".join(sections))


def _html_section(comparison: Comparison) -> str:
    found = examples(comparison)
    shown = [*tables.negatives_parts(comparison), *tables.pairs_parts(comparison)]
    shown += filter(None, [tables.mrr_table("domain", comparison)])
    folded = [tables.mrr_table("category", comparison), *(build(comparison) for build in DETAILS)]
    return _section(
        heading(comparison.settings),
        _note(sentences.sizes_text(comparison)),
        _html(tables.main_table(comparison)),
        _note(sentences.legend(comparison)),
        html_parts(tables.significance(comparison)),
        _details("Plots", _html_plots(comparison), " open"),
        _html_examples(found) if found else "",
        html_parts(shown),
        *(_details(table.title, _html(table)) for table in folded if table),
        "<h3>To repeat these runs</h3>",
        f"<pre>{_literal(chr(10).join(sentences.commands(comparison)))}</pre>",
        _note(sentences.versions(comparison)),
    )


def _html_plots(comparison: Comparison) -> str:
    if not can_plot():
        return _note(MISSING)
    plots = (
        f"<figure>{inline_svg(plot)}\n<figcaption>{_literal(plot.title)}</figcaption></figure>\n"
        for plot in plots_of(comparison)
    )
    return f'<div class="plots">\n{"".join(plots)}</div>'


def _section(title: str, *parts: str) -> str:
    return f"<section>\n<h2>{_literal(title)}</h2>\n{''.join(parts)}</section>\n"


def _details(title: str, content: str, attribute: str = "") -> str:
    summary = f"<summary>{_literal(title)}</summary>"
    return f"<details{attribute}>\n{summary}\n{content}</details>\n"


def _note(text: str) -> str:
    return f'<p class="note">{_literal(text)}</p>\n'


def _html(table: tables.Table) -> str:
    def row(cells: Sequence[str], tag: str = "td", kind: str = "", index: int = -1) -> str:
        marks = [' class="best"' if (index, n) in table.best else "" for n in range(len(cells))]
        shown = (
            f"<{tag}{mark}>{_literal(cell)}</{tag}>"
            for mark, cell in zip(marks, cells, strict=True)
        )
        return f"<tr{kind}>{''.join(shown)}</tr>"

    groups = "".join(
        f'<th colspan="{len([*members])}">{_literal(name)}</th>'
        for name, members in groupby(table.groups[1:])
    )
    body = [row(cells, index=index) for index, cells in enumerate(table.rows)]
    body += [row(cells, kind=' class="foot"') for cells in table.foot]
    lines = "\n".join(body)
    return (
        f'<div class="wide"><table>\n<thead>{f"<tr><th></th>{groups}</tr>" if groups else ""}'
        f"{row(table.head, tag='th')}</thead>\n<tbody>\n{lines}\n</tbody>\n</table></div>\n"
    )


def _html_examples(found: Examples) -> str:
    parts = []
    for title, chosen in (("gains most", found.won), ("loses most", found.lost)):
        if chosen:
            figures = "".join(map(_figure, chosen))
            head = _literal(f"Where {found.label} {title} against the best of the others")
            parts.append(f'<h3>{head}</h3>\n<div class="examples">\n{figures}</div>\n')
    return "".join(parts)


def _figure(example: Example) -> str:
    rows = [
        [name, *(f"{rank:.0f}" if rank == int(rank) else f"{rank:.1f}" for rank in ranks)]
        for name, ranks in example.ranks.items()
    ]
    caption = _literal(example.caption)
    return (
        f'<figure><img src="{_literal(example.image)}" alt="{caption}">\n'
        f"<figcaption>{caption}</figcaption>\n"
        f"{_html(tables.Table('', ['rank', *SHORT.values()], rows))}</figure>\n"
    )


def _literal(text: str) -> str:
    """Return text that HTML shows literally."""
    return html_escape(visible(text))

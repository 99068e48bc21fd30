"""Reports of results: tables of the terminal, Markdown, one self-contained HTML file, LaTeX, CSV or pandas.

The HTML has no script, font or request. All text comes from data or options, so all of it is escaped, and
the content policy in the head blocks anything else.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape as html_escape
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Any, Literal

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from benchmark.rank_metrics import SHORT, Floats, columns
from benchmark.registry import role_of
from benchmark.reporting import tables
from benchmark.reporting.comparison import Comparison, Row, group_results, heading, label
from benchmark.reporting.latex import latex
from benchmark.reporting.plots import (
    MISSING,
    can_plot,
    inline_svg,
    named_plots,
    plots_of,
    write_plots,
)
from benchmark.reporting.tables import Table
from benchmark.result import BenchResult, numbers, open_results
from benchmark.settings import Settings
from fdrd.dataset import Indices, RetrievalDataset, load_view
from fdrd.errors import FdrdError
from fdrd.files.atomic import write_text
from fdrd.text.grid import Grid
from fdrd.text.markup import escape, fenced, markdown_table, visible

Format = Literal["markdown", "html", "latex", "csv"]

EXAMPLES = 3
"""Examples of gains, and of losses."""

SIDE = 128
"""Maximum width and height of an image on a page, in pixels."""


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


def table(results: Sequence[BenchResult]) -> RenderableType:
    """Return the main numbers of each comparison for `rich`: one line per method, the best MRR first."""
    return rendered(tables.main_parts(results))


def rendered(parts: Sequence[Table | str]) -> Group:
    """Return tables and sentences for `rich`, with an empty line before each table."""
    shown: list[RenderableType] = []
    for part in parts:
        if isinstance(part, str):
            shown.append(Text(part, style="dim"))
        else:
            rows = [*part.rows, *part.foot]
            shown += [Text(""), Grid(part.titles, rows, part.title, part.best, len(part.foot))]
    return Group(*shown)


def to_csv(results: Sequence[BenchResult]) -> str:
    """Return one line per result as CSV, with a header line. No name is a formula of a spreadsheet."""
    rows, text = [_record(each) for each in results], io.StringIO()
    names = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, [*names], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def to_pandas(results: Sequence[BenchResult]) -> Any:
    """Return a pandas DataFrame with a row per result. Metrics are fractions, times are seconds."""
    import pandas

    return pandas.DataFrame.from_records([_record(each) for each in results])


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return visible(f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value)


def _record(result: BenchResult) -> dict[str, Any]:
    """Return a flat record; values that do not apply are None."""
    settings, fit, tuning = result.settings, result.fit, result.tuning
    return {
        "row": label(settings),
        "method": settings.method,
        "data": settings.data.name,
        "domain": settings.domain,
        "split": settings.split,
        "half": settings.half,
        "gallery": settings.gallery,
        "backbone": settings.backbone.name,
        "shots": settings.shots,
        "seed": settings.seed,
        "options": json.dumps(settings.options, sort_keys=True),
        "train": json.dumps(vars(settings.train), sort_keys=True) if settings.train else None,
        "learned_parameters": result.learned_parameters,
        "steps": fit.steps if fit else None,
        "pairs_seen": fit.pairs if fit else None,
        "best_step": fit.best_step if fit else None,
        "tuning_trials": tuning.trials if tuning else None,
        "tuning_steps": tuning.steps if tuning else None,
        "peak_megabytes": result.peak_megabytes,
        **{f"seconds_{name}": value for name, value in result.seconds.items()},
        **{each.title: each.value(result.metrics) for each in columns()},
    }


def title(comparisons: Sequence[Comparison]) -> str:
    """Return the title of a report: the datasets that were measured."""
    names = dict.fromkeys(each.settings.data.name for each in comparisons)
    return f"Results on {', '.join(names)}"


def _details(comparison: Comparison) -> list[Table]:
    return [
        tables.interval_table(comparison),
        tables.further_table(comparison),
        tables.cost_table(comparison),
        tables.settings_table(comparison),
    ]


def _other_measures(comparison: Comparison) -> list[Table | str]:
    """Return hard negatives, natural pairs, and the MRR by domain."""
    by_domain = tables.mrr_table("domain", comparison)
    negatives, pairs = tables.negatives_parts(comparison), tables.pairs_parts(comparison)
    return [*negatives, *pairs, *by_domain]


def markdown(results: Sequence[BenchResult]) -> str:
    """Return a Markdown page with tables, settings, and the commands that repeat the runs."""
    comparisons = group_results(results)
    parts = [
        f"# {escape(title(comparisons))}",
        tables.measured_on(results),
        tables.DEFINITIONS,
    ]
    for comparison in comparisons:
        commands = "\n".join(f"$ {line}" for line in tables.commands(comparison))
        shown = [*tables.significance(comparison), *_other_measures(comparison)]
        parts += [
            f"## {escape(heading(comparison.settings))}",
            tables.sizes_text(comparison),
            _markdown(tables.main_table(comparison)),
            escape(tables.legend(comparison)),
            *_markdown_parts([*shown, *_details(comparison)], "###"),
            "To repeat these runs:",
            fenced(commands, "console"),
            escape(tables.versions(comparison)),
        ]
    parts += _markdown_parts(tables.summary(comparisons), "##")
    return "\n\n".join(filter(None, parts)) + "\n"


def _markdown_parts(parts: Sequence[Table | str], level: str) -> list[str]:
    """Return sentences, and tables with their headings."""
    return [
        escape(part)
        if isinstance(part, str)
        else f"{level} {escape(part.title)}\n\n{_markdown(part)}"
        for part in parts
    ]


def _markdown(table: Table) -> str:
    rows = [[escape(cell) for cell in row] for row in table.rows]
    rows += [[f"*{escape(first)}*", *map(escape, rest)] for first, *rest in table.foot]
    return markdown_table([escape(cell) for cell in table.titles], rows, text_columns=1)


def html_parts(parts: Sequence[Table | str]) -> str:
    """Return tables and sentences as HTML, e.g. for a notebook."""
    return "".join(
        _note(part) if isinstance(part, str) else f"<h3>{_literal(part.title)}</h3>\n{_html(part)}"
        for part in parts
    )


def html_page(results: Sequence[BenchResult]) -> str:
    """Return the HTML page, with example images if the dataset is on this machine as measured."""
    comparisons = group_results(results)
    sections = [_note(f"{tables.measured_on(results)} {tables.DEFINITIONS}".strip())]
    sections += map(_html_section, comparisons)
    for part in tables.summary(comparisons):
        sections.append(_note(part) if isinstance(part, str) else _section(part.title, _html(part)))
    page = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    return page.substitute(title=_literal(title(comparisons)), sections="".join(sections))


def _html_section(comparison: Comparison) -> str:
    plots = _note(MISSING)
    if can_plot():
        figures = (
            f"<figure>{inline_svg(plot)}\n<figcaption>{_literal(plot.title)}</figcaption></figure>\n"
            for plot in plots_of(comparison)
        )
        plots = f'<div class="plots">\n{"".join(figures)}</div>'
    folded = [*tables.mrr_table("category", comparison), *_details(comparison)]
    return _section(
        heading(comparison.settings),
        _note(tables.sizes_text(comparison)),
        _html(tables.main_table(comparison)),
        _note(tables.legend(comparison)),
        html_parts(tables.significance(comparison)),
        _folded("Plots", plots, " open"),
        *(
            f'<h3>{_literal(head)}</h3>\n<div class="examples">\n{"".join(map(_figure, chosen))}</div>\n'
            for head, chosen in examples(comparison).items()
        ),
        html_parts(_other_measures(comparison)),
        *(_folded(table.title, _html(table)) for table in folded),
        "<h3>To repeat these runs</h3>",
        f"<pre>{_literal(chr(10).join(tables.commands(comparison)))}</pre>",
        _note(tables.versions(comparison)),
    )


def _section(title: str, *parts: str) -> str:
    return f"<section>\n<h2>{_literal(title)}</h2>\n{''.join(parts)}</section>\n"


def _folded(title: str, content: str, attribute: str = "") -> str:
    summary = f"<summary>{_literal(title)}</summary>"
    return f"<details{attribute}>\n{summary}\n{content}</details>\n"


def _note(text: str) -> str:
    return f'<p class="note">{_literal(text)}</p>\n'


def _html(table: Table) -> str:
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


@dataclass(frozen=True)
class Example:
    """An image with one of its captions, and their ranks under each method.

    Attributes:
        image: a JPEG as a data URI.
        caption: caption of the image's first row.
        ranks: ranks in both directions by row label, means over seeds.
    """

    image: str
    caption: str
    ranks: dict[str, tuple[float, ...]]


def examples(comparison: Comparison) -> dict[str, list[Example]]:
    """Return where the method with the highest MRR gains and loses most against the best of all others, by heading.

    Nothing for a single method, or if the measured dataset is not on this machine.
    """
    rows = [row for row in comparison.rows if role_of(row.method) != "floor"]
    dataset = _measured_dataset(comparison.settings) if len(rows) > 1 else None
    if dataset is None:
        return {}
    subject = max(rows, key=lambda row: row.mrr("mean"))
    image_of_row = numbers(rows[0].results[0].queries.image_of_row)
    others = [_gains(row, image_of_row) for row in rows if row is not subject]
    margin = _gains(subject, image_of_row) - np.max(others, axis=0)
    order = np.argsort(-margin, kind="stable")

    def example(image: int) -> Example:
        first = int(np.flatnonzero(image_of_row == image)[0])
        queries = {"image_to_text": image, "text_to_image": first}
        ranks = {
            row.label: tuple(float(row.mean_ranks(way)[n]) for way, n in queries.items())
            for row in comparison.rows
        }
        (pixels,) = dataset.images([image])
        small = pixels.convert("RGB")
        small.thumbnail((SIDE, SIDE))
        file = io.BytesIO()
        small.save(file, "JPEG", quality=80)
        uri = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
        return Example(uri, dataset.captions[dataset.pairs[first, 1]], ranks)

    where = {
        "gains": [n for n in order[:EXAMPLES].tolist() if margin[n] > 0],
        "loses": [n for n in order[::-1][:EXAMPLES].tolist() if margin[n] < 0],
    }
    return {
        f"Where {subject.label} {verb} most against the best of the others": [*map(example, images)]
        for verb, images in where.items()
        if images
    }


def _measured_dataset(settings: Settings) -> RetrievalDataset | None:
    """Return the measured split if an unchanged copy is in a local folder; never from the Hub."""
    if not (Path(settings.data.name) / "manifest.json").is_file():
        return None
    try:
        found = load_view(settings.data.name, settings.split, settings.domain)
    except FdrdError:
        return None
    return found if found.fingerprint == settings.data.fingerprint else None


def _gains(row: Row, image_of_row: Indices) -> Floats:
    """Return (I,) the mean of each image's reciprocal rank as a query and that of its captions."""
    by_image, by_row = row.reciprocals()
    captions = np.bincount(image_of_row, weights=by_row) / np.bincount(image_of_row)
    return np.asarray((by_image + captions) / 2)


def _figure(example: Example) -> str:
    rows = [
        [name, *(f"{rank:.0f}" if rank == int(rank) else f"{rank:.1f}" for rank in ranks)]
        for name, ranks in example.ranks.items()
    ]
    caption = _literal(example.caption)
    return (
        f'<figure><img src="{_literal(example.image)}" alt="{caption}">\n'
        f"<figcaption>{caption}</figcaption>\n"
        f"{_html(Table('', ['rank', *SHORT.values()], rows))}</figure>\n"
    )


def _literal(text: str) -> str:
    """Return text that HTML shows literally."""
    return html_escape(visible(text))

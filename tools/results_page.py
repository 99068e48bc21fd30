"""Write tables and figures of docs/results.md from result files, and keep their numbers as CSV in docs/results/.

python tools/results_page.py RUNS NAME      # numbers of the runs in a folder to docs/results/NAME*.csv
python tools/results_page.py                # tables and figures of the page from the CSV files
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from fdrd.text.markup import markdown_table

if TYPE_CHECKING:
    from benchmark.reporting.plots import Plot
    from benchmark.result import BenchResult

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
FOLDER = PAGE.parent / "results"
ALL = "all"
FIGURES = {"photographs": "base", "drawings": "-"}
"""Half of the rows that each figure shows."""

BASES = ("dcar_plus", "dcar_tuned", "whole")
"""Rows that the others are compared with, the last in the ablation."""

METRICS = (
    *(f"{way} {name}" for way in ("I2T", "T2I") for name in ("R@1", "R@5", "R@10")),
    *("MRR", "category pairs group", "attribute pairs group"),
)
"""Columns of the CSV files, fractions."""

Rows = list[dict[str, str]]


def collect(runs: Path, name: str) -> None:
    """Write one CSV row per run, and the paired differences to each of `BASES`."""
    from benchmark.result import open_results

    results, rows = open_results([runs]), []
    for result in results:
        settings, fit = result.settings, result.fit
        options = ", ".join(f"{k}={v}" for k, v in sorted(settings.options_given.items()))
        label = settings.label or f"{settings.method} {options}".strip()
        row: dict[str, object] = {"method": label, "shots": settings.shots or ALL}
        row |= {"half": settings.half or "", "seed": settings.seed or 0}
        row |= {"parameters": result.learned_parameters}
        row |= {"steps": fit.steps if fit else 0, "pairs seen": fit.pairs if fit else 0}
        row["seconds"] = f"{result.seconds['fit']:.1f}" if settings.train else ""
        rows.append(row | {metric: _measured(result, metric) for metric in METRICS})
    key = ("half", "shots", "method", "seed")
    _write(FOLDER / f"{name}.csv", sorted(rows, key=lambda row: [str(row[name]) for name in key]))
    _write(FOLDER / f"{name}-differences.csv", [*_differences(results)])


def _differences(results: Sequence[BenchResult]) -> Iterator[dict[str, object]]:
    """Yield the paired differences to each of `BASES`, with equally many images per category."""
    from benchmark.reporting.comparison import label, verdict
    from benchmark.results import compare

    for half, shots in dict.fromkeys((r.settings.half, r.settings.shots) for r in results):
        some = [r for r in results if (r.settings.half, r.settings.shots) == (half, shots)]
        suffix = f" (shots={shots})"
        for base in sorted({label(r.settings) for r in some}):
            if base.removesuffix(suffix) not in BASES:
                continue
            for tested in compare(some, base).comparisons:
                for row, parts in zip(tested.others, tested.differences, strict=True):
                    found = parts["mean"]
                    low, high = found.over_seeds or found.interval
                    values = {"difference": found.value, "low": low, "high": high, "p": found.holm}
                    yield {
                        **{"method": row.label.removesuffix(suffix), "shots": shots or ALL},
                        **{"half": half or "", "base": base.removesuffix(suffix)},
                        **{name: f"{value:.4f}" for name, value in values.items()},
                        "verdict": verdict(found),
                    }


def main_table(rows: Rows, shots: str) -> str:
    """Return the table of one number of images per category, the best MRR first."""
    shown = []
    for (method, of_runs), runs in _runs(rows).items():
        if of_runs == shots:
            numbers = [_percent(runs, metric) for metric in METRICS if metric != "MRR"]
            counts = [int(runs[0][name]) for name in ("parameters", "steps", "pairs seen")]
            cells = [f"{count:,}" if count else "–" for count in counts]
            recalls = [" / ".join(numbers[:3]), " / ".join(numbers[3:6])]
            shown.append([method, *cells, *recalls, _spread(runs), *numbers[6:]])
    head = ["method", "parameters", "steps", "pairs seen", "I2T R@1 / 5 / 10", "T2I R@1 / 5 / 10"]
    head += ["MRR", "category pairs", "attribute pairs"]
    return markdown_table(head, sorted(shown, key=lambda row: -_number(row[6])), 1)


def shots_table(rows: Rows) -> str:
    """Return the mean MRR by images per category."""
    return _by_shots({key: _spread(runs) for key, runs in _runs(rows).items()})


def differences_table(rows: Rows, base: str) -> str:
    """Return the differences of the mean MRR to a row with their intervals, and a mark where none is shown."""
    cells = {}
    for row in rows:
        if row["base"] != base:
            continue
        value, low, high = (100 * float(row[name]) for name in ("difference", "low", "high"))
        mark = " =" if row["verdict"] == "no difference shown" else ""
        cells[row["method"], row["shots"]] = f"{value:+.1f} ({low:+.1f} to {high:+.1f}){mark}"
    return _by_shots(cells)


def _by_shots(cells: Mapping[tuple[str, str], str]) -> str:
    """Return a table of cells by method and images per category, the highest with the most images first."""
    counts = _counts(cells)
    methods = dict.fromkeys(method for method, _ in cells)
    lines = [[method, *(cells.get((method, shots), "–") for shots in counts)] for method in methods]
    lines.sort(key=lambda line: [-_number(cell) for cell in reversed(line[1:])])
    return markdown_table(("method", *counts), lines, 1)


def _number(cell: str) -> float:
    return -inf if cell == "–" else float(cell.split()[0])


def _counts(keys: Iterable[tuple[str, str]]) -> list[str]:
    """Return the numbers of images per category of keys of `_runs`, `all` last."""
    return sorted({shots for _, shots in keys}, key=lambda each: (each == ALL, each.zfill(4)))


def plot(rows: Rows, name: str) -> Plot:
    """Return the MRR by images per category, with bands; a method without training is a line from end to end."""
    from benchmark.reporting.plots import Plot, Series

    runs = _runs(rows)
    counts = _counts(runs)
    few = [float(shots) for shots in counts if shots != ALL]
    x = dict(zip(counts, [*few, 2 * max(few)], strict=True))
    series = []
    for color, method in enumerate(sorted({method for method, _ in runs}, reverse=True)):
        values = {n: _mrr(runs[method, n]) for n in counts if (method, n) in runs}
        means = [fmean(each) for each in values.values()]
        if [*values] == [ALL]:
            series.append(Series(method, means * 2, color, [min(x.values()), x[ALL]], marks=False))
            continue
        spread = [stdev(each) if len(each) > 1 else 0.0 for each in values.values()]
        series.append(Series(method, means, color, [x[shots] for shots in values], spread))
    title = f"MRR by images per category, {name}"
    axes = ("training images per category", "MRR in percent")
    return Plot(name, title, [*x.values()], series, *axes, log=True, names={x[ALL]: ALL})


def draw(folder: Path) -> None:
    """Write the figures of the page into a folder."""
    from benchmark.reporting.plots import plot_bytes

    for name, half in FIGURES.items():
        image = plot_bytes(plot(numbers(name, half), name), "svg")
        (folder / f"results_{name}.svg").write_bytes(image)


def page(text: str) -> str:
    """Return the page with its tables, each after `<!-- table: KIND NAME HALF SHOTS-OR-BASE -->`, written anew."""

    def table(match: re.Match[str]) -> str:
        kind, name, half, shots = match[1].split()
        rows = numbers(f"{name}-differences" if kind == "differences" else name, half)
        made = {
            "main": lambda: main_table(rows, shots),
            "shots": lambda: shots_table(rows),
            "differences": lambda: differences_table(rows, shots),
        }[kind]()
        return f"<!-- table: {match[1]} -->\n{made}\n<!-- end -->"

    return re.sub(r"<!-- table: ([^>]+) -->\n.*?<!-- end -->", table, text, flags=re.DOTALL)


def numbers(name: str, half: str) -> Rows:
    """Return the rows of a CSV file, of `base` or `new` categories, or with `-` those without halves."""
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["half"] == half.strip("-")]


def _runs(rows: Rows) -> dict[tuple[str, str], Rows]:
    """Return the runs of each method and number of images per category."""
    found: dict[tuple[str, str], Rows] = {}
    for row in rows:
        found.setdefault((row["method"], row["shots"]), []).append(row)
    return found


def _measured(result: BenchResult, metric: str) -> str:
    try:
        return f"{result[metric]:.4f}"
    except KeyError:  # a split without natural pairs
        return ""


def _percent(runs: Rows, metric: str) -> str:
    if not all(run[metric] for run in runs):
        return "–"
    return f"{100 * fmean(float(run[metric]) for run in runs):.1f}"


def _mrr(runs: Rows) -> list[float]:
    return [100 * float(run["MRR"]) for run in runs]


def _spread(runs: Rows) -> str:
    values = _mrr(runs)
    return f"{fmean(values):.1f}" + (f" ±{stdev(values):.1f}" if len(values) > 1 else "")


def _write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        collect(Path(sys.argv[1]), sys.argv[2])
    else:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        draw(PAGE.parent / "images")

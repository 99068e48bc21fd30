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
        row: dict[str, object] = {
            "method": label,
            "shots": settings.shots or ALL,
            "half": settings.half or "",
        }
        row |= {"seed": settings.seed or 0, "parameters": result.learned_parameters}
        row |= {"steps": fit.steps if fit else 0, "pairs seen": fit.pairs if fit else 0}
        row["seconds"] = f"{result.seconds['fit']:.1f}" if settings.train else ""
        rows.append(row | {metric: _measured(result, metric) for metric in METRICS})
    key = ("half", "shots", "method", "seed")
    _write(FOLDER / f"{name}.csv", sorted(rows, key=lambda row: [str(row[name]) for name in key]))
    _write(FOLDER / f"{name}-differences.csv", [*_differences(results)])


def _differences(results: Sequence[BenchResult]) -> Iterator[dict[str, object]]:
    """Yield the paired differences to each of `BASES`, with equally many images per category."""
    from benchmark.reporting.comparison import label, verdict
    from benchmark.reporting.significance import compare

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
    for method, runs in _by_method(rows, shots):
        first = runs[0]
        numbers = [_percent(runs, metric) for metric in METRICS if metric != "MRR"]
        cells = [_thousands(first[name]) for name in ("parameters", "steps", "pairs seen")]
        recalls = [" / ".join(numbers[:3]), " / ".join(numbers[3:6])]
        shown.append([method, *cells, *recalls, _spread(runs), *numbers[6:]])
    head = ["method", "parameters", "steps", "pairs seen", "I2T R@1 / 5 / 10", "T2I R@1 / 5 / 10"]
    head += ["MRR", "category pairs", "attribute pairs"]
    return markdown_table(head, sorted(shown, key=lambda row: -float(row[6].split()[0])), 1)


def shots_table(rows: Rows) -> str:
    """Return the mean MRR by images per category."""
    counts = sorted({row["shots"] for row in rows}, key=_few_first)
    methods = list(dict.fromkeys(row["method"] for row in rows))
    cells = {
        (method, shots): _spread(runs)
        for shots in counts
        for method, runs in _by_method(rows, shots)
    }
    lines = [[method, *(cells.get((method, shots), "–") for shots in counts)] for method in methods]
    lines.sort(key=lambda line: [-_number(cell) for cell in reversed(line[1:])])
    return markdown_table(("method", *counts), lines, 1)


def _number(cell: str) -> float:
    return -inf if cell == "–" else float(cell.split()[0])


def _few_first(shots: str) -> tuple[bool, str]:
    return shots == ALL, shots.zfill(4)


def differences_table(rows: Rows, base: str) -> str:
    """Return the differences of the mean MRR to a row with their intervals, and a mark where none is shown."""
    rows = [row for row in rows if row["base"] == base]
    counts = sorted({row["shots"] for row in rows}, key=_few_first)
    lines: dict[str, list[str]] = {}
    for row in rows:
        cells = lines.setdefault(row["method"], ["–"] * len(counts))
        value, low, high = (100 * float(row[name]) for name in ("difference", "low", "high"))
        open_ = " =" if row["verdict"] == "no difference shown" else ""
        cells[counts.index(row["shots"])] = f"{value:+.1f} ({low:+.1f} to {high:+.1f}){open_}"
    shown = sorted(lines.items(), key=lambda line: [-_number(c) for c in reversed(line[1])])
    return markdown_table(("method", *counts), [[name, *cells] for name, cells in shown], 1)


def plot(rows: Rows, name: str) -> Plot:
    """Return the MRR by images per category, with bands; a method without training is a line from end to end."""
    from benchmark.reporting.plots import Plot, Series

    counts = sorted({row["shots"] for row in rows}, key=_few_first)
    few = [float(shots) for shots in counts if shots != ALL]
    x = dict(zip(counts, [*few, 2 * max(few)], strict=True))
    series = []
    for color, method in enumerate(sorted({row["method"] for row in rows}, reverse=True)):
        runs = {
            shots: found for shots in counts if (found := dict(_by_method(rows, shots)).get(method))
        }
        values = {s: [100 * float(run["MRR"]) for run in found] for s, found in runs.items()}
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
    return [row for row in _read(FOLDER / f"{name}.csv") if row["half"] == half.strip("-")]


def _by_method(rows: Rows, shots: str) -> Iterable[tuple[str, Rows]]:
    chosen: dict[str, Rows] = {}
    for row in rows:
        if row["shots"] == shots:
            chosen.setdefault(row["method"], []).append(row)
    return chosen.items()


def _measured(result: BenchResult, metric: str) -> str:
    try:
        return f"{result[metric]:.4f}"
    except KeyError:  # a split without natural pairs
        return ""


def _percent(runs: Rows, metric: str) -> str:
    if not all(run[metric] for run in runs):
        return "–"
    return f"{100 * fmean(float(run[metric]) for run in runs):.1f}"


def _spread(runs: Rows) -> str:
    values = [100 * float(run["MRR"]) for run in runs]
    return f"{fmean(values):.1f}" + (f" ±{stdev(values):.1f}" if len(values) > 1 else "")


def _thousands(number: str) -> str:
    return f"{int(number):,}" if int(number) else "–"


def _read(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


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

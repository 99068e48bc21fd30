"""Write the tables of docs/results.md from result files, and keep their numbers as CSV in docs/results/.

python tools/results_page.py RUNS NAME      # numbers of the runs in a folder to docs/results/NAME*.csv
python tools/results_page.py                # the tables of the page from the CSV files
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from fdrd.text.markup import markdown_table

if TYPE_CHECKING:
    from benchmark.result import BenchResult

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
FOLDER = PAGE.parent / "results"
ALL = "all"
METRICS = (
    *(f"{way} {name}" for way in ("I2T", "T2I") for name in ("R@1", "R@5", "R@10")),
    *("MRR", "category pairs group", "attribute pairs group"),
)
"""Columns of the CSV files, fractions."""

Rows = list[dict[str, str]]


def collect(runs: Path, name: str) -> None:
    """Write one CSV row per run, and the paired differences to `dcar_plus`."""
    from benchmark.result import open_results

    results, rows = open_results([runs]), []
    for result in results:
        settings, steps = result.settings, result.fit.steps if result.fit else 0
        batch = settings.train.batch_size if settings.train else 0
        options = ", ".join(f"{k}={v}" for k, v in sorted(settings.options_given.items()))
        label = settings.label or f"{settings.method} {options}".strip()
        numbers = {metric: _measured(result, metric) for metric in METRICS}
        rows.append({
            "method": label, "shots": settings.shots or ALL, "half": settings.half or "", "seed": settings.seed or 0,
            "parameters": result.learned_parameters, "steps": steps, "pairs seen": steps * batch,
            "seconds": f"{result.seconds['fit']:.1f}" if settings.train else "", **numbers,
        })  # fmt: skip
    key = ("half", "shots", "method", "seed")
    _write(FOLDER / f"{name}.csv", sorted(rows, key=lambda row: [str(row[name]) for name in key]))
    _write(FOLDER / f"{name}-differences.csv", [*_differences(results)])


def _differences(results: Sequence[BenchResult]) -> Iterator[dict[str, object]]:
    """Yield the paired differences to `dcar_plus`, with equally many images per category."""
    from benchmark.reporting.comparison import label
    from benchmark.reporting.significance import compare, verdict

    for half, shots in dict.fromkeys((r.settings.half, r.settings.shots) for r in results):
        some = [r for r in results if (r.settings.half, r.settings.shots) == (half, shots)]
        against = {label(r.settings) for r in some if r.settings.method == "dcar_plus"}
        for tested in compare(some, *against).comparisons:
            for row, parts in zip(tested.others, tested.differences, strict=True):
                found = parts["mean"]
                low, high = found.over_seeds or found.interval
                yield {
                    "method": row.label.removesuffix(f" (shots={shots})"), "shots": shots or ALL, "half": half or "",
                    "difference": f"{found.value:.4f}", "low": f"{low:.4f}", "high": f"{high:.4f}",
                    "p": f"{found.holm:.4f}", "verdict": verdict(found),
                }  # fmt: skip


def main_table(rows: Rows, shots: str) -> str:
    """Return the table of one number of images per category, the best MRR first."""
    shown = []
    for method, runs in _by_method(rows, shots):
        first = runs[0]
        numbers = [_percent(runs, metric) for metric in METRICS if metric != "MRR"]
        cells = [_thousands(first[name]) for name in ("parameters", "steps", "pairs seen")]
        recalls = [" / ".join(numbers[:3]), " / ".join(numbers[3:6])]
        shown.append([method, *cells, *recalls, _spread(runs), *numbers[6:]])
    head = (
        "method", "parameters", "steps", "pairs seen", "I2T R@1 / 5 / 10", "T2I R@1 / 5 / 10", "MRR",
        "category pairs", "attribute pairs",
    )  # fmt: skip
    return markdown_table(head, sorted(shown, key=lambda row: -float(row[6].split()[0])), 1)


def shots_table(rows: Rows) -> str:
    """Return the mean MRR by images per category."""
    counts = sorted(
        {row["shots"] for row in rows}, key=lambda shots: (shots == ALL, shots.zfill(4))
    )
    methods = list(dict.fromkeys(row["method"] for row in rows))
    cells = {
        (method, shots): _spread(runs)
        for shots in counts
        for method, runs in _by_method(rows, shots)
    }
    lines = [[method, *(cells.get((method, shots), "–") for shots in counts)] for method in methods]
    lines.sort(key=lambda line: -float(line[-1].split()[0]))
    return markdown_table(("method", *counts), lines, 1)


def differences_table(rows: Rows) -> str:
    """Return the differences of the mean MRR to `dcar_plus`."""
    lines = [
        [
            row["method"],
            row["shots"],
            f"{100 * float(row['difference']):+.1f}",
            f"{100 * float(row['low']):+.1f} to {100 * float(row['high']):+.1f}",
            row["verdict"],
        ]
        for row in sorted(rows, key=lambda row: (row["shots"] == ALL, row["shots"].zfill(4)))
    ]
    head = ("method", "images", "difference", "95 % interval", "verdict")
    return markdown_table(head, lines, 1)


def page(text: str) -> str:
    """Return the page with its tables, each after `<!-- table: KIND NAME HALF SHOTS -->`, written anew."""

    def table(match: re.Match[str]) -> str:
        kind, name, half, shots = match[1].split()
        suffix = "-differences" if kind == "differences" else ""
        rows = [
            row for row in _read(FOLDER / f"{name}{suffix}.csv") if row["half"] in half.split("|")
        ]
        if half == "-":
            rows = [row for row in _read(FOLDER / f"{name}{suffix}.csv") if not row["half"]]
        made = {
            "main": lambda: main_table(rows, shots),
            "shots": lambda: shots_table(rows),
            "differences": lambda: differences_table(rows),
        }[kind]()
        return f"<!-- table: {match[1]} -->\n{made}\n<!-- end -->"

    return re.sub(r"<!-- table: ([^>]+) -->\n.*?<!-- end -->", table, text, flags=re.DOTALL)


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

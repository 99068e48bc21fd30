"""Try settings of methods on the validation split, and report the best.

    python tools/tune.py trials.toml --data data/fdrd --results trials/
    python tools/tune.py trials.toml --data data/fdrd --results trials/ --measure data/fdrd --seeds 3

The plan lists the settings of each method: `[[coop]]` with the values of `-M` and `-T` of `fdrd bench`. All result
files in the folder count as trials, those of earlier plans too. Finished trials are not repeated, killed ones resume.
With `--measure` the best setting of each method is trained again and measured on a test split, even of other data.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import benchmark
from benchmark.result import DIRECTIONS, BenchResult, read_results
from benchmark.runner import open_backbone
from fdrd.errors import FdrdError


def main() -> None:
    """Run the trials without a result, then print all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("plan", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--backbone")
    parser.add_argument("--results", type=Path, default=Path("trials"))
    parser.add_argument("--method", action="append", help="only these of the plan")
    parser.add_argument("--categories", type=Path)
    parser.add_argument("--shots", type=int)
    parser.add_argument("--gallery", type=int)
    parser.add_argument("--measure", metavar="DATA", help="measure the best of each method here")
    parser.add_argument("--seeds", type=int, default=3, help="of that measurement")
    given = parser.parse_args()

    plan: dict[str, list[dict[str, Any]]] = tomllib.loads(given.plan.read_text())
    tower = open_backbone(given.backbone, given.data, allow_code=given.backbone is not None)
    asked = {
        "split": "validation",
        "backbone": tower,
        "categories": benchmark.read_categories(given.categories) if given.categories else None,
        "shots": given.shots,
        "gallery": given.gallery or "domain",
        "results": given.results,
    }
    for method in given.method or plan:
        for trial in plan[method]:
            try:
                result = benchmark.run(
                    method, given.data, options=trial.get("M"), train=trial.get("T"), **asked
                )
                print(describe(result), flush=True)
            except FdrdError as error:
                print(f"{method} {trial}: {error}", file=sys.stderr, flush=True)
    results = read_results(given.results)
    tried = [each for each in results if each.settings.split == "validation"]
    print(table(tried))
    if given.measure:
        asked["split"] = "test"
        for method in given.method or plan:
            best = max((each for each in tried if each.settings.method == method), key=mrr)
            for seed in range(given.seeds):
                result = benchmark.run(
                    method,
                    given.measure,
                    seed=seed,
                    options=best.settings.options_given,
                    train=best.settings.train_given,
                    **asked,
                )
                print(describe(result), flush=True)
                if result.settings.seed is None:
                    break  # other seeds give the same numbers


def mrr(result: BenchResult) -> float:
    """Return the mean MRR of both directions, which also selects epochs."""
    ways = [getattr(result.metrics, way).strict.mrr for way in DIRECTIONS]
    return float(sum(ways) / len(ways))


def describe(result: BenchResult) -> str:
    """Describe a trial in one line."""
    settings = result.settings
    options = {**settings.options_given, **{f"-T {k}": v for k, v in settings.train_given.items()}}
    epochs = f"epoch {result.fit.best_epoch} of {len(result.fit.epochs)}" if result.fit else ""
    spent = f"{result.seconds['fit']:.0f} s"
    return f"{100 * mrr(result):6.2f}  {settings.method}  {options}  {epochs}  {spent}"


def table(results: list[BenchResult]) -> str:
    """List the trials of each method, best first."""
    tried: dict[str, list[BenchResult]] = defaultdict(list)
    for result in results:
        tried[result.settings.method].append(result)
    lines = []
    for method, found in sorted(tried.items()):
        lines.append(f"{method}: {len(found)} trials")
        lines += [describe(each) for each in sorted(found, key=lambda r: -mrr(r))]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""Print the results of `fdrd bench`, `fdrd run` and `fdrd demo`, and raise the errors of what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fdrd.commands.console import out, print_hint, print_json, print_report
from fdrd.errors import FdrdError


def print_results(outcome: Any, results: Path | str, json: bool) -> None:
    """Print the results as a table and the next commands, or as JSON."""
    from benchmark.reporting.terminal import table

    if json:
        print_json([result.to_dict() for result in outcome.results])
    elif outcome.results:
        print_report(table(outcome.results))
        _print_few_images(outcome.results)
        print_hint(f"\nNext:  fdrd report {results}        fdrd compare {results}")


def _print_few_images(results: Iterable[Any]) -> None:
    """Say which domains are too small to measure, once for each split."""
    from benchmark.intervals import few_images
    from benchmark.result import query_groups

    counts: dict[str, dict[str, int]] = {}
    for result in results:
        images = Counter(query_groups(result).domain_of_image.tolist())
        of_split = counts.setdefault(result.settings.split, {})
        of_split |= {
            domain: images[number] for number, domain in enumerate(result.metrics.by_domain)
        }
    for split, by_domain in counts.items():
        if text := few_images(split, by_domain):
            out.print(text, soft_wrap=True)


def raise_failed(outcome: Any) -> None:
    """Raise the errors of the cells or methods that failed, each on its own line."""
    if outcome.failed:
        raise FdrdError("\n".join(f"{name} failed: {e}" for name, e in outcome.failed.items()))

"""Results as flat records, one per result file, for CSV and pandas. Metrics are fractions, times are seconds."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from benchmark.reporting.comparison import label
from benchmark.result import BenchResult
from benchmark.retrieval_metrics import columns
from fdrd.text.controls import visible


def records(results: Sequence[BenchResult]) -> list[dict[str, Any]]:
    """Return one flat record per result; values that do not apply are None."""
    return [_record(result) for result in results]


def to_csv(results: Sequence[BenchResult]) -> str:
    """Return the records as CSV with a header line. No name is a formula of a spreadsheet."""
    rows, text = records(results), io.StringIO()
    columns = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, [*columns], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return visible(f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value)


def to_pandas(results: Sequence[BenchResult]) -> Any:
    """Return the records as a pandas DataFrame."""
    import pandas

    return pandas.DataFrame.from_records(records(results))


def _record(result: BenchResult) -> dict[str, Any]:
    settings, fit, tuning = result.settings, result.fit, result.tuning
    found: dict[str, Any] = {
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
    }
    return found | {each.title: each.value(result.metrics) for each in columns()}

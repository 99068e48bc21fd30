"""One run of a method by keywords."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from benchmark.result import BenchResult
from benchmark.runner.description import Resources, Run
from benchmark.runner.runs import execute

_RESOURCES = {field.name for field in fields(Resources)}


def run_method(method: str, data: Any, **arguments: Any) -> BenchResult:
    """Return the result of one method and seed; arguments are fields of `Run` and `Resources`."""
    read = {name: arguments.pop(name) for name in _RESOURCES & arguments.keys()}
    if read.get("results") is not None:
        read["results"] = Path(read["results"])
    if arguments.get("checkpoint") is not None:
        arguments["checkpoint"] = str(arguments["checkpoint"])
    train = arguments.pop("train", None) or {}
    train = dict(train if isinstance(train, dict) else vars(train))
    options = arguments.pop("options", None) or {}
    run = Run(method=method, options=options, train=train, **arguments)
    return execute(run, Resources(data, **read))

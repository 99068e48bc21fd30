"""One run of a method by keywords, and settings of a run that never was."""

from __future__ import annotations

import io
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmark.result import BenchResult
from benchmark.runner.description import Resources, Run
from benchmark.runner.runs import execute
from benchmark.settings import NO_BACKBONE, Named, Settings

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


def printed(shown: Any) -> str:
    """Return what a wide terminal shows."""
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(shown)
    return console.export_text()


def made_settings(method: str, backbone: Named = NO_BACKBONE, **fields: Any) -> Settings:
    """Return settings of a training run with the first seed, e.g. for a checkpoint."""
    no, unused = "0" * 64, ("train", "domain", "train_domain", "categories", "half", "shots")
    values = {
        **dict.fromkeys((*unused, "checkpoint", "text_only_from")),
        **{"method": method, "code": no, "options": {}, "options_given": {}, "train_given": {}},
        **{"seed": 0, "split": "test", "gallery": "domain", "data": Named("birds", no)},
        **{"backbone": backbone, "learned_from": {"train": no, "validation": no}},
    }
    return Settings(**(values | fields))

"""Protocols by name. `paper` is that of DCAR (arXiv 2508.04028), as far as its results page describes it.

One model per domain learns from the train and validation splits, and its last step is measured on the whole test
split. `paper.toml` holds what it decides about methods and training. This module imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from benchmark.experiments.plan import Experiment, Options, Protocols
from benchmark.models.loading import DEFAULT_BACKBONE
from benchmark.registry import method_options, takes
from benchmark.runner.description import Run
from benchmark.settings import OptionValue
from benchmark.training.row_selection import Data, pairs_by_domain, splits_of
from fdrd.dataset import RetrievalDataset

TAG: Literal["paper"] = "paper"


class PresetFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a file of this folder.

    Attributes:
        methods: methods that run if none is named.
        remark: sentence that is printed with the numbers.
        train: options of the training.
        options: options by method, for those that have them.
    """

    methods: list[str]
    remark: str
    train: dict[str, OptionValue]
    options: dict[str, dict[str, OptionValue]]


@cache
def read_preset(name: str = "paper") -> PresetFile:
    """Return the preset of this name."""
    content = Path(__file__).with_name(f"{name}.toml").read_bytes()
    return msgspec.toml.decode(content, type=PresetFile)


def paper_run(run: Run) -> Run:
    """Return a run with the options of the paper's protocol; its own options win."""
    preset, known = read_preset(), method_options(run.method)
    decided = {k: v for k, v in preset.options.get(run.method, {}).items() if k in known}
    run = run.changed(options={**decided, **run.options})
    return run.changed(train={**preset.train, **run.train}) if takes(run.method, "train") else run


def paper_data(data: Data) -> dict[str, RetrievalDataset]:
    """Return the splits, with the validation rows among the training rows.

    The one evaluation of a domain without validation rows is on its training rows; nothing is selected by it.
    """
    splits = splits_of(data)
    learned = [splits[name] for name in ("train", "validation") if name in splits]
    if not learned:
        return splits
    train = learned[0].joined(learned[1]) if len(learned) > 1 else learned[0]
    validation = splits.get("validation", train)
    for domain in sorted({*train.domains} - {*validation.domains}):
        validation = validation.joined(train.of_domain(domain))
    return {**splits, "train": train, "validation": validation}


def describe_domains(plan: Experiment, splits_by_name: Mapping[str, Data]) -> list[str]:
    """Return a line per domain of the runs with the preset: its splits, or why it is left out or not trained on."""
    chosen = {each.domain for each in plan.protocols if each.preset}
    if not chosen:
        return []
    lines = []
    trained = [row.label for row in plan.rows() if takes(row.method, "train")]
    for data in [plan.data] if isinstance(plan.data, str) else plan.data:
        pairs = pairs_by_domain(splits_by_name.get(data, data))
        for domain in sorted(set().union(*pairs.values())):
            if not chosen & {None, "each", domain}:
                continue
            train, validation, test = (
                pairs[name][domain] if name in pairs else 0
                for name in ("train", "validation", "test")
            )
            if not test:
                lines.append(f"{domain} is left out: it has no test split")
                continue
            line = f"{domain} has {train + validation:,} pairs to train on, {test:,} test pairs as gallery"
            if trained and "each" in chosen and not train + validation:
                without = f"no training split, so it is left out of {', '.join(trained)}"
                line = f"{domain} has {without}; {test:,} test pairs as gallery"
            lines.append(line)
    return lines


def paper_experiment(
    data: str,
    rows: Sequence[str | Run],
    *,
    backbone: str | None = None,
    domain: str | None = None,
    seeds: Sequence[int],
    train: Options | None = None,
    results: str,
) -> Experiment:
    """Return the experiment of `fdrd bench --preset paper`; by default of every domain, with CLIP ViT-B/32."""
    return Experiment(
        data=data,
        methods=[*rows],
        backbones=[backbone or DEFAULT_BACKBONE],
        protocols=[Protocols(preset=TAG, domain=domain or "each")],
        seeds=[*seeds],
        train=train or {},
        results=results,
    )

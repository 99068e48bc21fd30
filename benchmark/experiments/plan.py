"""The schema of experiment files, and the cells that a file expands to.

    data = "data/fdrd"
    seeds = 3
    train = { steps = 1000 }

    [[methods]]
    method = "coop"
    label = "CoOp, 16 words"
    options = { n_ctx = 16 }

    [[protocols]]
    shots = [1, 4, 16, "all"]

An experiment file runs no code: it names no plugin, and its backbones may not be functions.

The preset `paper` is the protocol of DCAR (arXiv 2508.04028), as far as its results page describes it: one model per
domain learns from the train and validation splits, and its last step is measured on the whole test split. This module
imports no torch.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, product
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from benchmark.registry import chosen_methods, method_options, takes
from benchmark.runner.description import Preset, Run, Search, Space
from benchmark.settings import (
    HALVES,
    Gallery,
    OptionValue,
    Seed,
    TrainConfig,
    training_options,
)
from benchmark.training.row_selection import (
    Data,
    pairs_by_domain,
    read_categories,
    split_of,
    splits_of,
    training_domain,
)
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError
from fdrd.kinds import refuse_other
from fdrd.options import ALIASES, MOST_SEEDS, read_options

MOST_CELLS = 100_000
"""Largest number of combinations in an experiment."""

Count = Annotated[int, Meta(ge=1)]
_ROW = ("method", "label", "options", "train", "search")
"""Fields of `Run` that a row of an experiment file may have."""

Split = Literal["train", "validation", "test"]
Shots = Count | Literal["all"]
Options = dict[str, OptionValue]

PAPER_METHODS = ("zero_shot", "coop", "clip_adapter", "maple", "filip", "dcar")
"""Methods of the paper's table that the project has; `--preset paper` runs them if none is named."""
PAPER_REMARK = (
    "the paper's protocol: trained on train and validation, the last step kept, equal captions not masked, "
    "image-to-text loss of baselines"
)
"""Sentence that is printed with the numbers."""
PAPER_TRAIN: Options = {"keep_untrained": False, "mask_equal": False, "eval_every": 1_000_000}
"""One evaluation, so the last step is kept. Numbers of steps and learning rates are not published."""
PAPER_OPTIONS: dict[str, Options] = {
    name: {"loss": "image_to_text"} for name in ("coop", "cocoop", "maple", "clip_adapter")
}
"""Options by method: the methods' own code has a loss from images to texts only."""


class Tuning(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Effort of the search for each row with a search space.

    Attributes:
        steps: optimizer steps of all trials of a row together.
        first_rung: steps after which a trial may be stopped; the next rungs are at 3, 9, ... times as many.
        seed: of the search and of the training of its trials.
    """

    steps: Count
    first_rung: Count = 50
    seed: Seed = 0


class Protocols(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of an experiment file: what is trained on and measured, for each combination of the values in its lists.

    Attributes:
        split: splits to measure.
        shots: images per category to train on, or `all`.
        gallery: one per domain, one for all (`joint`), or a number of images.
        domain: domains to use, one at a time; `each` stands for all domains of the data.
        train_domain: domain to train on instead, or `all`.
        categories: file with one base category per line; base and new categories are both measured.
        hard_negatives: measure the accuracy on hard negatives, which has several times as many captions to encode.
        preset: `paper` trains as the docstring of this module says.
    """

    split: Split | list[Split] = "test"
    shots: Shots | list[Shots] = "all"
    gallery: Gallery | list[Gallery] = "domain"
    domain: str | list[str] | None = None
    train_domain: str | list[str] | None = None
    categories: str | None = None
    hard_negatives: bool = True
    preset: Preset | None = None

    def fields(self, data: Data) -> Iterator[dict[str, Any]]:
        """Yield fields of the runs of each method on a dataset."""
        fields = msgspec.structs.asdict(self)
        if self.domain == "each":
            fields["domain"] = split_of(data, "test", None).domains
        if self.categories:
            fields["categories"] = read_categories(Path(self.categories))
        for chosen in product(*(v if isinstance(v, list) else [v] for v in fields.values())):
            named = dict(zip(fields, chosen, strict=True))
            named["shots"] = None if named["shots"] == "all" else named["shots"]
            for half in HALVES if self.categories else HALVES[:1]:
                yield {**named, "half": half}


class Experiment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An experiment: the product of data, backbones, protocols, methods and seeds.

    Attributes:
        data: folders, registered names or Hub ids.
        methods: rows of the tables, or names of methods with default options. A row is a `Run` with `method`, `label`,
            `options`, `train` (which wins over the one below) and `search`.
        backbones: names; by default the one that each dataset names.
        protocols: by default the test split after training on all rows.
        seeds: a number of seeds from 0, or a list.
        train: training options of all methods that train.
        tuning: effort of the search, for rows with a search space.
        results: folder of result files.
    """

    data: str | list[str]
    methods: Annotated[list[str | Run], Meta(min_length=1)]
    backbones: list[str] = []
    protocols: list[Protocols] = []
    seeds: Annotated[int, Meta(ge=1, le=MOST_SEEDS)] | list[Seed] = 1
    train: Options = {}
    tuning: Tuning | None = None
    results: str = "runs"

    @property
    def datasets(self) -> list[str]:
        """The data as a list."""
        return [self.data] if isinstance(self.data, str) else self.data

    def rows(self) -> list[Run]:
        """Return the rows with all options checked and converted, shared training options included.

        Raises:
            FdrdError: a method or option is unknown, or two rows are equal; the message names the key.
        """
        rows: list[Run] = []
        for index, each in enumerate(self.methods):
            try:
                row = _checked(Run(method=each) if isinstance(each, str) else each, self.train)
                space = f"{row.label} has a search space"
                if row.search and not self.tuning:
                    raise FdrdError(f"{space}; add a [tuning] table with steps")
                if row.search and any(each.preset for each in self.protocols):
                    seen = "the preset trains on the validation rows"
                    raise FdrdError(f"{space}, but {seen}; choose options without the preset")
                if row.label in (other.label for other in rows):
                    raise FdrdError(f"{row.label!r} appears twice; give each a label")
            except FdrdError as error:
                raise FdrdError(f"methods[{index}]: {error}") from error
            rows.append(row)
        return rows

    def cells(self, loaded: Mapping[str, Data] | None = None) -> list[Run]:
        """Return one run per result file, those that share a training side by side.

        Args:
            loaded: splits by a name in `data`; others are loaded if a protocol needs to know their domains.

        Raises:
            FdrdError: as of `rows`, or there are no cells, or more than `MOST_CELLS`.
        """
        rows = self.rows()
        backbones: list[str | None] = [*self.backbones] or [None]
        seeds = self.seeds if isinstance(self.seeds, list) else range(self.seeds)
        found: dict[str, list[Run]] = {}
        count = 0
        for data in self.datasets:
            splits = (loaded or {}).get(data, data)
            every = (p.fields(splits) for p in self.protocols or [Protocols()])
            protocols = list(islice(chain.from_iterable(every), MOST_CELLS + 1))
            untrained: set[str] = set()  # `describe_domains` names them
            if any(p.preset and p.domain == "each" for p in self.protocols):
                pairs = pairs_by_domain(splits)
                learned = (pairs.get(name, ()) for name in ("train", "validation"))
                untrained = {*pairs.get("test", ())}.difference(*learned)
            count += len(protocols) * len(backbones) * len(rows) * len(seeds)
            if count > MOST_CELLS:
                raise FdrdError(
                    f"more than {MOST_CELLS:,} combinations of data, backbones, protocols, methods "
                    f"and seeds; shorten a list, or write several files"
                )
            for backbone, row, protocol, seed in product(backbones, rows, protocols, seeds):
                if seed != seeds[0] and protocol["shots"] is None and not takes(row.method, "seed"):
                    continue  # the numbers would be the same
                source = training_domain(protocol["domain"], protocol["train_domain"])
                if protocol["preset"] and source in untrained and takes(row.method, "train"):
                    continue
                cell = row.changed(data=data, backbone=backbone, seed=seed, **protocol)
                found.setdefault(cell.training(), []).append(cell)
        if not found:
            raise FdrdError(
                "nothing to run: a list of data, seeds or protocols is empty, or no domain has training rows"
            )
        return [cell for cells in found.values() for cell in cells]


def brief(cell: Run, cells: Sequence[Run]) -> str:
    """Return the row and the seed of a run, and what sets it apart from other runs of its experiment."""
    names = ("data", "backbone", "measurement", "half")
    apart = [name for name in names if len({getattr(each, name) for each in cells}) > 1]
    words = [str(getattr(cell, name) or "") for name in apart]
    return " ".join([cell.label, *words, f"seed {cell.seed}"])


def read_experiment(path: str | Path) -> Experiment:
    """Read and check an experiment file.

    Raises:
        FdrdError: it is missing, not TOML, or a key or value is wrong; the message names the file and the key.
    """
    refuse_other(path, "an experiment file", "experiment")
    try:
        return to_experiment(tomllib.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise FdrdError(
            f"{path}: {error.strerror}; give a TOML file, as docs/experiments.md describes"
        ) from error
    except (ValueError, RecursionError, FdrdError) as error:
        raise FdrdError(f"{path}: {error}") from error


def to_experiment(content: Mapping[str, Any]) -> Experiment:
    """Return an experiment from the content of a file, e.g. a dict, and check it."""
    try:
        experiment = msgspec.convert(msgspec.to_builtins(content), Experiment)
    except msgspec.ValidationError as error:
        raise FdrdError(_plain(error)) from error
    for index, row in enumerate(content.get("methods", ())):
        if isinstance(row, Mapping) and (others := row.keys() - set(_ROW)):
            raise FdrdError(f"methods[{index}]: {_unknown_key(min(others), _ROW)}")
    experiment.rows()
    return experiment


def _unknown_key(name: str, allowed: Iterable[str]) -> str:
    return f"unknown key `{name}`; allowed: {', '.join(allowed)}"


def _checked(row: Run, shared: Options) -> Run:
    """Return a row with its options checked and converted, and with the shared options of the training."""
    chosen_methods([row.method])
    default = Run(method=row.method)
    for name in row.__struct_fields__:
        if name not in _ROW and getattr(row, name) != getattr(default, name):
            raise FdrdError(_unknown_key(name, _ROW))
    known = method_options(row.method)
    options = read_options(known, row.options, row.method)
    search = row.search
    if search:
        names = {ALIASES.get(name, name): values for name, values in search.train.items()}
        search = msgspec.structs.replace(search, train=names)
    tuned = search.train if search else {}
    train: Options = {}
    if takes(row.method, "train"):
        train, of_row = training_options(shared), training_options(row.train)
        if {"epochs", "steps"} & {*of_row, *tuned}:  # a row has its own length of training
            train = {name: v for name, v in train.items() if name not in ("epochs", "steps")}
        train |= of_row
        TrainConfig().changed(train)
    elif row.train or tuned:
        raise FdrdError(f"{row.method} trains nothing; leave out train")
    if search:
        _check_space(search.options, lambda values: read_options(known, values, "search"))
        _check_space(tuned, lambda values: TrainConfig().changed(train | values))
    label = row.changed(options=row.options | row.train).row
    return row.changed(label=label, options=options, train=train, search=search)


def _check_space(space: Space, check: Callable[[Options], object]) -> None:
    for name, values in space.items():
        for value in values if isinstance(values, list) else (values.low, values.high):
            check({name: value})


_KEYS = {
    "methods": _ROW,
    "methods.search": Search.__struct_fields__,
    "protocols": Protocols.__struct_fields__,
    "tuning": Tuning.__struct_fields__,
}


def _plain(error: msgspec.ValidationError) -> str:
    """Return the message of a wrong file with the key first and the keys that are allowed.

    >>> _plain(msgspec.ValidationError("Expected `str`, got `int` - at `$.results`"))
    'results: expected `str`, got `int`'
    """
    text, _, path = str(error).partition(" - at `")
    path = path.rstrip("`").removeprefix("$").removeprefix(".")
    if unknown := re.search(r"unknown field `(.*)`", text):
        allowed = _KEYS.get(re.sub(r"\[.*?\]", "", path), Experiment.__struct_fields__)
        text = _unknown_key(unknown[1], allowed)
    return f"{path}: {text[0].lower()}{text[1:]}" if path else text


def paper_run(run: Run) -> Run:
    """Return a run with the options of the paper's protocol; its own options win."""
    run = run.changed(options={**PAPER_OPTIONS.get(run.method, {}), **run.options})
    return run.changed(train={**PAPER_TRAIN, **run.train}) if takes(run.method, "train") else run


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
    for data in plan.datasets:
        pairs = pairs_by_domain(splits_by_name.get(data, data))
        for domain in sorted(set().union(*pairs.values())):
            if not chosen & {None, "each", domain}:
                continue
            count = {name: each[domain] for name, each in pairs.items()}
            learned, test = count.get("train", 0) + count.get("validation", 0), count.get("test", 0)
            gallery = f"{test:,} test pairs as gallery"
            if not test:
                lines.append(f"{domain} is left out: it has no test split")
            elif trained and "each" in chosen and not learned:
                without = f"no training split, so it is left out of {', '.join(trained)}"
                lines.append(f"{domain} has {without}; {gallery}")
            else:
                lines.append(f"{domain} has {learned:,} pairs to train on, {gallery}")
    return lines

"""Select the rows that a run trains on and measures: splits, domains, few shots, base or new categories."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.settings import Half
from fdrd.dataset import MissingSplitError, Name, RetrievalDataset, load_splits, load_view
from fdrd.errors import FdrdError

Data = Name | Mapping[str, RetrievalDataset]
"""A dataset (a path, a name or a `fdrd.Dataset`), or its splits by name."""

EVERY_DOMAIN = "all"
"""Training domain that stands for all domains, whichever is measured."""


def split_of(data: Data, split: str, domain: str | None) -> RetrievalDataset:
    """Return one split, of one domain if given."""
    if not isinstance(data, Mapping):
        return load_view(data, split, domain)
    if split not in data:
        raise MissingSplitError(f"no split {split!r} among those given: {', '.join(data)}")
    return data[split].of_domain(domain) if domain else data[split]


def splits_of(data: Data) -> dict[str, RetrievalDataset]:
    """Return the splits that have rows, by name."""
    if isinstance(data, Mapping):
        return dict(data)
    return {each.split: each for each in load_splits(data)}


def pairs_by_domain(data: Data) -> dict[str, Counter[str]]:
    """Return the number of pairs of each domain, by split."""
    return {
        name: Counter(rows.domains[index] for index in rows.image_domain[rows.pairs[:, 0]])
        for name, rows in splits_of(data).items()
    }


def train_split(data: Data, domain: str | None) -> RetrievalDataset | None:
    """Return all training rows, of one domain if given; None if there are none."""
    try:
        return split_of(data, "train", domain)
    except MissingSplitError:
        return None


def training_domain(domain: str | None, train_domain: str | None) -> str | None:
    """Return the domain to train on, None for all; by default the domain that is measured.

    >>> training_domain("pets", None), training_domain("pets", "cars"), training_domain("pets", "all")
    ('pets', 'cars', None)
    """
    if train_domain is None:
        return domain
    return None if train_domain == EVERY_DOMAIN else train_domain


@dataclass(frozen=True)
class CategoryList:
    """The base categories. All other categories of a dataset are new.

    Attributes:
        name: the file they were read from.
        lines: line number by category.
    """

    name: str
    lines: Mapping[str, int]

    @property
    def fingerprint(self) -> str:
        """Digest of the set, independent of order."""
        return hashlib.sha256(json.dumps(sorted(self.lines)).encode()).hexdigest()


def read_categories(path: Path) -> CategoryList:
    """Read one category per line, skipping blank lines and lines that start with #.

    Raises:
        FdrdError: the file cannot be read, or lists no category.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise FdrdError(
            f"`categories` {path}: {error}; give a text file with one category per line"
        ) from error
    lines: dict[str, int] = {}
    for position, line in enumerate(map(str.strip, text.splitlines()), 1):
        if line and not line.startswith("#"):
            lines.setdefault(line, position)
    if not lines:
        raise FdrdError(f"`categories` {path}: lists no category; write one per line")
    return CategoryList(str(path), lines)


def half_of(dataset: RetrievalDataset, categories: CategoryList, half: Half) -> RetrievalDataset:
    """Return the rows of the listed categories (`base`) or of all others (`new`).

    Raises:
        FdrdError: the dataset lacks a listed category, or the half is empty.
    """
    dataset.require_categories("`categories`")
    known = {name: label for label, name in enumerate(dataset.categories)}
    for name, line in categories.lines.items():
        if name not in known:
            raise FdrdError(
                f"{categories.name}, line {line}: {dataset.name} has no category {name!r}"
                f"{_suggestion(name, dataset.categories)}"
            )
    listed = np.isin(dataset.row_category, [known[name] for name in categories.lines])
    if not listed.any():
        raise FdrdError(
            f"{categories.name}: none of its categories occurs in {dataset.split} of "
            f"{dataset.name}; list some that do"
        )
    if half == "new" and listed.all():
        raise FdrdError(
            f"{categories.name} lists all categories of {dataset.split} of {dataset.name}, "
            f"so none is new; leave some out"
        )
    return dataset.select(np.flatnonzero(listed == (half == "base")))


def _suggestion(name: str, known: list[str]) -> str:
    """Return similar categories, including those that differ in case or have a domain in front.

    >>> _suggestion("Wren", ["birds: wren", "wren", "oak"])
    "; did you mean 'wren' or 'birds: wren'?"
    """
    folded = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=3)
    near += [each for each in folded if each.endswith(f": {name.casefold()}") and each not in near]
    if not near:
        return "; write one per line, as in the column `category`"
    return f"; did you mean {' or '.join(repr(folded[each]) for each in near)}?"


def training_rows(
    data: Data,
    domain: str | None,
    shots: int | None,
    seed: int,
    categories: CategoryList | None = None,
) -> dict[str, RetrievalDataset]:
    """Return the training and validation rows of one domain, of the base categories, of few images each.

    With few shots, validation has at most 4 images per category, as in CoOp (arXiv 2109.01134): the epoch
    must not be selected on many examples.
    """
    rows = {name: split_of(data, name, domain) for name in ("train", "validation")}
    if categories is not None:
        rows = {name: half_of(each, categories, "base") for name, each in rows.items()}
    if shots is None:
        return rows
    for each in rows.values():
        each.require_categories("`shots`")
    limits = {"train": shots, "validation": min(shots, 4)}
    return {name: few_shot(each, limits[name], seed) for name, each in rows.items()}


def few_shot(dataset: RetrievalDataset, shots: int, seed: int) -> RetrievalDataset:
    """Return the rows of `shots` images per category, or of all if a category has fewer.

    The draw depends on the seed and the images, not on their order.
    """
    kept: list[int] = []
    for category in np.unique(dataset.image_category):
        members = np.flatnonzero(dataset.image_category == category).tolist()
        members.sort(key=lambda image: dataset.image_digests[image])
        generator = np.random.default_rng([seed, int(category)])
        kept += generator.permutation(members)[:shots].tolist()
    return dataset.select(np.flatnonzero(np.isin(dataset.pairs[:, 0], kept)))


def thinned(rows: RetrievalDataset, most: int) -> RetrievalDataset:
    """Return all rows, or so many of them at equal distances."""
    if len(rows) <= most:
        return rows
    return rows.select(np.linspace(0, len(rows) - 1, most).astype(np.int64))


def limited(data: Name, limit: int) -> dict[str, RetrievalDataset]:
    """Return the splits with at most `limit` images each, spread evenly over the split.

    Raises:
        FdrdError: there is no such dataset.
    """
    found = {}
    for each in load_splits(data):
        images = len(each.image_digests)
        kept = np.linspace(0, images - 1, min(limit, images)).round()
        rows = np.flatnonzero(np.isin(each.pairs[:, 0], kept))
        found[each.split] = each.select(rows, part=f"{len(kept)} images")
    return found

"""Select the rows that a run trains on and measures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from benchmark.evaluation.base_to_new import CategoryList, half_of
from fdrd.dataset import MissingSplitError, Name, RetrievalDataset, load_splits, load_view

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


def thinned(rows: RetrievalDataset, most: int) -> RetrievalDataset:
    """Return all rows, or so many of them at equal distances."""
    if len(rows) <= most:
        return rows
    return rows.select(np.linspace(0, len(rows) - 1, most).astype(np.int64))


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


def few_shot(dataset: RetrievalDataset, shots: int, seed: int) -> RetrievalDataset:
    """Return the rows of `shots` images per category, or of all if a category has fewer.

    The draw depends on the seed and the images, not on their order.
    """
    kept: list[int] = []
    for category in np.unique(dataset.image_category):
        members = np.flatnonzero(dataset.image_category == category).tolist()
        members.sort(key=lambda number: dataset.image_digests[number])
        generator = np.random.default_rng([seed, int(category)])
        kept += generator.permutation(members)[:shots].tolist()
    return dataset.select(np.flatnonzero(np.isin(dataset.pairs[:, 0], kept)))

"""Base-to-new evaluation: train on listed categories, measure them and all others separately."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.settings import Half
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError


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
    for number, line in enumerate(text.splitlines(), 1):
        name = line.strip()
        if name and not name.startswith("#"):
            lines.setdefault(name, number)
    if not lines:
        raise FdrdError(f"`categories` {path}: lists no category; write one per line")
    return CategoryList(str(path), lines)


def half_of(dataset: RetrievalDataset, categories: CategoryList, half: Half) -> RetrievalDataset:
    """Return the rows of the listed categories (`base`) or of all others (`new`).

    Raises:
        FdrdError: the dataset lacks a listed category, or the half is empty.
    """
    dataset.require_categories("`categories`")
    known = {name: number for number, name in enumerate(dataset.categories)}
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
    if half == "base":
        return dataset.select(np.flatnonzero(listed))
    if listed.all():
        raise FdrdError(
            f"{categories.name} lists all categories of {dataset.split} of {dataset.name}, "
            f"so none is new; leave some out"
        )
    return dataset.select(np.flatnonzero(~listed))


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

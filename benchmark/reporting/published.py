"""Recalls of a paper next to ours: per domain and as their mean, with what differs in the protocol.

A file of published numbers is JSON; recalls are percent:

    {"source": "arXiv 2508.04028, results table",
     "domains": {"DTD": {"R@1": {"image_to_text": {"CLIP": 37.94}, "text_to_image": {"CLIP": 29.49}}}},
     "ours": {"CLIP": "zero_shot", "DTD": ["dtd", "textures"]},
     "test_pairs": {"DTD": 1692}}

`ours` maps names of the paper to ours, one or several, where they differ in more than case and punctuation. A file
with `ours` only adds to those of `PAPER`. `test_pairs` is the number of pairs in the published test split. The domain
`AVG` is not read: means cover the domains that both have.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from statistics import fmean

import msgspec

from benchmark.rank_metrics import DIRECTIONS, RECALLS, SHORT
from benchmark.reporting.comparison import Row, group_results
from benchmark.reporting.tables import Table
from benchmark.result import BenchResult
from fdrd.errors import FdrdError

PAPER = Path(__file__).with_name("dcar_paper.json")
"""The results table of DCAR (arXiv 2508.04028)."""

_MAPPING = (
    '`fdrd report --beside FILE` maps other names: {"ours": {"StanfordCars": "mine"}} in the file'
)

COLUMNS = tuple(product(DIRECTIONS, RECALLS))
Values = list[float]
"""Percent, one per `COLUMNS`."""


@dataclass(frozen=True)
class Published:
    """A file of published numbers: domain, cutoff, direction, method."""

    source: str = ""
    domains: dict[str, dict[str, dict[str, dict[str, float]]]] = field(default_factory=dict)
    ours: dict[str, str | list[str]] = field(default_factory=dict)
    test_pairs: dict[str, int] = field(default_factory=dict)

    def values(self, domain: str, method: str) -> Values | None:
        """Return the numbers of a method in a domain, by our names; None if there are none."""
        table = self.domains.get(self.name(domain, self.domains), {})
        columns = [table.get(cutoff, {}).get(direction, {}) for direction, cutoff in COLUMNS]
        names = [self.name(method, column) for column in columns]
        if not all(names):
            return None
        return [column[name] for column, name in zip(columns, names, strict=True)]

    def gallery(self, domain: str, images: int, pairs: int) -> str:
        """Return a sentence about the gallery of a domain, by our name, next to the published test split."""
        text = f"{domain}: measured on {pairs:,} test pairs of {images:,} images"
        if (theirs := self.test_pairs.get(self.name(domain, self.domains))) is None:
            return f"{text}; the size of the published test split is not known here."
        easier = "; a smaller gallery has higher recalls" if pairs < theirs else ""
        return f"{text}; the published test split has {theirs:,} pairs{easier}."

    def name(self, ours: str, names: Iterable[str]) -> str:
        """Return the name that stands for one of ours; empty if there is none."""
        for name in names:
            known = self.ours.get(name, name)
            known = [known] if isinstance(known, str) else known
            if name != "AVG" and _letters(ours) in map(_letters, known):
                return name
        return ""


def read_published(path: Path) -> Published:
    """Read a file of published numbers.

    Raises:
        FdrdError: it is missing, or has another form.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Published)
        if found.domains and not found.source:
            raise msgspec.ValidationError("`source` is missing")
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FdrdError(
            f"{path}: not published numbers ({error}); see docs/experiments.md"
        ) from error
    if found.domains:
        return found
    paper = read_published(PAPER)
    return replace(paper, ours={**paper.ours, **found.ours})


def beside(results: Sequence[BenchResult], published: Published) -> list[Table | str]:
    """Return a table per domain and one of their mean, with our and the published recalls; and what differs.

    A sentence about its gallery follows the table of each domain.

    Raises:
        FdrdError: no method and domain is in both.
    """
    both: dict[str, dict[str, tuple[Values, Values]]] = defaultdict(dict)  # by domain and row
    differs: dict[str, str] = {}
    galleries: dict[str, str] = {}
    unmatched: dict[str, None] = {}
    for row in (row for comparison in group_results(results) for row in comparison.rows):
        if row.results[0].settings.split != "test":
            continue
        for domain in row.results[0].metrics.by_domain:
            theirs = published.values(domain, row.method)
            if not theirs:
                known = published.name(domain, published.domains)
                unmatched[row.method if known else domain] = None
                continue
            sides = [result.metrics.by_domain[domain] for result in row.results]
            images, pairs = (sides[0][way].queries for way in DIRECTIONS)
            galleries[domain] = published.gallery(domain, images, pairs)
            ours = [100 * fmean(side[way][k] for side in sides) for way, k in COLUMNS]
            both[domain][row.label] = ours, theirs
            differs[row.label] = "; ".join(_differences(row))
    if not both:
        raise FdrdError(
            f"no result on a test split has a method and a domain of {published.source}; its domains are "
            f"{', '.join(published.domains)}. {_MAPPING}"
        )
    parts: list[Table | str] = []
    for domain in sorted(both):
        parts += [_table(f"{domain}, next to {published.source}", both[domain]), galleries[domain]]
    parts += _means(both, list(differs))
    if unmatched:
        parts.append(f"Without published numbers: {', '.join(unmatched)}. {_MAPPING}.")
    head = ["method", "known differences from the paper's protocol"]
    return [*parts, Table("", head, [[*each] for each in differs.items()], text_columns=2)]


def _means(
    both: Mapping[str, Mapping[str, tuple[Values, Values]]], labels: Sequence[str]
) -> list[Table]:
    """Return a table of means for each set of domains that a row covers, with all rows that cover it."""
    domains_of = {label: tuple(d for d in sorted(both) if label in both[d]) for label in labels}
    several = {domains for domains in domains_of.values() if len(domains) > 1}
    tables = []
    for domains in sorted(several, key=lambda each: (-len(each), each)):
        rows = {}
        for label in (each for each in labels if {*domains} <= {*domains_of[each]}):
            sides = zip(*(both[domain][label] for domain in domains), strict=True)
            ours, theirs = ([fmean(v) for v in zip(*side, strict=True)] for side in sides)
            rows[label] = ours, theirs
        tables.append(_table(f"Mean over {', '.join(domains)}", rows))
    return tables


def _table(title: str, rows: dict[str, tuple[Values, Values]]) -> Table:
    lines = []
    for label, (ours, theirs) in rows.items():
        gaps = [a - b for a, b in zip(ours, theirs, strict=True)]
        lines += [
            [label, "ours", *(f"{value:.2f}" for value in ours)],
            ["", "published", *(f"{value:.2f}" for value in theirs)],
            ["", "difference", *(f"{value:+.2f}" for value in gaps)],
        ]
    head = ["method", "", *(f"{SHORT[way]} {k}" for way, k in COLUMNS)]
    return Table(title, head, lines, text_columns=2)


def _differences(row: Row) -> list[str]:
    """Return how training and measurement of a row differ from the paper."""
    settings, seeds = row.results[0].settings, len(row.results)
    same_backbone = "clip-vit-base-patch32" in settings.backbone.name
    several = len(row.results[0].metrics.by_domain) > 1
    differences = {
        f"backbone {settings.backbone.name}": not same_backbone,
        f"gallery {settings.gallery}": settings.gallery != "domain",
        f"{settings.shots} shots": settings.train and settings.shots,
        "trained on the training split only, the best evaluation kept": (
            settings.train and "paper" not in settings.remarks
        ),
        "one model for all domains": settings.train and settings.domain is None and several,
        "the paper's steps and rates are not published": settings.train,
        f"mean of {seeds} seeds" if seeds > 1 else "one run": True,
        "ties count against the method": True,
    }
    return [text for text, applies in differences.items() if applies]


def _letters(name: str) -> str:
    """Return a name without case and punctuation.

    >>> _letters("CLIP-Adapter") == _letters("clip_adapter")
    True
    """
    return re.sub(r"[\W_]", "", name.casefold())

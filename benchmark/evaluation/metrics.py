"""From features to the metrics of `benchmark.rank_metrics`: galleries, their ranks, and the breakdowns of a split.

R@K is the share of queries that have a relevant item among the first K, as the field uses the word recall.
All values are fractions; reports print percent. With several domains, each number is the unweighted mean
over the domains, each with its own gallery, as in the DCAR paper (arXiv 2508.04028).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields

import numpy as np

from benchmark.evaluation.ranking import Ranks, Similarity, rank
from benchmark.models.backbone import Features
from benchmark.rank_metrics import (
    DIRECTIONS,
    KS,
    PAIRS,
    ByDirection,
    QueryGroups,
    by_part,
    rank_metrics,
)
from benchmark.result import PairWins
from benchmark.retrieval_metrics import RetrievalMetrics, Share
from benchmark.settings import Gallery, check_gallery
from fdrd.dataset import Indices, RetrievalDataset
from fdrd.record import Kind


def galleries(image_domain: Indices, gallery: Gallery) -> Iterator[tuple[Indices, Indices]]:
    """Yield the images of each gallery, and those among them that are its queries: one per domain, or one for all.

    Each image is a query once. A number splits every domain into galleries of exactly that size, the same
    for every method. The last one is filled up with images that were queries before.

    Raises:
        FdrdError: a domain has fewer images than the number.

    >>> [(len(members), len(queries)) for members, queries in galleries(np.zeros(10, int), 4)]
    [(4, 4), (4, 4), (4, 2)]
    """
    if gallery == "joint":
        everything = np.arange(len(image_domain))
        yield everything, everything
        return
    for domain in np.unique(image_domain):
        members = np.flatnonzero(image_domain == domain)
        if gallery == "domain":
            yield members, members
            continue
        size = int(gallery)
        check_gallery(size, len(members))
        order = np.random.default_rng([0, int(domain)]).permutation(members)
        for start in range(0, len(order), size):
            queries = order[start : start + size]
            yield np.concatenate([queries, order[: size - len(queries)]]), queries


def rank_galleries(
    similarity: Similarity,
    images: Features,
    texts: Features,
    pairs: Indices,
    category: Indices,
    image_domain: Indices,
    gallery: Gallery,
) -> ByDirection[Ranks]:
    """Call `rank` for every gallery of a split, and combine the ranks by image and by row."""
    to_text, to_image = _empty(len(images)), _empty(len(pairs))
    for members, queries in galleries(image_domain, gallery):
        rows = np.flatnonzero(np.isin(pairs[:, 0], members))
        gallery_images, image = np.unique(pairs[rows, 0], return_inverse=True)
        gallery_texts, caption = np.unique(pairs[rows, 1], return_inverse=True)
        found = rank(
            similarity,
            images[gallery_images],
            texts[gallery_texts],
            np.stack([image, caption], axis=1),
            category[rows],
        )
        is_query = np.isin(gallery_images, queries)
        for whole, part, position, chosen in (
            (to_text, found.image_to_text, gallery_images, is_query),
            (to_image, found.text_to_image, rows, is_query[image]),
        ):
            for field in fields(Ranks):
                getattr(whole, field.name)[position[chosen]] = getattr(part, field.name)[chosen]
    return ByDirection(to_text, to_image)


def _empty(queries: int) -> Ranks:
    strict, caption, ceiling = np.zeros((3, queries), dtype=np.int64)
    return Ranks(strict, np.zeros((queries, len(KS))), caption, ceiling, np.zeros(queries))


def measure(
    ranks: ByDirection[Ranks],
    dataset: RetrievalDataset,
    gallery: Gallery,
    hard_negatives: dict[str, Share],
    natural_pairs: Mapping[Kind, PairWins] | None = None,
) -> RetrievalMetrics:
    """Return all metrics of a split from the ranks of its queries."""
    groups = QueryGroups(dataset.pairs[:, 0], dataset.image_domain, gallery == "joint")
    arrays = {direction: vars(side) for direction, side in zip(DIRECTIONS, ranks, strict=True)}
    by_direction, by_domain = rank_metrics(arrays, groups)
    by_pair = {PAIRS[kind]: wins.metrics() for kind, wins in (natural_pairs or {}).items()}
    categories = [int(each) for each in np.unique(dataset.image_category) if each >= 0]
    by_category = by_part(
        arrays,
        ((dataset.image_category == each, dataset.row_category == each) for each in categories),
    )
    names = [dataset.categories[category] for category in categories]
    return RetrievalMetrics(
        by_direction=by_direction | by_pair,
        by_domain=dict(zip(dataset.domains, by_domain, strict=True)),
        by_category=dict(zip(names, by_category, strict=True)),
        hard_negatives=hard_negatives,
    )


def mean_mrr(ranks: ByDirection[Ranks]) -> float:
    """Return the strict MRR averaged over both directions, which selects the best state."""
    return float(np.mean([np.mean(1 / direction.strict) for direction in ranks]))

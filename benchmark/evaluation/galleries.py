"""Split the images of a dataset into galleries: one per domain, one for all, or many of a fixed size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import numpy as np

from benchmark.evaluation.ranking import Ranks, Similarity, rank
from benchmark.models.backbone import Features
from benchmark.rank_metrics import KS, ByDirection
from benchmark.settings import Gallery, check_gallery
from fdrd.dataset import Indices


def galleries(image_domain: Indices, gallery: Gallery) -> Iterator[tuple[Indices, Indices]]:
    """Yield the image numbers of each gallery, and those among them that are its queries.

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
    """Call `rank` for every gallery of a split, and combine the ranks by image number and by row."""
    to_text, to_image = _empty(len(images)), _empty(len(pairs))
    for members, queries in galleries(image_domain, gallery):
        rows = np.flatnonzero(np.isin(pairs[:, 0], members))
        image_numbers, image = np.unique(pairs[rows, 0], return_inverse=True)
        caption_numbers, caption = np.unique(pairs[rows, 1], return_inverse=True)
        found = rank(
            similarity,
            images[image_numbers],
            texts[caption_numbers],
            np.stack([image, caption], axis=1),
            category[rows],
        )
        is_query = np.isin(image_numbers, queries)
        for whole, part, position, chosen in (
            (to_text, found.image_to_text, image_numbers, is_query),
            (to_image, found.text_to_image, rows, is_query[image]),
        ):
            for field in fields(Ranks):
                getattr(whole, field.name)[position[chosen]] = getattr(part, field.name)[chosen]
    return ByDirection(to_text, to_image)


def _empty(queries: int) -> Ranks:
    strict, caption, ceiling = np.zeros((3, queries), dtype=np.int64)
    return Ranks(strict, np.zeros((queries, len(KS))), caption, ceiling, np.zeros(queries))

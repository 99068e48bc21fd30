"""Hard negatives for training, generated from training captions and drawn again in every epoch.

The dataset's column `negatives` is for evaluation and is not used.
"""

from __future__ import annotations

from collections import defaultdict

from fdrd.dataset import RetrievalDataset
from fdrd.negatives import draw_negatives
from fdrd.negatives.draw import make_catalogs
from fdrd.negatives.seeded_random import SeededRandom
from fdrd.record import ImageRef, Negative, Record, Source, category_name, id_in_domain

POOL = 16
"""Negatives per caption; a fixed pool lets features of frozen towers be cached."""


class TrainingNegatives:
    """A fixed pool of hard negatives for each row of a split, from which every epoch draws some.

    Half of a pool swaps the category and half an attribute, where the caption allows.

    Args:
        train: the rows, which also provide the categories to swap in.
        seed: seed of pools and draws.
        size: negatives per pool.
    """

    def __init__(self, train: RetrievalDataset, seed: int, size: int = POOL):
        self._records = _records(train)
        self._catalogs = make_catalogs(self._records)
        self._captions: dict[int, set[str]] = defaultdict(set)
        self._image = train.pairs[:, 0].tolist()
        for image, caption in train.pairs.tolist():
            self._captions[image].add(train.captions[caption])
        self._seed = seed
        self._size = size
        self._pools: dict[int, tuple[Negative, ...]] = {}

    def draw(self, row: int, epoch: int, k: int, n_attribute: int) -> list[Negative]:
        """Return up to `k` negatives of a row, category swaps first; either kind fills up for the other."""
        name = id_in_domain(self._records[row])
        draws = SeededRandom(self._seed, epoch, name, "training negatives")
        pool = sorted(self._pool(row), key=lambda _negative: draws.uniform())
        category, attribute = (
            [negative for negative in pool if negative.kind == kind]
            for kind in ("category", "attribute")
        )
        category = category[: k - len(attribute[: min(k, n_attribute)])]
        return [*category, *attribute[: k - len(category) if n_attribute else 0]]

    def category(self, row: int) -> str:
        """Return the category of a row, under the name that negatives use."""
        return self._records[row].category

    def _pool(self, row: int) -> tuple[Negative, ...]:
        if row not in self._pools:
            record = self._records[row]
            self._pools[row] = draw_negatives(
                record,
                self._captions[self._image[row]],
                self._catalogs[record.domain],
                k=self._size,
                n_attribute=self._size // 2,
                seed=self._seed,
            )
        return self._pools[row]


def _records(dataset: RetrievalDataset) -> list[Record]:
    """Return the rows as records for the generation of negatives; the image is left empty."""
    records = []
    for row, (image, caption) in enumerate(dataset.pairs.tolist()):
        domain = dataset.domains[dataset.image_domain[image]]
        label = category_name(dataset.row_category[row], dataset.categories)
        records.append(
            Record(
                id=dataset.ids[row],
                image=ImageRef(""),
                caption=dataset.captions[caption],
                category=label.removeprefix(f"{domain}: "),  # see `fdrd.record.class_labels`
                source=Source(""),
                domain=domain,
                meta_category=dataset.meta_categories[row],
                attributes=dataset.attributes[row],
            )
        )
    return records

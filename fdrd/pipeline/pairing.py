"""Match the natural pairs of a build. Workers read the captions, and this process matches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from fdrd.curation.pair_table import Integers, Numbering, PairTable
from fdrd.engines import Engine
from fdrd.files.struct_table import BATCH, StructTable, arrow_array
from fdrd.negatives import Catalog
from fdrd.negatives.natural_pairs import Captioned, Names, Statement, natural_pairs, state
from fdrd.progress import Progress
from fdrd.record import KINDS, Kind, NaturalPair, TaggedCaption

T = TypeVar("T")

Partners = Mapping[Kind, Integers]
"""By kind, the row of the partner of each record of a source, -1 for none."""


@dataclass(frozen=True, slots=True)
class DomainCaptions:
    """The captions of the kept records of a domain, and (n,) their rows in the source."""

    rows: Integers
    texts: StructTable[TaggedCaption]


def partner_rows(
    pairs: PairTable,
    captions: Mapping[str, DomainCaptions],
    catalogs: Mapping[str, Catalog],
    engine: Engine,
    progress: Progress,
) -> Partners:
    """Return the partners of all records. They depend on the records, not on their order."""
    partners: dict[Kind, Integers] = {kind: np.full(len(pairs.kept), -1) for kind in KINDS}
    image = _looks(pairs)
    group = np.where(pairs["group"] > 0, pairs["group"], -1 - image)
    done, total = 0, len(pairs.rows)
    for domain, of_domain in captions.items():
        catalog = catalogs[domain]
        names = Names(catalog.categories, catalog.index, catalog.index_of)
        statements = _statements(of_domain.texts, names, engine)
        indices = [names.index_of.get(name, -1) for name in pairs.names["category"]]
        category = np.array(indices, np.int64)[pairs["category"][of_domain.rows]]
        related = [each.same for each in names.categories]
        splits = pairs.split[of_domain.rows]
        for split in np.unique(splits).tolist():
            progress("matching natural pairs", done, total)
            inside = np.flatnonzero(splits == split)
            rows = of_domain.rows[inside]
            records = Captioned(
                key=pairs["order"][rows],
                image=image[rows],
                group=group[rows],
                text=pairs["plain"][rows],
                category=category[inside],
                statements=[statements[index] for index in inside.tolist()],
            )
            for kind, partner in natural_pairs(records, related).items():
                matched = partner >= 0
                partners[kind][rows[matched]] = rows[partner[matched]]
            done += len(rows)
    progress("matching natural pairs", done, total)
    return partners


def partner_ids(
    pairs: PairTable, partners: Partners, rows: Integers
) -> Iterator[tuple[NaturalPair, ...]]:
    """Yield the natural pairs of these records."""
    ids = pairs.contents.records.table("id")["id"]
    columns: list[Sequence[NaturalPair | None]] = []
    for kind in KINDS:
        partner = partners[kind][rows]
        found = ids.take(arrow_array(np.maximum(partner, 0))).to_pylist()
        columns.append(
            [
                NaturalPair(kind, id) if row >= 0 else None
                for id, row in zip(found, partner.tolist(), strict=True)
            ]
        )
    for of_record in zip(*columns, strict=True):
        yield tuple(each for each in of_record if each)


def read_statements(texts: StructTable[TaggedCaption], names: Names) -> list[Statement]:
    """Return what some captions state."""
    return [state(caption, names) for caption in texts]


def _statements(texts: StructTable[TaggedCaption], names: Names, engine: Engine) -> list[Statement]:
    """Return what the captions of a domain state; equal parts are one object."""
    tasks = (
        texts.part(start, min(start + BATCH, len(texts))) for start in range(0, len(texts), BATCH)
    )
    known: dict[Any, Any] = {}

    def one(part: T) -> T:
        found: T = known.setdefault(part, part)
        return found

    return [
        Statement(
            each.words,
            each.named,
            one(each.categories),
            one(tuple(map(one, each.values))),
            one(tuple(map(one, each.things))),
        )
        for some in engine.run(read_statements, tasks, names)
        for each in some
    ]


def _looks(pairs: PairTable) -> Integers:
    """Return a number for the image of each record, the same for near and mirrored duplicates."""
    index: Numbering[str | int] = Numbering()
    indices = [index[pairs.clusters.get(digest, digest)] for digest in pairs["digest"].tolist()]
    return np.array(indices, np.int64)

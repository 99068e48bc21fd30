"""Negatives made as those of the released FDRD files were, to the letter of their flaws.

Read off the files (Pets, Flowers, Aircraft): four negatives, categories drawn uniformly and with replacement,
the true one not excluded (in Aircraft it is), and the name replaced as a string wherever it stands.
"""

from __future__ import annotations

from fdrd.negatives.catalogue import Catalogue
from fdrd.negatives.draws import Draws
from fdrd.record import Negative, Record


def released_negatives(
    record: Record, catalogue: Catalogue, *, k: int = 4, seed: int = 0
) -> tuple[Negative, ...]:
    """`k` negatives, of which some may equal the caption or each other, and articles may be wrong.

    >>> from fdrd.negatives import make_catalogue
    >>> from fdrd.record import ImageRef, Source
    >>> cats = make_catalogue([], names=["sphynx", "abyssinian"])
    >>> pair = Record("1", ImageRef("1.jpg"), "A sphynx.", "sphynx", Source("1.jpg"))
    >>> {negative.caption for negative in released_negatives(pair, cats)} <= {"A sphynx.", "A abyssinian."}
    True
    """
    draws = Draws(seed, record.id, "released")
    names = [catalogue.names[draws.index(len(catalogue.names))] for _ in range(k)]
    return tuple(
        Negative(record.caption.replace(record.category, name), name, "category") for name in names
    )

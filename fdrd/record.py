"""The record: one image-caption pair.

Sources yield records, each step takes and returns them, and shards store them as rows. The JSON form is
`schemas/record.schema.json`, the Arrow form in `fdrd.columns`. Records are msgspec structs: millions of them are
made, copied and sent to workers, which takes dataclasses ten times as long.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from msgspec import Struct, convert

Split = Literal["train", "validation", "test", ""]
Kind = Literal["category", "attribute"]
KINDS: tuple[Kind, ...] = ("category", "attribute")
Scalar = str | int | float | bool
Labels = dict[tuple[str, str], str]  # (domain, category) -> name of the class label

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class Attribute(Struct, frozen=True, gc=False):
    """A span of the caption that describes the image: `caption[start:end] == value` (characters)."""

    type: str
    value: str
    start: int
    end: int


class Negative(Struct, frozen=True, gc=False):
    """A hard negative: a caption with the wrong category or one wrong attribute.

    `category` is the one that the caption names: the image's own category for `kind="attribute"`.
    """

    caption: str
    category: str
    kind: Kind
    attribute_type: str | None = None


class NaturalPair(Struct, frozen=True, gc=False):
    """A record of the same domain and split whose caption is false for this image, while this one's is false for its.

    `kind` says what differs: the category, or an attribute. The partner lists this record, too.
    """

    kind: Kind
    id: str


class ImageRef(Struct, frozen=True, gc=False):
    """Location of an image: a POSIX path below the source root, never absolute, never with `..`.

    `member` is the member of a tar archive or the row of a table (`fdrd.images.containers`), and empty for a
    plain file.

    >>> print(ImageRef("a.jpg"), ImageRef("a.parquet", "7 of image"))
    a.jpg a.parquet: 7 of image
    """

    path: str
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.member}" if self.member else self.path


class Source(Struct, frozen=True, gc=False):
    """Provenance of a pair."""

    file: str  # path of the image below the source root
    sha256: str = ""  # digest of the image file
    license: str = "unknown"  # SPDX identifier
    origin: str = ""  # annotation file of the caption, and the key or line in it


class Record(Struct, frozen=True, gc=False):
    """One image-caption pair.

    `split` is empty if the source gives none. Records of one `group` (a video, a cluster of near duplicates)
    stay in one split. `rules` lists the normalizations that changed the record (keys of
    `fdrd.reasons.RULES`). The manifest counts them; they are not a column. `extra` holds the columns of the
    source that fdrd does not know, by name (`fdrd.sources.reading.columns`); each is a column of the shards.
    """

    id: str
    image: ImageRef
    caption: str
    category: str
    source: Source
    domain: str = ""
    meta_category: str = ""
    group: str = ""
    split: Split = ""
    attributes: tuple[Attribute, ...] = ()
    negatives: tuple[Negative, ...] = ()
    natural_pairs: tuple[NaturalPair, ...] = ()
    width: int = 0
    height: int = 0
    rules: tuple[str, ...] = ()
    extra: dict[str, Scalar] = {}

    def __hash__(self) -> int:
        return hash((self.id, self.caption))  # a dict has no hash


class TaggedCaption(Struct, frozen=True, gc=False):
    """The fields of a record that its negatives are drawn from."""

    caption: str
    category: str
    attributes: tuple[Attribute, ...] = ()
    meta_category: str = ""


Captions = Sequence[Record | TaggedCaption]


def id_in_domain(record: Record) -> str:
    """Return the id without the name of the domain, which the name of a folder decides.

    Seeds and order are computed from it, so that a renamed source gives the same rows and negatives.

    >>> id_in_domain(Record("birds/a/1.jpg", ImageRef(""), "", "", Source(""), domain="birds"))
    'a/1.jpg'
    """
    return record.id.removeprefix(f"{record.domain}/")


def from_json(value: dict[str, Any]) -> Record:
    """Return the record of a JSON object that is valid under `schemas/record.schema.json`."""
    return convert(value, Record)


def class_labels(categories: Iterable[tuple[str, str]]) -> Labels:
    """Name the categories of each domain, with the domain as prefix if two domains share a category.

    >>> class_labels([("a", "cat"), ("b", "cat"), ("a", "dog"), ("a", "")])
    {('a', 'cat'): 'a: cat', ('a', 'dog'): 'dog', ('b', 'cat'): 'b: cat'}
    """
    named = sorted({(domain, category) for domain, category in categories if category})
    times = Counter(category for _, category in named)
    return {
        (domain, category): f"{domain}: {category}" if times[category] > 1 else category
        for domain, category in named
    }


def category_name(index: int | None, names: Sequence[str]) -> str:
    """Return the name of a class label, empty for a row without a category.

    >>> category_name(1, ["cat", "dog"]), category_name(None, ["cat"])
    ('dog', '')
    """
    return "" if index is None or index < 0 else names[index]

"""The record: one image-caption pair on its way from a raw source to a shard.

A source yields records, each step takes and returns them, a shard holds them as rows. The JSON form is
`schemas/record.schema.json`, the Arrow form `features()`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import datasets

Split = Literal["train", "validation", "test", ""]
Kind = Literal["category", "attribute"]
KINDS: tuple[Kind, ...] = ("category", "attribute")
Labels = dict[tuple[str, str], str]  # (domain, category) -> name of the class label

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Attribute:
    """A span of the caption that describes the image: `caption[start:end] == value` (characters)."""

    type: str
    value: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Negative:
    """A hard negative: a caption that is wrong for the image in one thing, its category or an attribute.

    `category` is the one that the caption names; it is the image's own for `kind="attribute"`.
    """

    caption: str
    category: str
    kind: Kind
    attribute_type: str | None = None


@dataclass(frozen=True, slots=True)
class ImageRef:
    """Where the bytes of an image lie: a POSIX path below the source root, never absolute, never with `..`.

    `member` names the member of a tar archive or the row of a table (`fdrd.images.containers`), and is empty for a
    plain file.

    >>> print(ImageRef("a.jpg"), ImageRef("a.parquet", "7 of image"))
    a.jpg a.parquet: 7 of image
    """

    path: str
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.member}" if self.member else self.path


@dataclass(frozen=True, slots=True)
class Source:
    """Provenance of a pair.

    `file` is the image's path below the source root, `sha256` the digest of its bytes, `origin` the
    annotation file and the key or line in it that the caption came from.
    """

    file: str
    sha256: str = ""
    license: str = "unknown"
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One image-caption pair.

    `split` is empty where the source gives none. `group` names what a split must not tear apart (a video,
    a cluster of near duplicates). `rules` names the normalisations that changed the record (keys of
    `fdrd.reasons.RULES`); the manifest counts them, they are no column.
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
    width: int = 0
    height: int = 0
    rules: tuple[str, ...] = ()


def to_json(record: Record) -> dict[str, Any]:
    """The record as `schemas/record.schema.json` describes it.

    >>> pair = Record("d/1", ImageRef("1.jpg"), "A cat.", "cat", Source("1.jpg"))
    >>> from_json(to_json(pair)) == pair
    True
    """
    # Written out: `dataclasses.asdict` takes twenty times as long, and a build needs this for each record.
    image, source = record.image, record.source
    return {
        "id": record.id,
        "image": {"path": image.path, "member": image.member},
        "caption": record.caption,
        "category": record.category,
        "source": {
            "file": source.file,
            "sha256": source.sha256,
            "license": source.license,
            "origin": source.origin,
        },
        "domain": record.domain,
        "meta_category": record.meta_category,
        "group": record.group,
        "split": record.split,
        "attributes": [
            {"type": span.type, "value": span.value, "start": span.start, "end": span.end}
            for span in record.attributes
        ],
        "negatives": [
            {
                "caption": negative.caption,
                "category": negative.category,
                "kind": negative.kind,
                "attribute_type": negative.attribute_type,
            }
            for negative in record.negatives
        ],
        "width": record.width,
        "height": record.height,
        "rules": list(record.rules),
    }


def texts(record: Record) -> list[str]:
    """Every text of a record."""
    image, source = record.image, record.source
    found = [record.id, image.path, image.member, record.caption, record.category, record.domain]
    found += [record.meta_category, record.group, record.split]
    found += [source.file, source.sha256, source.license, source.origin]
    for span in record.attributes:
        found += [span.type, span.value]
    for negative in record.negatives:
        found += [negative.caption, negative.category, negative.attribute_type or ""]
    return found


def from_json(value: dict[str, Any]) -> Record:
    """The record of a JSON object that is valid under `schemas/record.schema.json`."""
    return Record(
        **{
            **value,
            "image": ImageRef(**value["image"]),
            "source": Source(**value["source"]),
            "attributes": tuple(Attribute(**attribute) for attribute in value["attributes"]),
            "negatives": tuple(Negative(**negative) for negative in value["negatives"]),
            "rules": tuple(value["rules"]),
        }
    )


def class_labels(records: Iterable[Record]) -> Labels:
    """A name for each domain's categories, with the domain in front where two domains share a category.

    >>> from dataclasses import replace
    >>> pair = Record("1", ImageRef("1.jpg"), "A cat.", "cat", Source("1.jpg"), domain="a")
    >>> class_labels([pair, replace(pair, domain="b"), replace(pair, category="dog")])
    {('a', 'cat'): 'a: cat', ('a', 'dog'): 'dog', ('b', 'cat'): 'b: cat'}
    """
    found = sorted({(record.domain, record.category) for record in records})
    times = Counter(category for _, category in found)
    return {
        (domain, category): f"{domain}: {category}" if times[category] > 1 else category
        for domain, category in found
    }


def features(categories: Sequence[str]) -> datasets.Features:
    """The columns of a dataset whose fine categories are `categories`."""
    from datasets import ClassLabel, Features, Image, List, Value

    text, integer = Value("string"), Value("int32")
    return Features(
        {
            "id": text,
            "image": Image(),
            "caption": text,
            "category": ClassLabel(names=list(categories)),
            "meta_category": text,
            "domain": text,
            "attributes": List({"type": text, "value": text, "start": integer, "end": integer}),
            "negatives": List(
                {"caption": text, "category": text, "kind": text, "attribute_type": text}
            ),
            "group": text,
            "source": {"file": text, "sha256": text, "license": text, "origin": text},
            "width": integer,
            "height": integer,
        }
    )

"""What two splits must not share, and what stands twice in one: images, images that look alike, groups, captions.

Splits have ranks: of two records in different splits the one in test stays before the one in validation,
and that before the one in train. No filter depends on the order of the records.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace

from fdrd.curation.near_duplicates import NearImages, components
from fdrd.curation.splitting import split_unit
from fdrd.policy import Policy, settle
from fdrd.reasons import Rejection
from fdrd.record import Record, Split

Item = Record | Rejection

RANKED: tuple[Split, ...] = ("test", "validation", "train")
RANK: dict[Split, int] = {"test": 3, "validation": 2, "train": 1, "": 0}
CLUSTER = "near-"
"""What the group of images that look alike begins with, where the source gives none."""


def no_leaks(found: Iterable[Item], near: NearImages, policy: Policy) -> Iterator[Item]:
    """All filters over what splits share, in the order in which a record with several flaws is reported."""
    found = no_image_in_two_splits(found, policy)
    found = no_near_image_in_two_splits(found, near, policy)
    return no_group_in_two_splits(found, policy)


def no_image_in_two_splits(found: Iterable[Item], policy: Policy) -> Iterator[Item]:
    """Settles a record whose image is also in a split of higher rank."""
    return _in_two_splits(
        found, "image_in_other_split", lambda record: record.source.sha256, policy
    )


def no_group_in_two_splits(found: Iterable[Item], policy: Policy) -> Iterator[Item]:
    """Settles a record of a given group that is also in a split of higher rank, within a domain."""
    return _in_two_splits(
        found,
        "group_in_other_split",
        lambda record: (record.domain, record.group or record.id),
        policy,
    )


def no_caption_in_two_splits(found: Iterable[Item], policy: Policy) -> Iterator[Item]:
    """Settles a record whose caption, compared without case, also stands in a split of higher rank."""
    return _in_two_splits(
        found, "caption_in_other_split", lambda record: record.caption.casefold(), policy
    )


def no_near_image_in_two_splits(
    found: Iterable[Item], near: NearImages, policy: Policy
) -> Iterator[Item]:
    """Settles a record whose image looks like one that stays in a split of higher rank."""
    reason = "near_image_in_other_split"
    items = list(found)
    flaws: dict[str, str] = {}
    held: dict[int, dict[str, Record]] = defaultdict(dict)  # by look and digest, of higher splits
    for split in RANKED:
        staying = []
        for record in _looking_alike(items, near):
            if record.split == split:
                other = _other(record.source.sha256, near, held)
                if other:
                    flaws[record.id] = f"{record.image}: looks like {other.image} of {other.split}"
                if not other or policy[reason] == "keep":
                    staying.append(record)
        for record in staying:
            held[near.look[record.source.sha256]].setdefault(record.source.sha256, record)
    return _settled(items, reason, flaws, policy)


def no_near_image_in_a_split(
    found: Iterable[Item], near: NearImages, policy: Policy
) -> Iterator[Item]:
    """Settles a record whose image looks like one of the same split that has as many pixels, or more."""
    items = list(found)
    flaws: dict[str, str] = {}
    records = sorted(
        _looking_alike(items, near),
        key=lambda record: (-record.width * record.height, record.source.sha256, record.id),
    )
    for split in RANKED:
        held: dict[int, dict[str, Record]] = defaultdict(dict)
        for record in records:
            if record.split == split:
                other = _other(record.source.sha256, near, held)
                if other:
                    flaws[record.id] = f"{record.image}: looks like {other.image}"
                else:
                    look = near.look[record.source.sha256]
                    held[look].setdefault(record.source.sha256, record)
    return _settled(items, "near_image_in_split", flaws, policy)


def with_groups(found: Iterable[Item], near: NearImages) -> Iterator[Item]:
    """Gives records without a group one: of all images that look alike, else of their image."""
    items = list(found)
    names = _cluster_names(_looking_alike(items, near), near)
    for item in items:
        if isinstance(item, Record):
            yield replace(item, group=item.group or names.get(item.source.sha256, split_unit(item)))
        else:
            yield item


def joined_units(records: Iterable[Record], near: NearImages) -> dict[tuple[str, str], str]:
    """By domain and split unit, a common name for units that share an image or have images that look alike.

    A split that falls on the name tears none of them apart. Units that stand alone are left out.
    """
    of_image: dict[str, tuple[str, str]] = {}
    of_look: dict[int, tuple[str, str]] = {}
    links = []
    for record in records:
        unit, digest = (record.domain, split_unit(record)), record.source.sha256
        first = of_image.setdefault(digest, unit)
        if first != unit:
            links.append((first, unit))
        if digest in near.look:
            look = near.look[digest]
            links.append((of_look.setdefault(look, unit), unit))
    links += [
        (unit, of_look[other])
        for look, unit in of_look.items()
        for other in near.alike[look]
        if other in of_look
    ]
    tops = components(links)
    names: dict[tuple[str, str], str] = {}
    for (_, name), top in tops.items():
        names[top] = min(name, names.get(top, name))
    return {unit: names[top] for unit, top in tops.items()}


def _in_two_splits(
    found: Iterable[Item], reason: str, key: Callable[[Record], Hashable], policy: Policy
) -> Iterator[Item]:
    """Settles each record that shares its key with one of a split of higher rank."""
    items = list(found)
    best: dict[Hashable, Record] = {}
    for item in items:
        if isinstance(item, Record):
            other = best.setdefault(key(item), item)
            if RANK[item.split] > RANK[other.split]:
                best[key(item)] = item
    for item in items:
        if isinstance(item, Record):
            other = best[key(item)]
            if RANK[other.split] > RANK[item.split]:
                detail = f"{item.image}: {other.image} of {other.split}"
                yield settle(item, reason, detail, policy)
                continue
        yield item


def _settled(
    items: Iterable[Item], reason: str, flaws: Mapping[str, str], policy: Policy
) -> Iterator[Item]:
    """The items, settled where their id has a flaw."""
    for item in items:
        if isinstance(item, Record) and item.id in flaws:
            yield settle(item, reason, flaws[item.id], policy)
        else:
            yield item


def _looking_alike(items: Iterable[Item], near: NearImages) -> Iterator[Record]:
    """The records whose image looks like another one."""
    return (item for item in items if isinstance(item, Record) and item.source.sha256 in near.look)


def _other(
    digest: str, near: NearImages, held: Mapping[int, Mapping[str, Record]]
) -> Record | None:
    """The first record that is held of another image that looks like this one."""
    for look in near.alike[near.look[digest]]:
        for other, record in held.get(look, {}).items():
            if other != digest:
                return record
    return None


def _cluster_names(records: Iterable[Record], near: NearImages) -> dict[str, str]:
    """By digest, a name of the images of these records that hang together by their looks."""
    digests = sorted({record.source.sha256 for record in records})
    of_look: dict[int, str] = {}
    links = []
    for digest in digests:
        first = of_look.setdefault(near.look[digest], digest)
        if first != digest:
            links.append((first, digest))
    links += [
        (digest, of_look[other])
        for look, digest in of_look.items()
        for other in near.alike[look]
        if other != look and other in of_look
    ]
    tops = components(links)
    least: dict[str, str] = {}
    for digest, top in tops.items():
        least[top] = min(digest, least.get(top, digest))
    return {digest: CLUSTER + least[top][:16] for digest, top in tops.items()}

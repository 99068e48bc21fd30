"""Remove what two splits must not share, or what one split repeats: images and their copies, groups, captions.

Splits have ranks: a record in test takes precedence over one in validation, and that over one in train.
The result does not depend on the order of the records.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from msgspec.structs import replace

from fdrd.curation.near_duplicates import NearImages, components
from fdrd.curation.source_contents import Item
from fdrd.curation.splitting import split_unit
from fdrd.policy import Policy, apply_policy
from fdrd.record import Record, Split

T = TypeVar("T")

RANKED: tuple[Split, ...] = ("test", "validation", "train")
RANK: dict[Split, int] = {"test": 3, "validation": 2, "train": 1, "": 0}
CLUSTER = "near-"
"""Prefix of the group of near duplicates for which the source gives no group."""
_LOOKS = {"near": "looks like", "mirrored": "is a mirror image of"}


def no_leaks(items: Iterable[Item], graphs: Iterable[NearImages], policy: Policy) -> Iterator[Item]:
    """Apply all filters between splits. A record with several problems is reported for the first one."""
    items = no_image_in_two_splits(items, policy)
    for near in graphs:
        items = no_near_image_in_two_splits(items, near, policy)
    return no_group_in_two_splits(items, policy)


def no_image_in_two_splits(items: Iterable[Item], policy: Policy) -> Iterator[Item]:
    """Apply the policy to records whose image is also in a split of higher rank."""
    return _in_two_splits(
        items, "image_in_other_split", lambda record: record.source.sha256, policy
    )


def no_group_in_two_splits(items: Iterable[Item], policy: Policy) -> Iterator[Item]:
    """Apply the policy to records whose given group is also in a split of higher rank of the domain."""
    return _in_two_splits(
        items,
        "group_in_other_split",
        lambda record: (record.domain, record.group or record.id),
        policy,
    )


def no_caption_in_two_splits(items: Iterable[Item], policy: Policy) -> Iterator[Item]:
    """Apply the policy to records whose caption, ignoring case, is also in a split of higher rank."""
    return _in_two_splits(
        items, "caption_in_other_split", lambda record: record.caption.casefold(), policy
    )


def no_near_image_in_two_splits(
    items: Iterable[Item], near: NearImages, policy: Policy
) -> Iterator[Item]:
    """Apply the policy to records whose image looks like a kept one in a split of higher rank, or mirrors it."""
    reason = f"{near.kind}_image_in_other_split"
    items = list(items)
    details: dict[str, str] = {}
    # By node and digest, the kept records of higher splits.
    kept: dict[int, dict[str, Record]] = defaultdict(dict)
    for split in RANKED:
        kept_here = []
        for record in _with_near_images(items, near):
            if record.split == split:
                other = _near_record(record.source.sha256, near, kept)
                if other:
                    details[record.id] = (
                        f"{record.image}: {_LOOKS[near.kind]} {other.image} of {other.split}"
                    )
                if not other or policy[reason] == "keep":
                    kept_here.append(record)
        for record in kept_here:
            kept[near.node[record.source.sha256]].setdefault(record.source.sha256, record)
    return _apply_to(items, reason, details, policy)


def no_near_image_in_a_split(
    items: Iterable[Item], near: NearImages, policy: Policy
) -> Iterator[Item]:
    """Apply the policy to records whose image looks like one of the same split, or mirrors it.

    The one with the most pixels is left alone.
    """
    items = list(items)
    details: dict[str, str] = {}
    records = sorted(
        _with_near_images(items, near),
        key=lambda record: (-record.width * record.height, record.source.sha256, record.id),
    )
    for split in RANKED:
        kept: dict[int, dict[str, Record]] = defaultdict(dict)
        for record in records:
            if record.split == split:
                other = _near_record(record.source.sha256, near, kept)
                if other:
                    details[record.id] = f"{record.image}: {_LOOKS[near.kind]} {other.image}"
                else:
                    digest = record.source.sha256
                    kept[near.node[digest]].setdefault(digest, record)
    return _apply_to(items, f"{near.kind}_image_in_split", details, policy)


def assign_groups(items: Iterable[Item], graphs: Sequence[NearImages]) -> Iterator[Item]:
    """Give records without a group one: that of their near and mirrored duplicates, else that of their image."""
    items = list(items)
    names = _cluster_names((item for item in items if isinstance(item, Record)), graphs)
    for item in items:
        if isinstance(item, Record):
            yield replace(item, group=item.group or names.get(item.source.sha256, split_unit(item)))
        else:
            yield item


def linked_units(
    records: Iterable[Record], graphs: Sequence[NearImages]
) -> dict[tuple[str, str], str]:
    """Map (domain, split unit) to a common name for units that share an image or a copy of one.

    Splitting by this name keeps linked units together. Units without links are left out.
    """
    of_image: dict[str, tuple[str, str]] = {}
    links = []
    for record in records:
        unit = record.domain, split_unit(record)
        links.append((of_image.setdefault(record.source.sha256, unit), unit))
    links += _image_links(of_image, graphs)
    roots = components((one, other) for one, other in links if one != other)
    names: dict[tuple[str, str], str] = {}
    for (_, name), root in roots.items():
        names[root] = min(name, names.get(root, name))
    return {unit: names[root] for unit, root in roots.items()}


def _image_links(of_image: Mapping[str, T], graphs: Iterable[NearImages]) -> Iterator[tuple[T, T]]:
    """Link the values, by image digest, of images that look alike or mirror each other."""
    for near in graphs:
        of_node: dict[int, T] = {}
        for digest, value in of_image.items():
            if digest in near.node:
                yield of_node.setdefault(near.node[digest], value), value
        for node, value in of_node.items():
            yield from ((value, of_node[each]) for each in near.neighbors[node] if each in of_node)


def _in_two_splits(
    items: Iterable[Item], reason: str, key: Callable[[Record], Hashable], policy: Policy
) -> Iterator[Item]:
    """Apply the policy to each record that shares its key with a record of a split of higher rank."""
    items = list(items)
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
                yield apply_policy(item, reason, detail, policy)
                continue
        yield item


def _apply_to(
    items: Iterable[Item], reason: str, details: Mapping[str, str], policy: Policy
) -> Iterator[Item]:
    """Apply the policy to the records with a detail; pass all other items on."""
    for item in items:
        if isinstance(item, Record) and item.id in details:
            yield apply_policy(item, reason, details[item.id], policy)
        else:
            yield item


def _with_near_images(items: Iterable[Item], near: NearImages) -> Iterator[Record]:
    return (item for item in items if isinstance(item, Record) and item.source.sha256 in near.node)


def _near_record(
    digest: str, near: NearImages, kept: Mapping[int, Mapping[str, Record]]
) -> Record | None:
    """Return the first kept record of another image that looks like this one."""
    for node in near.neighbors[near.node[digest]]:
        for other, record in kept.get(node, {}).items():
            if other != digest:
                return record
    return None


def _cluster_names(records: Iterable[Record], graphs: Sequence[NearImages]) -> dict[str, str]:
    """Name, by image digest, the cluster of similar images among these records."""
    digests = {record.source.sha256: record.source.sha256 for record in records}
    links = _image_links(digests, graphs)
    roots = components((one, other) for one, other in links if one != other)
    least: dict[str, str] = {}
    for digest, root in roots.items():
        least[root] = min(digest, least.get(root, digest))
    return {digest: CLUSTER + least[root][:16] for digest, root in roots.items()}

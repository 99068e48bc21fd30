"""Give records to the functions of `fdrd.curation`, and get them back as records and rejections."""

import tempfile
from pathlib import Path

from fdrd.curation.near_duplicates import NearImages
from fdrd.curation.pair_table import pair_table
from fdrd.curation.source_contents import CheckedImage, SourceContents
from fdrd.images.check import ImageCheck
from fdrd.record import Record


def contents_of(items, folder, checks=None):
    """Return contents with these items; without checks, each record says what its image is."""
    contents = SourceContents.in_folder(Path(folder), "")
    for item in items:
        if isinstance(item, Record):
            check = ImageCheck(item.source.sha256, 1, item.width, item.height)
            check = checks[item.image] if checks else check
            contents.images.append(CheckedImage(item.image, check))
        contents.add(item, len(contents.images) - 1)
    return contents


def by_number(pairs, near):
    """Return a graph whose images are named by their index in the table, as in a build."""
    number = {pairs.images.name(each): each for each in range(len(pairs.images.digests))}
    node = {number[name]: node for name, node in near.node.items() if name in number}
    return NearImages(node, near.neighbors, near.kind)


def outcome(pairs):
    """Return all items in source order."""
    kept = {row: pairs.record(row) for row in pairs.rows.tolist()}
    found = [(pairs.contents.places[row], item) for row, item in (kept | pairs.rejected).items()]
    return [item for _, item in sorted([*found, *pairs.contents.rejections], key=lambda at: at[0])]


def curated(function, items, *arguments, checks=None):
    """Return the items after one function of the curation."""

    def renamed(argument):
        if isinstance(argument, list):
            return [by_number(pairs, near) for near in argument]
        return by_number(pairs, argument) if isinstance(argument, NearImages) else argument

    with (
        tempfile.TemporaryDirectory() as folder,
        contents_of(items, folder, checks) as contents,
    ):
        pairs = pair_table(contents)
        function(pairs, *map(renamed, arguments))
        return outcome(pairs)

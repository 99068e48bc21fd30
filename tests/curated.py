"""Give records to the functions of `fdrd.curation`, and get them back as records and rejections."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

from fdrd.curation.near_duplicates import NearImages
from fdrd.curation.pair_table import CheckedImage, SourceWriter, pair_table
from fdrd.files.struct_table import StructWriter
from fdrd.images.check import ImageCheck
from fdrd.record import Record


@contextmanager
def contents_of(items, folder, checks=None):
    """Yield contents with these items; without checks, each record says what its image is."""
    with (
        SourceWriter(Path(folder, "records")) as writer,
        StructWriter(Path(folder, "images"), CheckedImage) as images,
    ):
        for item in items:
            if isinstance(item, Record):
                check = ImageCheck(item.source.sha256, 1, item.width, item.height)
                check = checks[item.image] if checks else check
                images.append(CheckedImage(item.image, check))
            writer.add(item, len(images) - 1)
        yield writer.finish("", images.finish())


def by_number(pairs, near):
    """Return a graph whose images are named by their index in the table, as in a build."""
    number = {pairs.images.name(each): each for each in range(len(pairs.images.digests))}
    node = {number[name]: node for name, node in near.node.items() if name in number}
    return NearImages(node, near.neighbors, near.kind)


def outcome(pairs):
    """Return all items in source order."""
    kept = dict(zip(pairs.rows.tolist(), pairs.records(pairs.rows), strict=True))
    found = [(pairs.contents.positions[row], item) for row, item in (kept | pairs.rejected).items()]
    return [item for _, item in sorted([*found, *pairs.contents.rejections], key=lambda at: at[0])]


def curated(function, items, *arguments, checks=None):
    """Return the items after one function of the curation."""

    def renamed(argument):
        if isinstance(argument, list):
            return [by_number(pairs, near) for near in argument]
        return by_number(pairs, argument) if isinstance(argument, NearImages) else argument

    with tempfile.TemporaryDirectory() as folder, contents_of(items, folder, checks) as contents:
        pairs = pair_table(contents)
        function(pairs, *map(renamed, arguments))
        return outcome(pairs)

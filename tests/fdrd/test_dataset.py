"""`fdrd.load` and the view of a split."""

import errno
from pathlib import Path

import datasets
import pytest

from benchmark.training.row_selection import train_split
from fdrd.dataset import load_splits, load_view


@pytest.fixture
def train(built_birds):
    return load_view(built_birds.out, "train")


def test_images_and_captions_are_distinct_and_pairs_join_them(train):
    assert len(set(train.image_digests)) == len(train.image_digests)
    assert len(set(train.captions)) == len(train.captions) == len(train)
    twice = [row for row in range(len(train)) if "wren/00.png" in train.ids[row]]
    assert len({int(train.pairs[row, 0]) for row in twice}) == 1
    assert len(train.image_digests) == len(train) - (len(twice) - 1)
    for row in range(len(train)):
        caption = train.captions[train.pairs[row, 1]]
        assert train.categories[train.row_category[row]] in caption


def test_a_selection_keeps_pairs_together(train):
    rows = [7, 3, 11]
    part = train.select(rows)
    assert part.ids == [train.ids[row] for row in rows]
    assert [part.captions[c] for c in part.pairs[:, 1]] == [
        train.captions[train.pairs[r, 1]] for r in rows
    ]
    pixels = [image.tobytes() for image in part.images(part.pairs[:, 0])]
    assert pixels == [image.tobytes() for image in train.images(train.pairs[rows, 0])]


def test_the_fingerprint_depends_on_order_and_content(train):
    assert train.select([1, 2]).fingerprint == train.select([1, 2]).fingerprint
    assert train.select([1, 2]).fingerprint != train.select([2, 1]).fingerprint
    assert train.select([1, 2]).fingerprint != train.select([1, 3]).fingerprint


def test_a_split_that_cannot_be_read_is_not_left_out(built_birds, monkeypatch):
    out = built_birds.out
    assert {view.split for view in load_splits(out)} > {"train"}
    read = datasets.Dataset.from_file

    def fail(path):
        if Path(path).name.startswith("test"):
            raise OSError(errno.ENOSPC, "No space left on device", path)
        return read(path)

    monkeypatch.setattr(datasets.Dataset, "from_file", fail)
    with pytest.raises(OSError, match="No space left"):
        load_splits(out)
    monkeypatch.undo()
    assert train_split(str(out), "elsewhere") is None

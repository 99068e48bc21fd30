"""Every layout that people have builds to the same records, without options or with those that its error names."""

import hashlib

import pytest
from layouts import LAYOUTS, PAIRS

from fdrd.errors import FdrdError
from fdrd.images.check import read_image
from fdrd.pipeline.builder import build
from fdrd.reasons import Rejection
from fdrd.sources import READERS, find_domains, make_options, read_domain, unused_files

SPLITS = {"train": "train", "val": "validation", "test": "test"}


def read(root, **options):
    options = make_options(**options)
    domains = find_domains(root, options)
    items = [item for domain in domains for item in read_domain(root, domain)]
    return domains, items


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_gives_the_same_records(tmp_path, name):
    layout = LAYOUTS[name]
    root = tmp_path / "raw"
    root.mkdir()
    layout.write(root, PAIRS)
    if layout.options:
        with pytest.raises(FdrdError) as raised:
            build(root, tmp_path / "out", workers=1)
        assert all(
            f"--map {option}" in str(raised.value) for option in layout.options["columns"][:2]
        )
    domains, items = read(root, **layout.options)
    assert [domain.reader for domain in domains] == [layout.reader]
    assert [item for item in items if isinstance(item, Rejection)] == []
    found = {
        (
            hashlib.sha256(read_image(str(root), item.image)).hexdigest(),
            item.caption,
            item.category,
            item.split,
        )
        for item in items
    }
    assert found == {
        (
            hashlib.sha256(pair.data).hexdigest(),
            caption,
            pair.category if "category" in layout.has else "",
            SPLITS[pair.split] if "split" in layout.has else "",
        )
        for pair in PAIRS
        for caption in pair.captions[: layout.captions]
    }
    assert len({item.id for item in items}) == len(items) == len(found)


def test_every_reader_of_captions_has_a_layout():
    tested = {layout.reader for layout in LAYOUTS.values()}
    assert tested == READERS.keys() - {"coop_splits", "sugar_crepe"}  # sugar_crepe: all for test


def test_attributes_of_cub_become_spans_where_the_caption_says_them(tmp_path):
    LAYOUTS["cub"].write(tmp_path, PAIRS)
    _, items = read(tmp_path)
    spans = [(span.type, span.value) for span in items[0].attributes]
    assert ("color", "red") in spans
    assert items[1].attributes == ()


def test_unused_annotations_are_named(tmp_path):
    LAYOUTS["coco"].write(tmp_path, PAIRS)
    LAYOUTS["flickr8k_captions_txt"].write(tmp_path, PAIRS)
    (tmp_path / "boxes.json").write_text("{}")
    domains, _ = read(tmp_path)
    why = dict(unused_files(tmp_path, domains))
    assert why["captions.txt"].endswith("the layout table reads this file instead")
    assert why["boxes.json"].startswith('it has no "positive" captions')

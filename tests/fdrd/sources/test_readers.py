"""Properties of every reader for arbitrary annotations: any bytes give records and rejections, never an error."""

import json
import os
import tempfile
from functools import cache
from pathlib import Path

import pytest
from archives import tar
from fuzz.driver import run_mutations
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import LAYOUTS, PAIRS, put
from msgspec import to_builtins

from fdrd.errors import FdrdError
from fdrd.reasons import Rejection
from fdrd.record import Record
from fdrd.sources import READERS, find_domains, read_domain
from fdrd.sources.reading.columns import COLUMNS
from fdrd.sources.reading.source_folder import SourceFolder
from fdrd.storage.manifest import schema
from tests.scenes import image_bytes

RUNS = settings(max_examples=int(os.environ.get("FDRD_EXAMPLES", "25")), deadline=None)

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")), max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from([name for known in COLUMNS.values() for name in known]) | words
places = st.sampled_from(["wren/a.png", "a.png", "../a.png", "/etc/a.png", "b_1", "gone.png"])
objects = st.dictionaries(names, values | places, max_size=6)


IMAGES = {name: image_bytes(0) for name in ("wren/a.png", "images/b_1.png")}


def read(reader, file, content):
    with tempfile.TemporaryDirectory() as folder:
        for path, data in {**IMAGES, file: content}.items():
            put(Path(folder), path, data)
        return list(READERS[reader].read(SourceFolder(Path(folder))))


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def member(row):
    """Return a tar of one sample whose JSON is the row."""
    return tar({"wren/a.png": b"x", "wren/a.json": json.dumps(row).encode()})


@RUNS
@given(st.lists(objects, max_size=5), st.sampled_from(["metadata.jsonl", "pairs.jsonl"]))
def test_every_json_line_gives_items_with_its_line_number(rows, file):
    reader = "image_folder" if file == "metadata.jsonl" else "table"
    found = read(reader, file, jsonl(rows))
    origins = [
        item.key if isinstance(item, Rejection) else item.source.origin.partition(": ")[2]
        for item in found
        if file in (item.file if isinstance(item, Rejection) else item.source.origin)
    ]
    assert {f"line {number}" for number in range(1, len(rows) + 1)} == set(origins)


@RUNS
@given(
    st.dictionaries(
        words.filter(lambda key: key not in ("train", "val", "test")), objects, max_size=5
    )
)
def test_every_key_of_released_annotations_is_one_item(records):
    found = read("released", "captions.json", json.dumps(records).encode())
    keys = [
        item.key
        if isinstance(item, Rejection)
        else item.source.origin.removeprefix("captions.json: ")
        for item in found
    ]
    assert keys == list(records)


@RUNS
@given(objects)
def test_every_sample_of_an_archive_is_accounted_for(row):
    found = read("webdataset", "0.tar", member(row))
    assert found
    for item in found:
        if isinstance(item, Record):
            assert item.image.member.endswith(" wren/a.png")
        else:
            assert item.key == "wren/a"


def check(target, data):
    """Read a source whose fuzzed file has this content, check every item, and return the number of items.

    Raises:
        AssertionError: an item is not valid.
        Exception: the reader failed.
    """
    reader, file, files = target
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for path, content in {**files, file: data}.items():
            put(root, path, content)
        if not reader:
            return _check_domain_file(root)
        module, source = READERS[reader], SourceFolder(root)
        for text in (module.detect(source), module.near_miss(source)):
            assert text is None or isinstance(text, str)
        items = list(module.read(source))
        assert items == list(module.read(SourceFolder(root))), "two readings differ"
        assert all(isinstance(file, str) for file in module.used_files(source))
        for item in items:
            _check_item(item)
        return len(items)


def _check_domain_file(root):
    try:
        return sum(len(list(read_domain(root, domain))) for domain in find_domains(root))
    except FdrdError as error:
        if "domain.toml" not in str(error):
            raise
        return 0


def _check_item(item):
    if isinstance(item, Rejection):
        assert item.file
        assert len(item.detail) < 10_000
        return
    assert item.id
    assert not item.image.path.startswith("/")
    assert ".." not in item.image.path.split("/")
    for span in item.attributes:
        assert item.caption[span.start : span.end] == span.value
    try:
        value = json.loads(json.dumps(to_builtins(item), ensure_ascii=False).encode())
    except UnicodeEncodeError:
        return  # a lone surrogate, which a filter of the build rejects
    if item.caption:  # a build rejects records without a caption
        for flaw in schema("record").iter_errors(value):
            raise AssertionError(flaw)


_LINE = {
    "file_name": "wren/a.png",
    "caption": ["A  brown wren.", "A wren."],
    "category": "house_wren",
    "split": "val",
    "attributes": [{"type": "color", "value": "brown", "start": 3, "end": 8}],
    "negatives": ["A robin.", {"caption": "A red wren.", "kind": "attribute"}],
}
_EXTRAS = {
    "attributes": [{"type": "color", "value": "red", "start": 2, "end": 5}],
    "negatives": [{"caption": "A blue b.", "kind": "attribute"}],
    "record": {"id": "7", "group": "g", "license": "mit"},
}
_RECORD = {"file_name": "b_1", "class_name": "b", "positive": "A b.It is.", "negative": ["A c."]}
_CREPE = {"0": {"filename": "b_1.png", "caption": "A b.", "negative_caption": "A c."}}
_ROW = {**_LINE, "caption": "A  brown wren.", "id": "birds/1", "domain": "birds"}
_EXPORTED = json.dumps({"rows": [{**_ROW, "source": {"license": "CC0-1.0"}}]}).encode()
_DOMAIN = 'license = "CC0-1.0"\ngroup = "{group}_*"\n[meta_categories]\nbird = ["wren"]\n'
_COCO = {
    "images": [{"id": 1, "file_name": "b_1.png"}],
    "annotations": [{"id": 7, "image_id": 1, "caption": "A red b.", **_EXTRAS}],
}
_SENTENCES = {"filename": "b_1.png", "split": "val", "sentences": [{"raw": "A red b.", **_EXTRAS}]}
_MORE = (
    ("", "domain.toml", _DOMAIN),
    ("image_folder", "metadata.jsonl", _LINE),
    ("released", "captions_test.json", {"b_1": _RECORD}),
    ("table", "pairs.jsonl", _LINE),
    ("coop_splits", "split_zhou_X.json", {"train": [["b_1.png", 0, "b"]], "test": []}),
    ("coop_splits", "images_variant_train.txt", "b_1 707-320\n"),
    ("webdataset", "0.tar", tar({"0.png": b"x", "0.json": _EXPORTED})),
    ("coco_captions", "annotations/captions_train.json", _COCO),
    ("karpathy", "dataset_exported.json", {"images": [_SENTENCES], "dataset": "coco"}),
    ("sugar_crepe", "data/swap_att.json", _CREPE),
)
"""Readers, files, and contents with fields that no layout has. An empty reader means `domain.toml`."""


@cache
def seeds_of(layout):
    """Return (reader, file, all files) and the content of the file, of each kind of annotations of a layout."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for reader, file, content in () if layout else _MORE:
            put(root, file, content)
            files = IMAGES | {file: (root / file).read_bytes()}
            found.append(((reader, file, files), files[file]))
        if layout:
            LAYOUTS[layout].write(root, PAIRS[:4])
            paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
            files = {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}
            kinds = {path.rpartition(".")[2]: path for path in files}
            for ending in sorted(kinds.keys() - {"png", "jpg"}):
                target = LAYOUTS[layout].reader, kinds[ending], files
                found.append((target, files[kinds[ending]]))
    return found


@pytest.mark.parametrize("layout", ["", *LAYOUTS])
def test_every_seed_gives_items(layout):
    for target, data in seeds_of(layout):
        assert check(target, data) > 0, target[1]


def test_mutated_seeds_break_no_reader():
    run_mutations(check, [seed for layout in ["", *LAYOUTS] for seed in seeds_of(layout)])

"""Properties of every reader for arbitrary annotations, and the fuzz target on its seeds."""

import json
import os
import tempfile
from pathlib import Path

import pytest
from archives import tar
from fuzz.driver import run_mutations
from fuzz.fuzz_readers import SEEDS, TARGETS, check
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fdrd.reasons import Rejection
from fdrd.record import Record
from fdrd.sources import READERS
from fdrd.sources.reading.columns import COLUMNS
from fdrd.sources.reading.source_folder import SourceFolder

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


def read(reader, file, content):
    with tempfile.TemporaryDirectory() as folder:
        for name in ("wren/a.png", "images/b_1.png"):
            (Path(folder) / name).parent.mkdir()
            Image.new("RGB", (2, 2)).save(Path(folder) / name)
        (Path(folder) / file).write_bytes(content)
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


@pytest.mark.parametrize("seed", range(len(SEEDS)), ids=[file for _, file, _ in TARGETS])
def test_every_fuzz_seed_gives_items(seed):
    assert check(SEEDS[seed]) > 0


def test_mutated_seeds_break_no_reader():
    run_mutations(check, SEEDS)

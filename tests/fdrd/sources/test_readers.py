"""Properties of every reader for arbitrary annotations, and the fuzz target on its seeds."""

import io
import json
import os
import re
import tempfile
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives import tar
from fuzz.driver import run_mutations
from fuzz.fuzz_readers import FILES, SEEDS, check
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import LAYOUTS, PAIRS
from PIL import Image

from fdrd.reasons import Rejection
from fdrd.record import Record
from fdrd.sources import READERS
from fdrd.sources.reading.columns import COLUMNS
from fdrd.sources.reading.source_folder import SourceFolder
from fdrd.text.normalize import normalize_caption, normalize_category

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


captions = words.map(lambda text: f"A {text} b")


def in_jsonl(caption, category):
    row = {"file_name": "wren/a.png", "caption": caption, "category": category}
    return "image_folder", "metadata.jsonl", jsonl([row])


def in_table(caption, category):
    row = {"path": "wren/a.png", "title": caption, "breed": category}
    return "table", "pairs.jsonl", jsonl([row])


def in_csv(caption, category):
    cells = [f'"{text.replace(chr(34), chr(34) * 2)}"' for text in (caption, category)]
    return "table", "pairs.csv", f"image,caption,class\nwren/a.png,{','.join(cells)}\n".encode()


def in_parquet(caption, category):
    file = io.BytesIO()
    pq.write_table(pa.table({"image": [b"x"], "text": [caption], "label": [category]}), file)
    return "table", "pairs.parquet", file.getvalue()


def in_released(caption, category):
    record = {"file_name": "b_1", "class_name": category, "positive": caption}
    return "released", "captions.json", json.dumps({"b_1": record}).encode()


def in_tar(caption, category):
    return "webdataset", "0.tar", member({"caption": caption, "category": category})


@pytest.mark.parametrize("write", [in_jsonl, in_table, in_csv, in_parquet, in_released, in_tar])
def test_valid_annotations_are_read_as_they_are_except_for_normalization(write):
    @RUNS
    @given(captions, words.map(lambda text: f"b{text}"))
    def check_one(caption, category):
        found = next(item for item in read(*write(caption, category)) if isinstance(item, Record))
        assert found.category == normalize_category(category)[0]
        normal, _ = normalize_caption(caption)
        # `a` before the category may have become `an`.
        articles = re.compile("(?<=[Aa])n(?= )")
        assert articles.sub("", found.caption) == articles.sub("", normal)

    check_one()


@pytest.mark.parametrize("seed", range(len(SEEDS)), ids=[file for _, file in FILES])
def test_every_fuzz_seed_gives_items(seed):
    assert SEEDS[seed][0] == seed
    assert check(SEEDS[seed]) > 0


def test_mutated_seeds_break_no_reader():
    run_mutations(check, SEEDS, int(os.environ.get("FDRD_EXAMPLES", "300")))


@pytest.mark.parametrize("text", ["", "\u202e"])
@pytest.mark.parametrize("file", ["pairs.jsonl", "captions_test.json"])
def test_a_negative_without_visible_text_is_rejected(file, text):
    number = [name for _, name in FILES].index(file)
    value = json.loads(SEEDS[number][1:])
    if file == "pairs.jsonl":
        value["negatives"] = [text]
    else:
        value["b_1"]["negative"] = [text]
    assert check(bytes([number]) + json.dumps(value).encode()) > 0


@pytest.mark.parametrize("name", LAYOUTS)
def test_damaged_annotations_break_no_reader(tmp_path, name):
    LAYOUTS[name].write(tmp_path, PAIRS)
    folder = SourceFolder(tmp_path)
    reader, draw = READERS[LAYOUTS[name].reader], Random(0)
    files = [
        path for path in reader.used_files(folder) if path in folder and (tmp_path / path).is_file()
    ]
    for _ in range(4):
        file = tmp_path / draw.choice(
            files or [path for path in folder.files if (tmp_path / path).is_file()]
        )
        whole = file.read_bytes()
        start, end = sorted(draw.randrange(len(whole) + 1) for _ in "ab")
        file.write_bytes(
            whole[:start] + draw.choice([b"", b"\xff\0", b'{"', whole[start:end] * 2]) + whole[end:]
        )
        for item in reader.read(SourceFolder(tmp_path)):
            assert isinstance(item, Record | Rejection)
        file.write_bytes(whole)

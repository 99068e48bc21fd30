"""Fuzz target for the annotation readers: any bytes give records and rejections, never an error.

    python tests/fuzz readers      # tests/fuzz/__main__.py lists the options

The first byte of an input selects the file (`FILES`), the rest is its content. `SEEDS` has a valid input for
each. `tests/fdrd/sources/test_readers.py` runs the seeds and some mutations.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from archives import tar
from msgspec import to_builtins
from PIL import Image

from fdrd.errors import FdrdError
from fdrd.reasons import Rejection
from fdrd.sources import READERS, find_domains, read_domain
from fdrd.sources.reading.source_folder import SourceFolder
from fdrd.storage.manifest import schema

FILES = (
    ("image_folder", "metadata.jsonl"),
    ("image_folder", "metadata.csv"),
    ("image_folder", "wren/a.txt"),
    ("released", "captions_test.json"),
    ("table", "pairs.csv"),
    ("table", "pairs.tsv"),
    ("table", "pairs.jsonl"),
    ("table", "pairs.parquet"),
    ("saved_dataset", "data-00000-of-00001.arrow"),
    ("webdataset", "0.tar"),
    ("coop_splits", "split_zhou_X.json"),
    ("coop_splits", "images_variant_train.txt"),
    ("", "domain.toml"),
    ("coco_captions", "annotations/captions_val2017.json"),
    ("karpathy", "dataset_coco.json"),
    ("flickr_tokens", "results.token"),
    ("json_captions", "captions.json"),
    ("json_captions", "annotations/llava.json"),
    ("cub", "images.txt"),
    ("nested_folders", "wren/a.txt"),
    ("image_folder", "birds.zip"),
    ("webdataset", "0.tar"),
    ("coco_captions", "annotations/captions_train.json"),
    ("karpathy", "dataset_exported.json"),
    ("sugar_crepe", "data/swap_att.json"),
)
"""Readers, and the files that are fuzzed. An empty reader means `domain.toml`."""


def check(data):
    """Read one input, check every item, and return the number of items.

    Raises:
        AssertionError: an item is not valid.
        Exception: the reader failed.
    """
    reader, file = FILES[data[0] % len(FILES)] if data else FILES[0]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _draw(root, reader)
        (root / file).parent.mkdir(exist_ok=True)
        (root / file).write_bytes(data[1:])
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


def _draw(root, reader):
    """Write two images for the annotations to find."""
    for name in ("wren/a.png", "images/b_1.png"):
        (root / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (2, 2)).save(root / name)
    if reader == "cub":
        (root / "classes.txt").write_text("1 001.wren\n")
        (root / "image_class_labels.txt").write_text("1 1\n")
    if reader == "saved_dataset":
        (root / "state.json").write_text("{}")
        (root / "dataset_info.json").write_text("{}")


def _seeds():
    line = {
        "file_name": "wren/a.png",
        "caption": ["A  brown wren.", "A wren."],
        "category": "house_wren",
        "split": "val",
        "attributes": [{"type": "color", "value": "brown", "start": 3, "end": 8}],
        "negatives": ["A robin.", {"caption": "A red wren.", "kind": "attribute"}],
    }
    extras = {
        "attributes": [{"type": "color", "value": "red", "start": 2, "end": 5}],
        "negatives": [{"caption": "A blue b.", "kind": "attribute"}],
        "record": {"id": "7", "group": "g", "license": "mit"},
    }
    record = {"file_name": "b_1", "class_name": "b", "positive": "A b.It is.", "negative": ["A c."]}
    cells = 'image,caption,label,negatives\nwren/a.png,"A wren, brown",wren,"[""A robin.""]"\n'
    table = pa.table({"image": [{"bytes": b"x", "path": "a.png"}], "text": ["A."], "label": ["b"]})
    parquet, arrow = io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet)
    with pa.ipc.new_stream(arrow, table.schema) as stream:
        stream.write_table(table)
    contents = (
        json.dumps(line).encode() + b"\n",
        cells.replace("image,", "file_name,").encode(),
        b"A brown wren.\nA wren.\n",
        json.dumps({"b_1": record}).encode(),
        cells.encode(),
        cells.replace(",", "\t").encode(),
        json.dumps(line).encode() + b"\n",
        parquet.getvalue(),
        arrow.getvalue(),
        tar({"wren/a.png": b"x", "wren/a.txt": b"A.", "wren/a.json": b'{"id": 1}'}),
        json.dumps({"train": [["b_1.png", 0, "b"]], "test": []}).encode(),
        b"b_1 707-320\n",
        b'license = "CC0-1.0"\ngroup = "{group}_*"\n[meta_categories]\nbird = ["wren"]\n',
    )
    coco = {
        "images": [{"id": 1, "file_name": "b_1.png"}],
        "annotations": [{"id": 7, "image_id": 1, "caption": "A b."}],
    }
    image = {"filename": "b_1.png", "split": "restval", "sentences": [{"raw": "A b."}]}
    turns = [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "A b."}]
    exported = {**line, "caption": "A  brown wren.", "id": "birds/1", "domain": "birds"}
    exported["source"] = {"license": "CC0-1.0"}
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("robin/c.png", b"x" * 99)
        file.writestr("robin/c.txt", "A robin.")
    contents = (
        *contents,
        json.dumps(coco).encode(),
        json.dumps({"images": [image], "dataset": "coco"}).encode(),
        b"b_1.png#0\tA b.\nb_1.png#1\tA small b.\n",
        json.dumps({"b_1.png": ["A b.", "A small b."]}).encode(),
        json.dumps([{"image": "images/b_1.png", "conversations": turns}]).encode(),
        b"1 b_1.png\n",
        b"A wren.\n",
        zipped.getvalue(),
        tar({"0.png": b"x", "0.json": json.dumps({"rows": [exported]}).encode()}),
        json.dumps(
            {**coco, "annotations": [{"image_id": 1, "caption": "A red b.", **extras}]}
        ).encode(),
        json.dumps({"images": [{**image, "sentences": [{"raw": "A red b.", **extras}]}]}).encode(),
        json.dumps(
            {"0": {"filename": "b_1.png", "caption": "A b.", "negative_caption": "A c."}}
        ).encode(),
    )
    for number, content in enumerate(contents):
        yield bytes([number]) + content


SEEDS = tuple(_seeds())

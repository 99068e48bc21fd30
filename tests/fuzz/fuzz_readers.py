"""Fuzz target for the annotation readers: any bytes give records and rejections, never an error.

    python tests/fuzz readers      # tests/fuzz/__main__.py lists the options

The first byte of an input selects the file (its place in `FILES`), the rest is its content. `SEEDS` has a valid
input for each. `tests/fdrd/sources/test_readers.py` runs the seeds and some mutations.
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
_CELLS = 'image,caption,label,negatives\nwren/a.png,"A wren, brown",wren,"[""A robin.""]"\n'
_RECORD = {"file_name": "b_1", "class_name": "b", "positive": "A b.It is.", "negative": ["A c."]}
_COCO = {"images": [{"id": 1, "file_name": "b_1.png"}]}
_IMAGE = {"filename": "b_1.png", "split": "restval"}
_TURNS = [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "A b."}]
_LLAVA = [{"image": "images/b_1.png", "conversations": _TURNS}]
_CREPE = {"0": {"filename": "b_1.png", "caption": "A b.", "negative_caption": "A c."}}
_ROW = {**_LINE, "caption": "A  brown wren.", "id": "birds/1", "domain": "birds"}
_EXPORTED = json.dumps({"rows": [{**_ROW, "source": {"license": "CC0-1.0"}}]}).encode()
_SAMPLE = {"wren/a.png": b"x", "wren/a.txt": b"A.", "wren/a.json": b'{"id": 1}'}
_DOMAIN = 'license = "CC0-1.0"\ngroup = "{group}_*"\n[meta_categories]\nbird = ["wren"]\n'


def _tables():
    """Return a table as Parquet and as an Arrow stream."""
    table = pa.table({"image": [{"bytes": b"x", "path": "a.png"}], "text": ["A."], "label": ["b"]})
    parquet, arrow = io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet)
    with pa.ipc.new_stream(arrow, table.schema) as stream:
        stream.write_table(table)
    return parquet.getvalue(), arrow.getvalue()


def _zipped():
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("robin/c.png", b"x" * 99)
        file.writestr("robin/c.txt", "A robin.")
    return zipped.getvalue()


def _coco(caption, **extras):
    return {**_COCO, "annotations": [{"id": 7, "image_id": 1, "caption": caption, **extras}]}


def _karpathy(caption, **extras):
    return {"images": [{**_IMAGE, "sentences": [{"raw": caption, **extras}]}], "dataset": "coco"}


_PARQUET, _ARROW = _tables()
_TARGETS = (
    ("image_folder", "metadata.jsonl", _LINE),
    ("image_folder", "metadata.csv", _CELLS.replace("image,", "file_name,")),
    ("image_folder", "wren/a.txt", "A brown wren.\nA wren.\n"),
    ("released", "captions_test.json", {"b_1": _RECORD}),
    ("table", "pairs.csv", _CELLS),
    ("table", "pairs.tsv", _CELLS.replace(",", "\t")),
    ("table", "pairs.jsonl", _LINE),
    ("table", "pairs.parquet", _PARQUET),
    ("saved_dataset", "data-00000-of-00001.arrow", _ARROW),
    ("webdataset", "0.tar", tar(_SAMPLE)),
    ("coop_splits", "split_zhou_X.json", {"train": [["b_1.png", 0, "b"]], "test": []}),
    ("coop_splits", "images_variant_train.txt", "b_1 707-320\n"),
    ("", "domain.toml", _DOMAIN),
    ("coco_captions", "annotations/captions_val2017.json", _coco("A b.")),
    ("karpathy", "dataset_coco.json", _karpathy("A b.")),
    ("flickr_tokens", "results.token", "b_1.png#0\tA b.\nb_1.png#1\tA small b.\n"),
    ("json_captions", "captions.json", {"b_1.png": ["A b.", "A small b."]}),
    ("json_captions", "annotations/llava.json", _LLAVA),
    ("cub", "images.txt", "1 b_1.png\n"),
    ("nested_folders", "wren/a.txt", "A wren.\n"),
    ("image_folder", "birds.zip", _zipped()),
    ("webdataset", "0.tar", tar({"0.png": b"x", "0.json": _EXPORTED})),
    ("coco_captions", "annotations/captions_train.json", _coco("A red b.", **_EXTRAS)),
    ("karpathy", "dataset_exported.json", _karpathy("A red b.", **_EXTRAS)),
    ("sugar_crepe", "data/swap_att.json", _CREPE),
)
"""Readers, files that are fuzzed, and valid contents. An empty reader means `domain.toml`."""


def _encoded(content):
    if isinstance(content, bytes):
        return content
    return (content if isinstance(content, str) else f"{json.dumps(content)}\n").encode()


FILES = tuple((reader, file) for reader, file, _ in _TARGETS)
SEEDS = tuple(bytes([index]) + _encoded(each[2]) for index, each in enumerate(_TARGETS))

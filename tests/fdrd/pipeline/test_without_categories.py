"""Datasets without categories are built, checked, benchmarked and reported."""

import json

import pytest

from fdrd.checks.statistics import stats
from fdrd.checks.validation import validate
from fdrd.dataset import load_view
from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from fdrd.storage.manifest import RecordCounts
from fdrd.storage.shards import read_records
from tests.running import run_method


@pytest.fixture
def source(tmp_path, write, draw):
    lines = []
    for number in range(24):
        write(f"{number}.png", draw(number))
        color = ("red", "blue", "green", "white")[number // 3 % 4]
        caption = f"A small {color} bird sits on branch {number} of a large tree."
        split = ("train", "val", "test")[number % 3]
        lines.append({"file_name": f"{number}.png", "caption": caption, "split": split})
    write("metadata.jsonl", "\n".join(map(json.dumps, lines)))
    return tmp_path / "raw"


def test_they_have_attribute_swaps_and_no_category_metrics(source, tmp_path):
    from datasets import load_dataset

    out = tmp_path / "out"
    manifest = build(source, out, workers=1).manifest
    assert manifest.records == RecordCounts(24, 24, 0)
    assert (manifest.categories, list(validate(out))) == ([], [])
    assert {split.categories for split in stats(out)} == {0}
    assert {record.category for record in read_records(out, manifest)} == {""}
    negatives = [n for row in load_view(out, "test").negatives for n in row]
    assert {negative.kind for negative in negatives} == {"attribute"}
    rows = list(load_dataset(str(out), split="test", streaming=True))
    assert [row["category"] for row in rows] == [None] * 8
    metrics = run_method("random", out).metrics
    assert metrics.by_category == {}
    assert "category R@1" not in metrics.by_direction["image_to_text"].values


def test_what_needs_categories_is_refused(source, tmp_path):
    build(source, tmp_path / "out", workers=1)
    with pytest.raises(FdrdError, match="`shots` needs categories, and 8 of 8 rows of train"):
        run_method("coop", tmp_path / "out", shots=1, backbone="embedded")


def test_records_with_and_without_categories_share_a_dataset(source, tmp_path, draw):
    (source / "wren").mkdir()
    for number in (30, 31):
        (source / f"wren/{number}.png").write_bytes(draw(number))
        (source / f"wren/{number}.txt").write_text(f"A red wren, number {number}.")
    manifest = build(source, tmp_path / "out", workers=1).manifest
    assert manifest.categories == ["wren"]
    found = [record.category for record in read_records(tmp_path / "out", manifest)]
    assert (found.count(""), found.count("wren")) == (24, 2)
    assert list(validate(tmp_path / "out")) == []

"""Both shard formats contain the same rows and image bytes, in batches of bounded size."""

import json

import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from fdrd.build_config import BuildConfig
from fdrd.checks.validation import validate
from fdrd.dataset import load_view
from fdrd.pipeline.builder import build
from fdrd.storage import shards
from fdrd.storage.shard_file import encode_row, read_batches
from fdrd.storage.shards import text_bytes

FORMATS = ("arrow", "parquet")


def rows(built):
    return {
        row["id"]: row
        for shard in built.manifest.shards
        for batch in read_batches(built.out / shard.path)
        for row in batch.to_pylist()
    }


def test_both_formats_contain_the_same_rows_and_image_bytes(two_formats):
    for each in two_formats.values():
        assert len(each.manifest.shards) > 3
        assert list(validate(each.out)) == []
    found, raw = rows(two_formats["parquet"]), two_formats["parquet"].out.with_name("raw")
    assert found == rows(two_formats["arrow"])
    assert len(found) == 49
    for row in found.values():
        assert row["image"]["bytes"] == (raw / row["source"]["file"]).read_bytes()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("streaming", [False, True])
def test_load_dataset_reads_a_folder_in_either_format(two_formats, format, streaming):
    found = load_dataset(str(two_formats[format].out), streaming=streaming)
    read = [row for split in found.values() for row in split]
    assert len(read) == 49
    assert {row["image"].size for row in read} == {(24, 16)}
    assert found["train"].features["category"].names == ["robin", "wren"]


def test_the_benchmark_reads_both_formats_alike(two_formats):
    arrow, parquet = (load_view(two_formats[format].out, "train") for format in FORMATS)
    assert arrow.fingerprint == parquet.fingerprint
    assert arrow.records([0]) == parquet.records([0])
    for shard in (two_formats["parquet"].out / "data").rglob("*.parquet"):
        columns = pq.read_table(shard, columns=["category_name", "caption"]).to_pylist()
        assert all(row["category_name"] in row["caption"] for row in columns)
    assert parquet.images([0])[0].size == (24, 16)


@pytest.mark.parametrize("format", FORMATS)
def test_long_captions_count_toward_the_batch_size(birds, tmp_path, monkeypatch, format):
    """Arrow's 32-bit offsets end at 2 GiB. Batches are limited to 32 MiB, here to 64 kB."""
    monkeypatch.setattr(shards, "BATCH_BYTES", 64_000)
    lines = [json.loads(line) for line in (birds / "metadata.jsonl").read_text().splitlines()]
    for line in lines:
        line["caption"] += " It has plumage." * 300  # 5 kB, and five times that with its negatives
    (birds / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    build(birds, tmp_path / "out", config=BuildConfig(format=format), workers=1)
    for shard in sorted((tmp_path / "out" / "data").rglob(f"*.{format}")):
        batches = list(read_batches(shard))
        sizes = [sum(text_bytes(encode_row(row)) for row in batch.to_pylist()) for batch in batches]
        assert max(sizes) <= 64_000
        assert "train" not in shard.name or len(batches) > 5
    assert list(validate(tmp_path / "out")) == []

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


def rows(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    return {
        row["id"]: row
        for shard in manifest["shards"]
        for batch in read_batches(folder / shard["path"])
        for row in batch.to_pylist()
    }


def test_both_formats_contain_the_same_rows_and_image_bytes(birds, tmp_path):
    for format in FORMATS:
        config = BuildConfig(format=format, shard_bytes=2000)
        built = build(birds, tmp_path / format, config=config, workers=1)
        assert len(built.manifest.shards) > 3
        assert list(validate(tmp_path / format)) == []
    found = rows(tmp_path / "parquet")
    assert found == rows(tmp_path / "arrow")
    assert len(found) == 49
    for row in found.values():
        assert row["image"]["bytes"] == (birds / row["source"]["file"]).read_bytes()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("streaming", [False, True])
def test_load_dataset_reads_a_folder_in_either_format(birds, tmp_path, format, streaming):
    config = BuildConfig(format=format, shard_bytes=2000)
    build(birds, tmp_path / "out", config=config, workers=1)
    found = load_dataset(str(tmp_path / "out"), streaming=streaming)
    read = [row for split in found.values() for row in split]
    assert len(read) == 49
    assert {row["image"].size for row in read} == {(24, 16)}
    assert found["train"].features["category"].names == ["robin", "wren"]


def test_the_benchmark_reads_both_formats_alike(birds, tmp_path):
    for format in FORMATS:
        config = BuildConfig(format=format, shard_bytes=2000)
        build(birds, tmp_path / format, config=config, workers=1)
    arrow, parquet = (load_view(tmp_path / format, "train") for format in FORMATS)
    assert arrow.fingerprint == parquet.fingerprint
    assert arrow.records([0]) == parquet.records([0])
    for shard in (tmp_path / "parquet" / "data").rglob("*.parquet"):
        rows = pq.read_table(shard, columns=["category_name", "caption"]).to_pylist()
        assert all(row["category_name"] in row["caption"] for row in rows)
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

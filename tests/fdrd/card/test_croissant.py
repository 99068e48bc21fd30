"""Croissant metadata: the reference validator accepts it, and reads the rows of Parquet shards."""

import hashlib
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec import convert

from fdrd.card.croissant import croissant
from fdrd.pipeline.builder import build
from fdrd.storage.manifest import Manifest


@pytest.fixture
def mlc():
    return pytest.importorskip("mlcroissant")


@pytest.fixture
def built(birds, tmp_path):
    (birds / "domain.toml").write_text(
        'license = "CC-BY-4.0"\nhomepage = "https://example.org/birds"\ncitation = "A. Author, 2020"\n'
    )
    return build(birds, tmp_path / "out", workers=1)


def as_parquet(built, folder):
    """A copy of a build with Parquet shards, and its croissant.json."""
    manifest = json.loads((built.out / "manifest.json").read_text())
    for shard in manifest["shards"]:
        with pa.ipc.open_stream((built.out / shard["path"]).read_bytes()) as stream:
            table = stream.read_all()
        shard["path"] = shard["path"].replace(".arrow", ".parquet")
        path = folder / shard["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
        shard["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        shard["bytes"] = path.stat().st_size
    (folder / "croissant.json").write_text(json.dumps(croissant(convert(manifest, Manifest))))
    return folder / "croissant.json"


def problems(mlc, path):
    """Errors and warnings of the reference validator."""
    issues = mlc.Dataset(path).metadata.ctx.issues
    return set(issues.errors), set(issues.warnings)


def test_the_validator_reports_no_error_and_only_a_missing_date(mlc, built, tmp_path):
    for path in (built.out / "croissant.json", as_parquet(built, tmp_path / "parquet")):
        errors, warnings = problems(mlc, path)
        assert not errors
        assert all("datePublished" in each for each in warnings)  # a build has no date


def test_it_lists_splits_licenses_and_provenance(built):
    found = json.loads((built.out / "croissant.json").read_text())
    assert "https://spdx.org/licenses/CC-BY-4.0.html" in found["license"]
    assert found["isBasedOn"][0]["url"] == "https://example.org/birds"
    splits = next(each for each in found["recordSet"] if each["@id"] == "splits")
    assert {row["splits/name"] for row in splits["data"]} == {"train", "validation", "test"}
    sums = {each["@id"]: each["sha256"] for each in found["distribution"] if "sha256" in each}
    assert sums == {shard.path: shard.sha256 for shard in built.manifest.shards}


def test_parquet_records_equal_the_rows_of_the_shards(mlc, built, tmp_path):
    dataset = mlc.Dataset(as_parquet(built, tmp_path / "parquet"))
    rows = {row["default/id"].decode(): row for row in dataset.records("default")}
    wanted = {}
    for shard in built.manifest.shards:
        with pa.ipc.open_stream((built.out / shard.path).read_bytes()) as stream:
            wanted |= {row["id"]: (shard.split, row) for row in stream.read_all().to_pylist()}
    assert rows.keys() == wanted.keys() != set()
    for key, (split, row) in wanted.items():
        found = rows[key]
        assert found["default/split"].decode() == split
        assert found["default/caption"].decode() == row["caption"]
        assert found["default/category"] == row["category"]
        assert found["default/source"]["default/source/sha256"].decode() == row["source"]["sha256"]
        negatives = [n["default/negatives/caption"].decode() for n in found["default/negatives"]]
        assert negatives == [negative["caption"] for negative in row["negatives"]]
        with io.BytesIO(row["image"]["bytes"]) as file:
            from PIL import Image

            assert found["default/image"].tobytes() == Image.open(file).tobytes()

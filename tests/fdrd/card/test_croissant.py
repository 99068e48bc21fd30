"""Croissant metadata: the reference validator accepts it, and reads the rows of Parquet shards."""

import io
import json

import pytest
from PIL import Image

from tests.tampering import read_table


@pytest.fixture
def mlc():
    return pytest.importorskip("mlcroissant")


@pytest.fixture(params=["arrow", "parquet"])
def built(request, two_formats):
    return two_formats[request.param]


def test_the_validator_reports_no_error_and_only_a_missing_date(mlc, built):
    issues = mlc.Dataset(built.out / "croissant.json").metadata.ctx.issues
    assert not set(issues.errors)
    assert all("datePublished" in each for each in issues.warnings)  # a build has no date


def test_it_lists_splits_licenses_and_provenance(built):
    found = json.loads((built.out / "croissant.json").read_text())
    assert "https://spdx.org/licenses/CC-BY-4.0.html" in found["license"]
    assert found["isBasedOn"][0]["url"] == "https://example.org/birds"
    splits = next(each for each in found["recordSet"] if each["@id"] == "splits")
    assert {row["splits/name"] for row in splits["data"]} == {"train", "validation", "test"}
    sums = {each["@id"]: each["sha256"] for each in found["distribution"] if "sha256" in each}
    assert sums == {shard.path: shard.sha256 for shard in built.manifest.shards}


def test_parquet_records_equal_the_rows_of_the_shards(mlc, built):
    if built.manifest.config.format != "parquet":
        return
    dataset = mlc.Dataset(built.out / "croissant.json")
    rows = {row["default/id"].decode(): row for row in dataset.records("default")}
    wanted = {}
    for shard in built.manifest.shards:
        rows_of_shard = read_table(built.out / shard.path).to_pylist()
        wanted |= {row["id"]: (shard.split, row) for row in rows_of_shard}
    assert rows.keys() == wanted.keys() != set()
    for key, (split, row) in wanted.items():
        found = rows[key]
        assert found["default/split"].decode() == split
        assert found["default/caption"].decode() == row["caption"]
        assert found["default/category"] == row["category"]
        assert found["default/source"]["default/source/sha256"].decode() == row["source"]["sha256"]
        negatives = [n["default/negatives/caption"].decode() for n in found["default/negatives"]]
        assert negatives == [negative["caption"] for negative in row["negatives"]]
        image = Image.open(io.BytesIO(row["image"]["bytes"]))
        assert found["default/image"].tobytes() == image.tobytes()

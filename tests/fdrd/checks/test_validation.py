"""The validator finds every kind of damage and reports the file or the row."""

import hashlib
import json
import re

import pyarrow as pa
import pytest

import fdrd
from fdrd.build_config import BuildConfig
from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build


@pytest.fixture
def built(birds, tmp_path):
    build(birds, tmp_path / "out", config=BuildConfig(shard_bytes=2000), workers=1)
    return tmp_path / "out"


def problems(folder, **options):
    return [f"{found.place}: {found.what}" for found in fdrd.validate(folder, **options)]


def first_shard(folder):
    return sorted((folder / "data").rglob("*.arrow"))[0]


def edit_manifest(folder, change):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def rewrite(folder, change):
    """Change the rows of the first shard and update its digest in the manifest."""
    manifest = json.loads((folder / "manifest.json").read_text())
    shard = folder / manifest["shards"][0]["path"]
    table = pa.ipc.open_stream(shard.read_bytes()).read_all()
    rows = table.to_pylist()
    change(rows)
    with shard.open("wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(pa.Table.from_pylist(rows, schema=table.schema))
    data = shard.read_bytes()
    entry = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    edit_manifest(folder, lambda manifest: manifest["shards"][0].update(entry))
    croissant = folder / "croissant.json"
    croissant.write_text(
        croissant.read_text().replace(manifest["shards"][0]["sha256"], entry["sha256"])
    )


def test_a_valid_dataset_has_no_problems(built):
    assert problems(built, images=True) == []


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_one_flipped_bit_is_found(built, share):
    shard = first_shard(built)
    data = bytearray(shard.read_bytes())
    data[int(share * len(data))] ^= 1
    shard.write_bytes(data)
    (found,) = problems(built)
    assert shard.name in found
    assert "sha256" in found


def test_missing_and_unlisted_shards_are_found(built):
    shard = first_shard(built)
    shard.rename(shard.with_name("other.arrow"))
    found = " ".join(problems(built))
    assert "is missing" in found
    assert "other.arrow: is not in the manifest" in found


def test_wrong_counts_are_found(built):
    edit_manifest(built, lambda manifest: manifest["records"].update(kept=48))
    found = " ".join(problems(built))
    assert "records read are not kept + rejected" in found
    assert "kept are 48" in found


def test_an_invalid_list_of_rejected_records_is_found(built):
    (built / "rejected.jsonl").write_text("{}\n")
    found = " ".join(problems(built))
    assert "has 1 lines, the manifest counts 0 rejected" in found
    assert "line 1 is not a rejected record" in found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[0].update(id=rows[1]["id"]), "the same id"),
        (lambda rows: rows[0].update(caption=""), r"\$.caption"),
        (lambda rows: rows[0].update(domain="x"), "domain 'x'"),
        (lambda rows: rows[0]["source"].update(file="../x.png"), r"\$.image.path"),
        (lambda rows: rows[0]["source"].update(license=""), r"\$.source.license"),
        (lambda rows: rows[0]["image"].update(bytes=b"x"), "image does not match its digest"),
        (lambda rows: rows[0]["negatives"][0].update(caption=rows[0]["caption"]), "equals the cap"),
        (lambda rows: rows[0]["negatives"].append(rows[0]["negatives"][0]), "repeated"),
        (
            lambda rows: rows[0]["attributes"].append(
                {"type": "x", "value": "zz", "start": 0, "end": 2}
            ),
            "not at its place",
        ),
        (lambda rows: rows.pop(), "rows, the manifest says"),
    ],
)
def test_an_invalid_row_is_reported_with_its_place(built, change, message):
    rewrite(built, change)
    assert any(re.search(message, found) for found in problems(built))


def test_an_image_in_two_splits_is_found(built):
    def leak(rows):
        shards = json.loads((built / "manifest.json").read_text())["shards"]
        train = next(shard for shard in shards if shard["split"] == "train")
        other = pa.ipc.open_stream((built / train["path"]).read_bytes()).read_all().to_pylist()[0]
        rows[0]["image"], rows[0]["source"] = other["image"], other["source"]

    rewrite(built, leak)
    assert any("its image is also in" in found for found in problems(built))


def test_an_invalid_manifest_is_an_error_with_the_remedy(built):
    edit_manifest(built, lambda manifest: manifest["shards"][0].update(path="data/../../x.arrow"))
    with pytest.raises(FdrdError, match=r"shards\[0\].path"):
        problems(built)
    (built / "manifest.json").write_text("{")
    with pytest.raises(FdrdError, match="build the dataset again"):
        problems(built)
    (built / "manifest.json").unlink()
    with pytest.raises(FdrdError, match="fdrd build SOURCE --out"):
        problems(built)


def test_an_image_that_does_not_decode_is_found(built):
    def spoil(rows):
        data = rows[0]["image"]["bytes"][:60]
        rows[0]["image"]["bytes"] = data
        rows[0]["source"]["sha256"] = hashlib.sha256(data).hexdigest()

    rewrite(built, spoil)
    (found,) = problems(built, images=True)
    assert "image_broken" in found

"""The validator finds every kind of damage and reports the file or the row."""

import re
import shutil
from itertools import accumulate

import pytest

import fdrd
from fdrd.errors import FdrdError
from tests.tampering import edit_manifest, read_table, rewrite, shard_of


@pytest.fixture
def built(two_formats, tmp_path):
    return shutil.copytree(two_formats["arrow"].out, tmp_path / "out")


def problems(folder, **options):
    return [f"{found.place}: {found.what}" for found in fdrd.validate(folder, **options)]


def test_a_valid_dataset_has_no_problems(built):
    assert problems(built, images=True) == []


def test_progress_reports_each_step_once(built):
    calls = []
    fdrd.validate(built, progress=lambda *call: calls.append(call))
    shards = fdrd.load(built).manifest.shards
    starts = list(accumulate((shard.rows for shard in shards), initial=0))
    assert len(starts) > 3
    assert calls == [("checking rows", start, starts[-1]) for start in starts]


def test_missing_and_unlisted_shards_are_found(built):
    shard = shard_of(built)
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


SPAN = {"type": "x", "value": "zz", "start": 0, "end": 2}


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
        (lambda rows: rows[0]["attributes"].append(SPAN), "not at its place"),
        (lambda rows: rows.pop(), "rows, the manifest says"),
    ],
)
def test_an_invalid_row_is_reported_with_its_place(built, change, message):
    rewrite(built, change)
    assert any(re.search(message, found) for found in problems(built))


def test_an_image_in_two_splits_is_found(built):
    def leak(rows):
        other = read_table(shard_of(built, "train")).to_pylist()[0]
        rows[0]["image"], rows[0]["source"] = other["image"], other["source"]

    rewrite(built, leak)
    assert any("its image is also in" in found for found in problems(built))


def test_an_invalid_manifest_is_an_error_with_the_remedy(built):
    edit_manifest(built, lambda manifest: manifest["shards"][0].update(path="data/../../x.arrow"))
    with pytest.raises(FdrdError, match=r"shards\[0\].path"):
        problems(built)
    edit_manifest(built, lambda manifest: manifest["config"].update({"x" * 900: 1}))
    with pytest.raises(FdrdError, match=r"x{300,400}\.\.\.; build the dataset again"):
        problems(built)
    (built / "manifest.json").write_text("{")
    with pytest.raises(FdrdError, match="build the dataset again"):
        problems(built)
    (built / "manifest.json").unlink()
    with pytest.raises(FdrdError, match="fdrd build SOURCE --out"):
        problems(built)

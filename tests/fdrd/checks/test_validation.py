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


def leak(folder):
    other = read_table(shard_of(folder, "train")).to_pylist()[0]
    rewrite(folder, lambda rows: rows[0].update(image=other["image"], source=other["source"]))


DAMAGES = [
    (
        lambda folder: shard_of(folder).rename(shard_of(folder).with_name("other.arrow")),
        ("is missing", "other.arrow: is not in the manifest"),
    ),
    (
        lambda folder: edit_manifest(folder, lambda found: found["records"].update(kept=48)),
        ("records read are not kept + rejected", "kept are 48"),
    ),
    (
        lambda folder: (folder / "rejected.jsonl").write_text("{}\n"),
        ("has 1 lines, the manifest counts 0 rejected", "line 1 is not a rejected record"),
    ),
    (leak, ("its image is also in",)),
]


@pytest.mark.parametrize(("damage", "messages"), DAMAGES)
def test_damage_of_files_is_reported(built, damage, messages):
    damage(built)
    found = " ".join(problems(built))
    assert [message for message in messages if message not in found] == []


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

"""Hostile inputs never crash a build or leave the source folder, and all are accounted for."""

import json

import pytest
from hostile import KEPT, SECRET, write_hostile_source

from fdrd.checks.validation import validate
from fdrd.pipeline.builder import build
from fdrd.storage.shards import read_records
from tests.folders import caches_in, digests


class Built:
    """One build of the whole corpus, and the state of the source before and after."""

    def __init__(self, folder):
        root = folder / "raw"
        self.inputs = write_hostile_source(root, folder / "outside")
        folders = (root, folder / "outside")
        before = [digests(each) for each in folders]
        self.out = folder / "out"
        self.manifest = build(root, self.out, workers=1).manifest
        self.unchanged = before == [digests(each) for each in folders]
        lines = (self.out / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
        self.rejected = [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def built(tmp_path_factory):

    folder = tmp_path_factory.mktemp("hostile")
    with caches_in(folder):
        return Built(folder)


def test_each_input_is_rejected_with_the_right_reason_or_kept(built):
    kept = [repr(record) for record in read_records(built.out, built.manifest)]
    rejected = [((entry["file"], entry["key"]), entry) for entry in built.rejected]
    wrong = []
    for found in built.inputs:
        outcomes = {
            entry["reason"]
            for place, entry in rejected
            if (place == found.place if found.place else found.mark in repr(entry))
        }
        outcomes |= {KEPT for text in kept if found.mark in text}
        if not outcomes & set(found.outcomes):
            wrong.append((found, outcomes))
    assert wrong == []
    assert sum("good" in text for text in kept) >= 12


def test_read_equals_kept_plus_rejected_in_every_file(built):
    records = built.manifest.records
    assert records.read == records.kept + records.rejected
    for entry in built.manifest.files.values():
        assert entry.read == entry.kept + sum(entry.rejected.values())
    files = {"folder/metadata.jsonl", "authors/all.json", "rows/pairs.csv", "tars/0.tar"}
    assert files <= set(built.manifest.files)


def test_no_output_contains_outside_files_and_no_source_file_changed(built):
    assert built.unchanged
    for path in built.out.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_the_dataset_is_valid_and_streams_every_row(built):
    from datasets import load_dataset

    assert list(validate(built.out)) == []
    rows = 0
    for stream in load_dataset(str(built.out), streaming=True).values():
        for row in stream:
            assert min(row["image"].size) > 0
            rows += 1
    assert rows == built.manifest.records.kept

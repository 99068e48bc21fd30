"""A complete build: reproducible bytes, no lost records, no partial results, errors that say how to fix them."""

import errno
import json
import os
import shutil

import pytest
from filelock import FileLock

from benchmark.training.training_negatives import TrainingNegatives
from fdrd.build_config import BuildConfig
from fdrd.checks.statistics import stats
from fdrd.checks.validation import validate
from fdrd.dataset import load_view
from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from fdrd.pipeline.documents import convert_dataset
from fdrd.storage.manifest import RecordCounts, read_manifest
from fdrd.storage.publish import lock_output
from fdrd.storage.shard_file import read_batches
from fdrd.storage.shards import read_records
from tests.folders import digests
from tests.running import run_method

SMALL = BuildConfig(shard_bytes=800)  # several shards for a few images


def test_the_bytes_do_not_depend_on_workers_or_location(birds, tmp_path):
    build(birds, tmp_path / "one", config=SMALL, workers=1)
    shutil.copytree(birds, tmp_path / "elsewhere" / "raw")
    build(tmp_path / "elsewhere" / "raw", tmp_path / "two", config=SMALL, workers=2)
    assert len(digests(tmp_path / "one")) > 6
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_the_name_of_the_folder_changes_the_domain_and_nothing_else(write, draw, tmp_path):
    """Splits, order of the rows, and negatives depend on content: another name is the same benchmark."""
    for number in range(40):
        category = ("wren", "robin", "heron", "finch", "swift")[number % 5]
        color = ("red", "green", "blue", "black", "white")[number // 5 % 5]
        path = f"{category}/{number:02d}"
        write(f"{path}.png", draw(number))
        write(f"{path}.txt", f"A small {category} with {color} wings sits on branch {number}.")
    shutil.copytree(tmp_path / "raw", tmp_path / "photos")
    found = []
    for name in ("raw", "photos"):
        built = build(tmp_path / name, tmp_path / f"built-{name}", workers=1)
        rows = [
            {**row, "id": row["id"].removeprefix(f"{name}/"), "domain": "", "image": None}
            | {"natural_pairs": [each["id"].partition("/")[2] for each in row["natural_pairs"]]}
            for shard in built.manifest.shards
            for batch in read_batches(built.out / shard.path)
            for row in batch.to_pylist()
        ]
        drawn = TrainingNegatives(load_view(built.out, "train"), seed=0, size=4)
        found.append((rows, [drawn.draw(row, 0, 2, 1) for row in range(10)]))
    assert len({negative["caption"] for row in found[0][0] for negative in row["negatives"]}) > 50
    assert any(row["natural_pairs"] for row in found[0][0])
    assert found[0] == found[1]


def pairs_of(folder):
    """Return the natural pairs as (id of one, kind, id of the other)."""
    records = read_records(folder, read_manifest(folder))
    return {(one.id, each.kind, each.id) for one in records for each in one.natural_pairs}


def test_an_added_record_can_take_a_partner(write, draw, tmp_path):
    """A shard depends on its natural pairs, so an incremental build equals a fresh one."""

    def add(numbers, color, shed):
        for number in numbers:
            write(f"plane/{number}.png", draw(number))
            caption = f"A plane with a {color} tail beside shed {number - shed}."
            write(f"plane/{number}.txt", caption)

    add(range(10), "red", 0)
    add(range(10, 20), "blue", 0)
    config = BuildConfig(shard_bytes=800, negatives=0, attribute_negatives=0)
    source = tmp_path / "raw"
    build(source, tmp_path / "out", config=config, workers=1)
    before = pairs_of(tmp_path / "out")
    add(range(20, 30), "green", 20)  # more like the red ones than the blue ones are
    build(source, tmp_path / "out", config=config, workers=1)
    build(source, tmp_path / "fresh", config=config, workers=1)
    assert pairs_of(tmp_path / "out") == pairs_of(tmp_path / "fresh") != before
    assert digests(tmp_path / "out") == digests(tmp_path / "fresh")
    assert list(validate(tmp_path / "out")) == []


def test_only_what_changed_is_built_and_only_a_replaced_image_is_checked_again(
    birds, tmp_path, draw
):
    config, out = BuildConfig(shard_bytes=800, negatives=0), tmp_path / "out"
    build(birds, out, config=config, workers=1)
    ledger = tmp_path / "out.work" / "examined.jsonl"
    before = ledger.read_text()
    metadata = birds / "metadata.jsonl"
    metadata.write_text(metadata.read_text().replace("A wren, once more.", "A wren, again."))
    assert build(birds, out, config=config, workers=1).shards_written > 0
    assert ledger.read_text() == before
    views = [load_view(out, split) for split in ("train", "validation", "test")]
    assert any("again" in caption for view in views for caption in view.captions)
    (birds / "train/wren/02.png").write_bytes(draw(99))
    (out / "notes.txt").write_text("mine")
    built = build(birds, out, config=config, workers=1)
    assert (out / "notes.txt").read_text() == "mine"
    assert len(ledger.read_text().splitlines()) == len(before.splitlines()) + 1
    assert 0 < built.shards_written < len(built.manifest.shards)
    assert list(validate(out)) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "does not exist"),
        (lambda root: root.write_text("x"), "is a file"),
        (lambda root: root.mkdir(), "is empty"),
        (lambda root: (root / "a").mkdir(parents=True), "unknown layout"),
    ],
)
def test_an_unusable_source_is_an_error_with_a_reason(tmp_path, make, message):
    make(tmp_path / "raw")
    with pytest.raises(FdrdError, match=message):
        build(tmp_path / "raw", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("name", value) for value in ("My Birds", "../x", "")),
        *(("backbone", value) for value in ("x.py:load", "/clip", "../clip")),
        ("format", "csv"),
    ],
)
def test_invalid_options_are_rejected(option, value):
    with pytest.raises(FdrdError, match=f"`{option}`"):
        BuildConfig(**{option: value})


def test_a_build_without_kept_records_fails_with_an_example(tmp_path, write):
    write("pets_test.json", {"x_1": {"positive": "A cat.", "file_name": "x_1"}})
    with pytest.raises(FdrdError, match=r"1 image_missing, e.g. pets_test.json x_1"):
        build(tmp_path / "raw", tmp_path / "out", workers=1)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_dataset_or_of_another_build_is_not_overwritten(birds, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("years of work")
    with pytest.raises(FdrdError, match="contains files but no manifest"):
        build(birds, tmp_path / "out", workers=1)
    with pytest.raises(FdrdError, match="inside the source"):
        build(birds, birds / "out", workers=1)
    assert (tmp_path / "out/thesis.tex").read_text() == "years of work"
    (tmp_path / "new.work").mkdir()
    with FileLock(tmp_path / "new.work/lock"), pytest.raises(FdrdError, match="another build"):
        build(birds, tmp_path / "new", workers=1)


def of_another_version(root):
    manifest = root / "out/manifest.json"
    old = json.loads(manifest.read_text())
    del old["tokens"]
    manifest.write_text(json.dumps(old))
    (root / "out.work/last.json").unlink()


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "out").rename(root / "out.work/old"),  # killed between two renames
        of_another_version,
    ],
)
def test_an_interrupted_replacement_and_a_dataset_of_another_version_are_built_again(
    birds, tmp_path, change
):
    build(birds, tmp_path / "out", workers=1)
    before = digests(tmp_path / "out")
    change(tmp_path)
    build(birds, tmp_path / "out", workers=1)
    assert digests(tmp_path / "out") == before
    assert not (tmp_path / "out.work/old").exists()


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EFBIG, "free some space"),
        (errno.EACCES, "change the permissions"),
        (errno.EROFS, "change the permissions"),
    ],
)
def test_file_system_errors_say_how_to_fix_them(tmp_path, code, remedy):
    failure = OSError(code, os.strerror(code), str(tmp_path / "raw"))
    with pytest.raises(FdrdError, match=f"raw: .*; {remedy}"), lock_output(tmp_path / "out"):
        raise failure


def test_an_error_without_a_file_names_the_output(tmp_path):
    failure = OSError(errno.EIO, os.strerror(errno.EIO))  # e.g. of a read
    message = "out: Input/output error; check the disk"
    with pytest.raises(FdrdError, match=message), lock_output(tmp_path / "out"):
        raise failure


@pytest.mark.parametrize("name", ["loop", "loop/inside"])
def test_a_link_to_itself_is_refused(birds, tmp_path, name):
    (tmp_path / "loop").symlink_to("loop")
    message = "loop is a link that leads to itself; remove it"
    with pytest.raises(FdrdError, match=message) as failure:
        build(birds, tmp_path / name, workers=1)
    assert "\n" not in str(failure.value)


def test_a_link_to_a_folder_is_followed_and_shares_its_lock_and_work_folder(birds, tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far" / "out")
    assert build(birds, tmp_path / "near", workers=1).out == tmp_path / "far/out"
    assert (tmp_path / "near").is_symlink()
    assert build(birds, tmp_path / "far" / "out", workers=1).nothing_to_do
    assert not (tmp_path / "near.work").exists()


@pytest.mark.parametrize(("built_as", "wanted"), [("arrow", "parquet"), ("parquet", "arrow")])
def test_a_converted_dataset_equals_a_build_in_that_format(birds, tmp_path, built_as, wanted):
    folder = build(birds, tmp_path / "a/out", config=BuildConfig(format=built_as), workers=1).out
    direct = build(birds, tmp_path / "b/out", config=BuildConfig(format=wanted), workers=1).out
    assert convert_dataset(folder, built_as) == folder
    copy = convert_dataset(folder, wanted)
    assert not list(validate(copy))
    files = {p.relative_to(direct) for p in direct.rglob("*") if p.is_file()}
    for file in files:
        if file.name != "manifest.json":
            assert (copy / file).read_bytes() == (direct / file).read_bytes(), file
    made, of_build = (json.loads((f / "manifest.json").read_text()) for f in (copy, direct))
    for shard in (*made["shards"], *of_build["shards"]):
        del shard["key"]
    assert made == of_build


def test_a_conversion_is_reused_until_the_build_changes(birds, tmp_path, draw):
    folder = build(birds, tmp_path / "out", workers=1).out
    before = (convert_dataset(folder, "parquet") / "manifest.json").stat().st_mtime_ns
    assert (convert_dataset(folder, "parquet") / "manifest.json").stat().st_mtime_ns == before
    (birds / "train/wren/02.png").write_bytes(draw(99))
    digest = build(birds, folder, workers=1).manifest.digest
    assert (convert_dataset(folder, "parquet") / "of.txt").read_text() == digest
    with pytest.raises(FdrdError, match="choose from arrow, parquet"):
        convert_dataset(folder, "csv")


def test_pairs_without_categories_have_attribute_swaps_and_no_category_metrics(
    uncategorized, tmp_path
):
    from datasets import load_dataset

    out = tmp_path / "out"
    manifest = build(uncategorized, out, workers=1).manifest
    assert manifest.records == RecordCounts(24, 24, 0)
    assert (manifest.categories, list(validate(out))) == ([], [])
    assert {split.categories for split in stats(out)} == {0}
    assert {record.category for record in read_records(out, manifest)} == {""}
    negatives = [n for row in load_view(out, "test").negatives for n in row]
    assert {negative.kind for negative in negatives} == {"attribute"}
    rows = list(load_dataset(str(out), split="test", streaming=True))
    assert [row["category"] for row in rows] == [None] * 8
    with pytest.raises(FdrdError, match="`shots` needs categories, and 8 of 8 rows of train"):
        run_method("coop", out, shots=1, backbone="embedded")
    metrics = run_method("random", out).metrics
    assert metrics.by_category == {}
    assert "category R@1" not in metrics.by_direction["image_to_text"].values


def test_records_with_and_without_categories_share_a_dataset(uncategorized, tmp_path, write, draw):
    for number in (30, 31):
        write(f"wren/{number}.png", draw(number))
        write(f"wren/{number}.txt", f"A red wren, number {number}.")
    manifest = build(uncategorized, tmp_path / "out", workers=1).manifest
    assert manifest.categories == ["wren"]
    found = [record.category for record in read_records(tmp_path / "out", manifest)]
    assert (found.count(""), found.count("wren")) == (24, 2)
    assert list(validate(tmp_path / "out")) == []

"""A complete build: reproducible bytes, no lost records, no partial results."""

import json
import shutil
from collections import Counter

import pytest
from filelock import FileLock

from benchmark.training.training_negatives import TrainingNegatives
from fdrd.build_config import BuildConfig
from fdrd.checks.validation import validate
from fdrd.dataset import load_view
from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from fdrd.storage.manifest import RecordCounts
from fdrd.storage.shard_file import read_batches
from tests.folders import digests

SMALL = BuildConfig(shard_bytes=800)  # several shards for a few images


def test_a_build_keeps_all_records_and_is_valid(birds, tmp_path):
    built = build(birds, tmp_path / "out", workers=1)
    assert built.manifest.records == RecordCounts(49, 49, 0)
    assert list(validate(tmp_path / "out")) == []
    train = load_view(tmp_path / "out", "train")
    assert {train.split, *train.domains} == {"train", "raw"}
    assert len(train) + len(load_view(tmp_path / "out", "validation")) == 41
    assert train.categories == ["robin", "wren"]
    assert train.images([0])[0].size == (24, 16)


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
    """Return the caption of the partner of each caption, by kind."""
    rows = [
        row
        for path in sorted((folder / "data").rglob("*.arrow"))
        for batch in read_batches(path, images=False)
        for row in batch.to_pylist()
    ]
    caption = {row["id"]: row["caption"] for row in rows}
    return {
        (pair["kind"], row["caption"]): caption[pair["id"]]
        for row in rows
        for pair in row["natural_pairs"]
    }


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


def test_a_second_run_does_nothing(birds, tmp_path):
    first = build(birds, tmp_path / "out", workers=1)
    before = digests(tmp_path / "out")
    second = build(birds, tmp_path / "out", workers=1)
    assert (first.nothing_to_do, second.nothing_to_do) == (False, True)
    assert digests(tmp_path / "out") == before


def test_a_changed_caption_is_rebuilt_without_decoding_images_again(birds, tmp_path):
    config = BuildConfig(shard_bytes=800, negatives=0)
    build(birds, tmp_path / "out", config=config, workers=1)
    ledger = tmp_path / "out.work" / "examined.jsonl"
    before = ledger.read_text()
    metadata = birds / "metadata.jsonl"
    metadata.write_text(metadata.read_text().replace("A wren, once more.", "A wren, again."))
    again = build(birds, tmp_path / "out", config=config, workers=1)
    assert again.shards_written > 0
    assert ledger.read_text() == before
    views = [load_view(tmp_path / "out", split) for split in ("train", "validation", "test")]
    assert any("again" in caption for view in views for caption in view.captions)


def test_only_a_replaced_image_is_checked_again(birds, tmp_path, draw):
    build(birds, tmp_path / "out", config=SMALL, workers=1)
    ledger = tmp_path / "out.work" / "examined.jsonl"
    lines = len(ledger.read_text().splitlines())
    (birds / "train/wren/02.png").write_bytes(draw(99))
    (tmp_path / "out/notes.txt").write_text("mine")
    built = build(birds, tmp_path / "out", config=SMALL, workers=1)
    assert (tmp_path / "out/notes.txt").read_text() == "mine"
    assert len(ledger.read_text().splitlines()) == lines + 1
    assert 0 < built.shards_written < len(built.manifest.shards)
    assert list(validate(tmp_path / "out")) == []


def test_every_bad_image_is_counted_with_its_reason(birds, tmp_path, write, draw):
    write("train/wren/02.png", "<html>not an image</html>")
    write("train/wren/04.png", draw(4)[:60])
    write("train/wren/06.png", b"")
    (birds / "train/wren/08.png").unlink()
    write("train/robin/copy.png", draw(5))  # 05.png is in the test split
    line = {"file_name": "train/robin/copy.png", "caption": "A copy."}
    metadata = birds / "metadata.jsonl"
    metadata.write_text(metadata.read_text() + json.dumps(line) + "\nnot JSON\n")
    built = build(birds, tmp_path / "out", workers=1)
    once = ("image_broken", "image_in_other_split", "image_missing", "unreadable_annotations")
    assert built.manifest.rejected == {**dict.fromkeys(once, 1), "not_an_image": 2}
    entry = built.manifest.files["metadata.jsonl"]
    assert entry.read == entry.kept + sum(entry.rejected.values()) == 51
    rejected = [json.loads(line) for line in (tmp_path / "out/rejected.jsonl").open()]
    assert Counter(item["reason"] for item in rejected) == built.manifest.rejected
    assert all(item["file"] == "metadata.jsonl" and item["key"] for item in rejected)
    assert list(validate(tmp_path / "out")) == []


def test_two_domains_share_labels_unless_categories_clash(two_domains, tmp_path):
    built = build(two_domains, tmp_path / "out", workers=1)
    assert built.manifest.categories == ["birds: wren", "cat", "pets: wren", "robin"]
    assert built.configs == ["birds", "pets", "default"]
    assert list(validate(tmp_path / "out")) == []
    test = load_view(tmp_path / "out", "train", "pets")
    assert test.domains == ["pets"]
    swaps = [swap for row in test.negatives for swap in row if swap.kind == "category"]
    assert {swap.category for swap in swaps} <= {"cat", "pets: wren"}


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


def test_a_folder_without_a_dataset_is_not_overwritten(birds, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("years of work")
    with pytest.raises(FdrdError, match="contains files but no manifest"):
        build(birds, tmp_path / "out", workers=1)
    with pytest.raises(FdrdError, match="inside the source"):
        build(birds, birds / "out", workers=1)
    assert (tmp_path / "out/thesis.tex").read_text() == "years of work"


def test_two_builds_cannot_write_to_one_folder(birds, tmp_path):
    (tmp_path / "out.work").mkdir()
    with FileLock(tmp_path / "out.work/lock"), pytest.raises(FdrdError, match="another build"):
        build(birds, tmp_path / "out", workers=1)


def test_an_interrupted_folder_replacement_is_finished(birds, tmp_path):
    build(birds, tmp_path / "out", workers=1)
    before = digests(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "out.work/old")  # as if killed between the two renames
    build(birds, tmp_path / "out", workers=1)
    assert digests(tmp_path / "out") == before
    assert not (tmp_path / "out.work/old").exists()


def test_a_dataset_of_another_version_is_rebuilt_in_place(birds, tmp_path):
    build(birds, tmp_path / "out", workers=1)
    before = digests(tmp_path / "out")
    manifest = tmp_path / "out/manifest.json"
    old = json.loads(manifest.read_text())
    del old["tokens"]
    manifest.write_text(json.dumps(old))
    (tmp_path / "out.work/last.json").unlink()
    build(birds, tmp_path / "out", workers=1)
    assert digests(tmp_path / "out") == before

"""Tables of pairs: CSV, TSV, JSON lines and Parquet, with images as paths or as bytes."""

import json
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fdrd.checks.validation import validate
from fdrd.images.check import read_image
from fdrd.pipeline.builder import build
from fdrd.reasons import Rejection
from fdrd.storage.manifest import RecordCounts


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pairs.csv", "Image Path,Title,label\nimg/1.png,A wren.,wren\n"),
        ("pairs.tsv", "filepath\ttitle\tclass\nimg/1.png\tA wren.\twren\n"),
        ("pairs.jsonl", '{"image": "img/1.png", "text": ["A wren."], "species": "wren"}\n'),
    ],
)
def test_columns_have_any_known_name(write, draw, read, file, text):
    write("img/1.png", draw(1))
    write(file, text)
    (found,) = read("table")
    assert (found.image.path, found.caption, found.category) == ("img/1.png", "A wren.", "wren")
    assert (found.id, found.source.origin.partition(": ")[0]) == ("raw/img/1.png", file)


def parquet(path, columns, names=None):
    table = pa.table(columns)
    if names:
        features = {name: {"_type": "ClassLabel", "names": found} for name, found in names.items()}
        noted = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": noted})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=3)


def test_parquet_from_the_hub_has_bytes_and_numbered_classes(tmp_path, draw, read):
    for split, rows in (("train", range(8)), ("test", range(8, 12))):
        columns = {
            "image": [{"bytes": draw(row), "path": f"{row}.png"} for row in rows],
            "text": [f"A bird of kind {row}." for row in rows],
            "label": [row % 2 for row in rows],
        }
        file = tmp_path / f"raw/data/{split}-00000-of-00001.parquet"
        parquet(file, columns, {"label": ["house_wren", "robin"]})
    found = read("table")
    assert [(item.split, item.category) for item in found[:2]] == [
        ("test", "house wren"),
        ("test", "robin"),
    ]
    assert read_image(str(tmp_path / "raw"), found[5].image) == draw(1)
    built = build(tmp_path / "raw", tmp_path / "out", workers=1)
    assert built.manifest.records == RecordCounts(12, 12, 0)
    assert set(built.manifest.files) == {
        "data/test-00000-of-00001.parquet",
        "data/train-00000-of-00001.parquet",
    }
    assert list(validate(tmp_path / "out")) == []
    assert not list((tmp_path / "cache/fdrd/rows").glob("*.arrow"))


def test_a_row_with_a_path_takes_its_category_from_the_folder(tmp_path, write, draw, read):
    parquet(
        tmp_path / "raw/0.parquet",
        {"jpg": [draw(1), draw(2)], "caption": ["A wren.", "A robin."], "class": ["wren", None]},
    )
    write("owl/3.png", draw(3))
    write("more.csv", "path,caption,split\nowl/3.png,An owl.,test\n")
    found = read("table")
    assert [item.reason if isinstance(item, Rejection) else item.category for item in found] == [
        "wren",
        "",
        "owl",
    ]
    assert found[2].split == "test"


def test_every_caption_and_row_of_an_image_has_its_own_id(write, draw, read):
    write("wren/1.png", draw(1))
    lines = [
        {"image": "wren/1.png", "caption": ["One.", "Two."]},
        {"image": "wren/1.png", "caption": "Three."},
        {"image": "wren/1.png", "caption": ["Four.", "Five."], "id": "x"},
    ]
    write("a.jsonl", "\n".join(map(json.dumps, lines)))
    ids = [item.id for item in read("table")]
    assert ids == [
        "raw/wren/1.png",
        "raw/wren/1.png#2",
        "raw/wren/1.png#a.jsonl line 2",
        "raw/x",
        "raw/x#2",
    ]


def test_lists_in_cells_are_json(write, draw, read):
    write("wren/1.png", draw(1))
    write("a.csv", 'image,caption,negatives\nwren/1.png,A wren.,"[""A robin.""]"\n')
    (found,) = read("table")
    assert [negative.caption for negative in found.negatives] == ["A robin."]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("../raw/wren/1.png,A.,", "path_outside"),
        ("/etc/passwd,A.,", "path_outside"),
        ("wren/2.png,A.,", "image_missing"),
        (",A.,", "bad_field"),
        ("wren/1.png,,", "caption_missing"),
        ("wren/1.png,A.,holdout", "bad_field"),
        ("wren/1.png,A.,test,more", "unreadable_annotations"),
        ('wren/1.png,"A.,test', "unreadable_annotations"),
    ],
)
def test_a_bad_row_is_one_rejection_with_its_line(write, draw, read, row, reason):
    write("wren/1.png", draw(1))
    write("a.csv", f"image,caption,split\nwren/1.png,A wren.,train\n{row}\n")
    good, bad = read("table")
    assert good.caption == "A wren."
    assert (bad.file, bad.key, bad.reason) == ("a.csv", "line 3", reason)


def test_a_missing_image_is_told_from_a_file_without_the_ending_of_one(write, read):
    write("wren/1.heic", b"x")
    write("wren/1.dat", b"x")
    names = ("1.heic", "1.dat", "2.heic")
    write("a.csv", "image,caption\n" + "".join(f"wren/{name},A wren.\n" for name in names))
    image, file, missing = read("table")
    assert "HEIC is not read, convert the file" in image.detail
    assert file.detail.endswith("'wren/1.dat'; the file of that name has no ending of an image")
    assert missing.detail == "no image is called 'wren/2.heic'"


def test_unnamed_classes_and_damaged_files_are_rejected(tmp_path, draw, read):
    columns = {"image": [draw(1), draw(2)], "caption": ["A.", "B."], "label": [0, 7]}
    parquet(tmp_path / "raw/0.parquet", columns, {"label": ["wren"]})
    parquet(tmp_path / "raw/1.parquet", columns)
    whole = (tmp_path / "raw/1.parquet").read_bytes()
    (tmp_path / "raw/1.parquet").write_bytes(whole[:4] + bytes(len(whole) // 2) + whole[-300:])
    found = read("table")
    assert [(item.file, item.reason) for item in found if isinstance(item, Rejection)] == [
        ("0.parquet", "bad_field"),
        ("1.parquet", "unreadable_annotations"),
    ]


def test_an_image_column_of_numbers_or_lists_is_rejected(tmp_path, read):
    """`bytes(10**10)` in Python is ten gigabytes of zeros."""
    for number, values in enumerate(([10**10], [[1, 2]], [{"path": "a.png"}])):
        columns = {"image": values, "caption": ["A."], "label": ["wren"]}
        parquet(tmp_path / f"raw/{number}.parquet", columns)
    found = read("table")
    assert [item.reason for item in found] == ["unreadable_annotations"] * 3
    assert "no path and no bytes" in found[0].detail


def test_dictionary_columns_of_pandas_are_read(tmp_path, write, draw, read):
    write("wren/1.png", draw(1))
    kinds = pa.array(["house_wren"]).dictionary_encode()
    paths = pa.array(["wren/1.png"]).dictionary_encode()
    parquet(tmp_path / "raw/0.parquet", {"path": paths, "text": ["A wren."], "species": kinds})
    (found,) = read("table")
    assert (found.image.path, found.category) == ("wren/1.png", "house wren")


def test_parquet_in_an_archive_has_paths_and_no_images(tmp_path, draw, read):
    parquet(tmp_path / "paths.parquet", {"image": ["img/1.png"], "caption": ["A wren."]})
    parquet(tmp_path / "bytes.parquet", {"image": [draw(2)], "caption": ["A robin."]})
    archive = tmp_path / "raw/birds.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("img/1.png", draw(1))
        for name in ("paths.parquet", "bytes.parquet"):
            opened.write(tmp_path / name, name)
        opened.writestr("damaged.parquet", (tmp_path / "paths.parquet").read_bytes()[:-30])
    refused, damaged, found = read("table")
    assert (refused.file, refused.detail.endswith("unpack it")) == ("bytes.parquet", True)
    assert (damaged.file, damaged.reason) == ("damaged.parquet", "unreadable_annotations")
    assert (found.image.path, found.caption) == ("birds.zip", "A wren.")
    assert read_image(str(archive.parent), found.image) == draw(1)

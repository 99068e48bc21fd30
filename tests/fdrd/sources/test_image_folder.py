"""Image folders with metadata files, text files, or neither."""

import io
import json
import zipfile

import pytest

from fdrd.errors import FdrdError
from fdrd.reasons import Rejection
from fdrd.record import Attribute, Negative
from fdrd.sources import find_domains, read_domain
from fdrd.sources.layouts import image_folder
from fdrd.sources.reading.source_folder import SourceFolder


@pytest.fixture
def found(tmp_path):
    return lambda: list(image_folder.read(SourceFolder(tmp_path / "raw")))


def test_metadata_has_all_fields(write, draw, found):
    write("train/wren/1.png", draw(1))
    line = {
        "file_name": "train/wren/1.png",
        "text": "A  brown wren.",
        "id": 7,
        "category": "house_wren",
        "meta_category": "bird",
        "group": "clip 3",
        "split": "val",
        "license": "CC0-1.0",
        "attributes": [{"type": "color", "value": "brown", "start": 3, "end": 8}],
        "negatives": [
            "A brown robin.",
            {"caption": "A red wren.", "kind": "attribute", "category": "wren"},
        ],
    }
    write("metadata.jsonl", line)
    (record,) = found()
    assert (record.id, record.caption, record.category) == ("7", "A brown wren.", "house wren")
    assert (record.meta_category, record.group, record.split) == ("bird", "clip 3", "validation")
    assert (record.source.license, record.source.origin) == ("CC0-1.0", "metadata.jsonl: line 1")
    assert record.attributes == (Attribute("color", "brown", 2, 7),)
    assert record.negatives == (
        Negative("A brown robin.", "", "category"),
        Negative("A red wren.", "wren", "attribute"),
    )


def test_metadata_in_a_zip_describes_its_members_once(write, draw, found):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for number in range(3):
            archive.writestr(f"{number}.png", draw(number))
        rows = [
            {"file_name": f"{number // 2}.png", "text": f"Bird {number}."} for number in range(3)
        ]
        archive.writestr("metadata.jsonl", "\n".join(map(json.dumps, rows)))
    write("birds.zip", data.getvalue())
    items = {item.id: item.caption for item in found()}
    assert items == {"0.png": "Bird 0.", "0.png#2": "Bird 1.", "1.png": "Bird 2.", "2.png": ""}


def test_archives_that_hold_the_same_image_are_refused(tmp_path, write, draw):
    """The second would be left out without a word."""
    for archive, image in (("one", "1.png"), ("two", "2.png"), ("three", "1.png")):
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as packed:
            packed.writestr("README", "Birds.")
            packed.writestr(f"wren/{image}", draw(len(archive)))
            packed.writestr(f"wren/{image[0]}.txt", f"A wren of {archive}.")
        write(f"{archive}.zip", data.getvalue())
    with pytest.raises(FdrdError, match=r"one.zip and three.zip both hold wren/1.png; unpack each"):
        find_domains(tmp_path / "raw")
    (tmp_path / "raw/three.zip").unlink()
    captions = {
        item.caption for item in read_domain(tmp_path / "raw", *find_domains(tmp_path / "raw"))
    }
    assert captions == {"A wren of one.", "A wren of two."}


def test_folders_name_split_and_category(write, draw, found):
    for path in ("train/wren/1.png", "valid/wren/2.png", "test/robin/3.png", "robin/4.png"):
        write(path, draw(1))
        write(path.replace("png", "txt"), "A bird.")
    assert [(item.split, item.category) for item in found()] == [
        ("", "robin"),
        ("test", "robin"),
        ("train", "wren"),
        ("validation", "wren"),
    ]


def test_each_caption_of_an_image_is_a_pair_with_its_own_id(write, draw, found):
    write("wren/1.png", draw(1))
    write("wren/2.png", draw(2))
    write("wren/2.txt", "A wren.\n\nA bird.\n")
    lines = [
        {"file_name": "wren/1.png", "caption": ["One.", "Two."]},
        {"file_name": "wren/1.png", "caption": "Three."},
    ]
    write("metadata.jsonl", "\n".join(json.dumps(line) for line in lines))
    assert [(item.id, item.caption) for item in found()] == [
        ("wren/1.png", "One."),
        ("wren/1.png#2", "Two."),
        ("wren/1.png#3", "Three."),
        ("wren/2.png", "A wren."),
        ("wren/2.png#2", "A bird."),
    ]


def test_csv_is_read_in_any_script(write, draw, found):
    write("鸟/图.png", draw(1))
    write("metadata.csv", '\ufefffile_name,caption,split\n鸟/图.png,"Ein Vögelchen, 鸟",test\n')
    (record,) = found()
    assert (record.category, record.caption, record.split) == ("鸟", "Ein Vögelchen, 鸟", "test")


WREN = '{"file_name": "wren/1.png", "caption": "A."'


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "unreadable_annotations"),
        ("[1]", "bad_field"),
        ('{"caption": "A wren."}', "bad_field"),
        ('{"file_name": "wren/1.png", "caption": 5}', "bad_field"),
        (f'{WREN}, "category": ["wren"]}}', "bad_field"),
        (f'{WREN}, "split": "holdout"}}', "bad_field"),
        ('{"file_name": "../raw/wren/1.png", "caption": "A."}', "path_outside"),
        ('{"file_name": "/etc/passwd.png", "caption": "A."}', "path_outside"),
        ('{"file_name": "wren/9.png", "caption": "A."}', "image_missing"),
        (
            f'{WREN}, "attributes": [{{"type": "x", "value": "A.", "start": 1, "end": 3}}]}}',
            "bad_field",
        ),
        (f'{WREN}, "attributes": [1]}}', "bad_field"),
        (f'{WREN}, "negatives": [{{"kind": "category"}}]}}', "bad_field"),
        (f'{WREN}, "negatives": [""]}}', "bad_field"),
        (f'{WREN}, "negatives": ["\\u202e"]}}', "bad_field"),
    ],
)
def test_a_bad_line_is_one_rejection_with_its_number(write, draw, found, line, reason):
    write("wren/1.png", draw(1))
    write("1.png", draw(2))
    write("wren/1.txt", "A wren.")
    write("1.txt", "x")
    write("metadata.jsonl", f"\n{line}\n")
    (bad,) = (item for item in found() if isinstance(item, Rejection) and item.key == "line 2")
    assert (bad.file, bad.reason) == ("metadata.jsonl", reason)


def test_an_image_without_a_caption_is_rejected_if_captions_are_required(write, draw, read):
    write("wren/1.png", draw(1))
    write("wren/2.png", draw(2))
    write("wren/3.png", draw(3))
    write("wren/3.txt", "\n")
    lines = [
        '{"file_name": "wren/1.png"}',
        '{"file_name": "wren/2.png", "caption": [], "split": "test"}',
    ]
    write("metadata.jsonl", "\n".join(lines))
    assert {(item.file, item.key, item.reason) for item in read("image_folder")} == {
        ("metadata.jsonl", "line 1", "caption_missing"),
        ("metadata.jsonl", "line 2", "caption_missing"),
        ("wren/1.png", "", "caption_missing"),
        ("wren/2.png", "", "caption_missing"),
        ("wren/3.txt", "line 1", "caption_missing"),
    }
    uncaptioned = read("image_folder", require_captions=False)
    assert [(item.image.path, item.category, item.split) for item in uncaptioned[:2]] == [
        ("wren/1.png", "wren", ""),
        ("wren/2.png", "wren", "test"),
    ]
    assert {item.caption for item in uncaptioned} == {""}

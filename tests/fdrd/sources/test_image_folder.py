import json

import pytest

from fdrd.reasons import Rejection
from fdrd.record import Attribute, Negative
from fdrd.sources import find_domains, read_domain
from fdrd.sources.layouts import image_folder


def read(root):
    return list(image_folder.read(root / "raw"))


def test_metadata_gives_all_fields(tmp_path, write, draw):
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
        "attributes": [{"type": "colour", "value": "brown", "start": 3, "end": 8}],
        "negatives": [
            "A brown robin.",
            {"caption": "A red wren.", "kind": "attribute", "category": "wren"},
        ],
    }
    write("metadata.jsonl", line)
    (found,) = read(tmp_path)
    assert (found.id, found.caption, found.category) == ("7", "A brown wren.", "house wren")
    assert (found.meta_category, found.group, found.split) == ("bird", "clip 3", "validation")
    assert (found.source.license, found.source.origin) == ("CC0-1.0", "metadata.jsonl: line 1")
    assert found.attributes == (Attribute("colour", "brown", 2, 7),)
    assert found.negatives == (
        Negative("A brown robin.", "", "category"),
        Negative("A red wren.", "wren", "attribute"),
    )


def test_folders_give_split_and_category(tmp_path, write, draw):
    for path in ("train/wren/1.png", "valid/wren/2.png", "test/robin/3.png", "robin/4.png"):
        write(path, draw(1))
        write(path.replace("png", "txt"), "A bird.")
    assert [(found.split, found.category) for found in read(tmp_path)] == [
        ("", "robin"),
        ("test", "robin"),
        ("train", "wren"),
        ("validation", "wren"),
    ]


def test_several_captions_of_an_image_are_several_pairs_with_own_ids(tmp_path, write, draw):
    write("wren/1.png", draw(1))
    write("wren/2.png", draw(2))
    write("wren/2.txt", "A wren.\n\nA bird.\n")
    lines = [
        {"file_name": "wren/1.png", "caption": ["One.", "Two."]},
        {"file_name": "wren/1.png", "caption": "Three."},
    ]
    write("metadata.jsonl", "\n".join(json.dumps(line) for line in lines))
    assert [(found.id, found.caption) for found in read(tmp_path)] == [
        ("wren/1.png", "One."),
        ("wren/1.png#2", "Two."),
        ("wren/1.png#3", "Three."),
        ("wren/2.png", "A wren."),
        ("wren/2.png#2", "A bird."),
    ]


def test_csv_is_read_with_line_numbers_and_any_script(tmp_path, write, draw):
    write("鸟/图.png", draw(1))
    write("metadata.csv", '\ufefffile_name,caption,split\n鸟/图.png,"Ein Vögelchen, 鸟",test\n')
    (found,) = read(tmp_path)
    assert (found.category, found.caption, found.split) == ("鸟", "Ein Vögelchen, 鸟", "test")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "unreadable_annotations"),
        ("[1]", "bad_field"),
        ('{"caption": "A wren."}', "bad_field"),
        ('{"file_name": "wren/1.png", "caption": 5}', "bad_field"),
        ('{"file_name": "wren/1.png", "caption": "A.", "category": ["wren"]}', "bad_field"),
        ('{"file_name": "wren/1.png", "caption": "A.", "split": "holdout"}', "bad_field"),
        ('{"file_name": "../raw/wren/1.png", "caption": "A."}', "path_outside"),
        ('{"file_name": "/etc/passwd.png", "caption": "A."}', "path_outside"),
        ('{"file_name": "wren/9.png", "caption": "A."}', "image_missing"),
        ('{"file_name": "1.png", "caption": "A."}', "category_missing"),
        (
            '{"file_name": "wren/1.png", "caption": "A wren.",'
            ' "attributes": [{"type": "x", "value": "wren", "start": 0, "end": 4}]}',
            "bad_field",
        ),
        ('{"file_name": "wren/1.png", "caption": "A.", "attributes": [1]}', "bad_field"),
        (
            '{"file_name": "wren/1.png", "caption": "A.", "negatives": [{"kind": "category"}]}',
            "bad_field",
        ),
    ],
)
def test_a_bad_line_is_one_rejection_with_its_number(tmp_path, write, draw, line, reason):
    write("wren/1.png", draw(1))
    write("1.png", draw(2))
    write("wren/1.txt", "A wren.")
    write("1.txt", "x")
    write("metadata.jsonl", f"\n{line}\n")
    found = next(
        item for item in read(tmp_path) if isinstance(item, Rejection) and item.key == "line 2"
    )
    assert (found.file, found.reason) == ("metadata.jsonl", reason)


def test_an_image_without_a_caption_is_a_rejection_unless_captions_do_not_count(
    tmp_path, write, draw
):
    write("wren/1.png", draw(1))
    write("wren/2.png", draw(2))
    write("wren/3.png", draw(3))
    write("wren/3.txt", "\n")
    lines = [
        '{"file_name": "wren/1.png"}',
        '{"file_name": "wren/2.png", "caption": [], "split": "test"}',
    ]
    write("metadata.jsonl", "\n".join(lines))
    (domain,) = find_domains(tmp_path / "raw")
    rejected = list(read_domain(tmp_path / "raw", domain))
    assert {(found.file, found.key, found.reason) for found in rejected} == {
        ("metadata.jsonl", "line 1", "caption_missing"),
        ("metadata.jsonl", "line 2", "caption_missing"),
        ("wren/1.png", "", "caption_missing"),
        ("wren/2.png", "", "caption_missing"),
        ("wren/3.txt", "line 1", "caption_missing"),
    }
    open_ = list(read_domain(tmp_path / "raw", domain, captions=False))
    assert [(found.image.path, found.category, found.split) for found in open_[:2]] == [
        ("wren/1.png", "wren", ""),
        ("wren/2.png", "wren", "test"),
    ]
    assert {found.caption for found in open_} == {""}


def test_bytes_that_are_no_text_reject_their_file_or_line(tmp_path, write, draw):
    write("wren/1.png", draw(1))
    write("wren/1.txt", b"\xff\xfe\xff")
    write("robin/metadata.jsonl", b'{"file_name": "\xff"}\n')
    write("owl/metadata.csv", b"file_name,caption\n\xff,\xff\n")
    assert {(found.file, found.reason) for found in read(tmp_path)} == {
        ("wren/1.txt", "unreadable_annotations"),
        ("robin/metadata.jsonl", "unreadable_annotations"),
        ("owl/metadata.csv", "unreadable_annotations"),
    }

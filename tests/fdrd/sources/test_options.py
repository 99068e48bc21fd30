"""Options of a source: where categories come from, and which columns hold what."""

import pytest

from fdrd.errors import FdrdError
from fdrd.reasons import Rejection
from fdrd.sources import SourceOptions, find_domains, make_options, read_domain


def read_with(root, **options):
    options = make_options(**options)
    return [
        item
        for domain in find_domains(root / "raw", options)
        for item in read_domain(root / "raw", domain)
    ]


def categories(items):
    return [item.reason if isinstance(item, Rejection) else item.category for item in items]


NONE, PATTERN = "category_missing", "caption-pattern:A {category}."


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["wren", "", "robin"]),
        ({"category_from": "folder"}, ["wren", "images", "wren"]),
        ({"category_from": "parent"}, ["bird", NONE, "bird"]),
        ({"category_from": "column:colour"}, [NONE, "red", NONE]),
        ({"category_from": "caption-pattern"}, [NONE, "house wren", NONE]),
        ({"category_from": PATTERN}, ["small bird", "photo of a house wren", "bird"]),
        ({"category_from": "none"}, ["", "", ""]),
        ({"category": "animal"}, ["animal"] * 3),
    ],
)
def test_categories_come_from_where_the_user_says(tmp_path, write, draw, options, expected):
    write("bird/wren/1.png", draw(1))
    write("images/2.png", draw(2))
    rows = [
        "image,caption,category,colour",
        "bird/wren/1.png,A small bird.,,",
        "images/2.png,A photo of a house wren.,,red",
        "bird/wren/1.png,A bird.,robin,",
    ]
    write("pairs.csv", "\n".join(rows))
    assert categories(read_with(tmp_path, **options)) == expected


@pytest.mark.parametrize(
    "folder", ["images", "train2017", "val2014", "Flicker8k_Dataset", "00000", "train", "shard_01"]
)
def test_folders_of_images_are_not_categories(tmp_path, write, draw, folder):
    write(f"{folder}/1.png", draw(1))
    write(f"{folder}/1.txt", "A wren.")
    assert categories(read_with(tmp_path)) == [""]


def test_columns_are_mapped_and_captions_may_have_several(tmp_path, write, draw):
    write("img/1.png", draw(1))
    write("list.csv", "bild;titel;text;art\nimg/1.png;Ein Vogel.;A bird.;wren\n")
    given = {"image": "bild", "caption": "titel,text", "category": "art"}
    found = read_with(tmp_path, columns=given)
    pairs = [(item.caption, item.category) for item in found]
    assert pairs == [("Ein Vogel.", "wren"), ("A bird.", "wren")]
    write("domain.toml", '[map]\nimage = "bild"\ncaption = ["text"]\ncategory = "art"')
    assert [item.caption for item in read_with(tmp_path)] == ["A bird."]
    found = read_with(tmp_path, columns=["caption=titel", "image=bild"])
    assert [item.caption for item in found] == ["Ein Vogel."]


def test_a_layout_can_be_forced(tmp_path, write, draw):
    write("wren/1.png", draw(1))
    write("wren/1.txt", "From the text file.")
    write("pairs.csv", "image,caption\nwren/1.png,From the table.\n")
    assert read_with(tmp_path)[0].caption == "From the table."
    assert read_with(tmp_path, layout="image_folder")[0].caption == "From the text file."
    write("domain.toml", 'layout = "nope"')
    with pytest.raises(FdrdError, match=r"choose from .*image_folder"):
        find_domains(tmp_path / "raw")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("a.csv", "\ufefffilepath;title\nimg/1.png;A wren.\n"),
        ("a.tsv", "filepath,title\nimg/1.png,A wren.\n"),
        ("a.csv", "filepath,caption_0,caption_1\nimg/1.png,A wren.,\n"),
        ("a.jsonl", '{"image": "img/1.png", "sentences": [{"raw": "A wren."}]}\n'),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_separators_encodings_and_caption_forms_are_detected(
    tmp_path, write, draw, file, content, encoding
):
    write("img/1.png", draw(1))
    write(file, content.encode(encoding))
    assert [item.caption for item in read_with(tmp_path)] == ["A wren."]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"category_from": "file"}, "choose from folder"),
        ({"category_from": "column"}, "choose from folder"),
        ({"category_from": "none", "category": "x"}, "exclude each other"),
        ({"columns": ["image"]}, "FIELD=COLUMN"),
        ({"columns": ["picture=x"]}, "choose a field from image"),
        ({"columns": {"image": "a,b"}}, "only captions"),
        ({"separator": "ab"}, "one character"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(FdrdError, match=message):
        make_options(**options)


def test_options_of_a_command_override_those_of_the_file():
    file = SourceOptions(separator=";", category_from="folder")
    assert SourceOptions(category="x").over(file) == SourceOptions(separator=";", category="x")


def test_a_column_that_no_file_has_is_an_error(tmp_path, write, draw):
    write("wren/1.png", draw(1))
    write("wren/1.txt", "A wren.")
    message = r"^`columns` image=bild: no file of .*raw has it; it has no table"
    with pytest.raises(FdrdError, match=message):
        read_with(tmp_path, columns=["image=bild"])
    write("wren/metadata.jsonl", '{"file_name": "1.png", "satz": "A bird."}')
    message = r"caption=text: no file .*; the columns are file_name, satz"
    with pytest.raises(FdrdError, match=message):
        read_with(tmp_path, columns=["caption=text"])
    assert "A bird." in [each.caption for each in read_with(tmp_path, columns=["caption=Satz"])]


def test_a_column_of_one_domain_may_be_missing_in_another(tmp_path, write, draw):
    for name, column in (("birds", "bild"), ("fish", "image")):
        write(f"{name}/1.png", draw(len(name)))
        write(f"{name}/list.csv", f"{column},caption\n1.png,One of {name}.\n")
    found = read_with(tmp_path, columns=["image=bild"])
    assert "One of birds." in [getattr(each, "caption", "") for each in found]

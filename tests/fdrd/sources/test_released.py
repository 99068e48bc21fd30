"""The flaws of the authors' layout: each is fixed by a counted rule or rejected with a reason."""

import pytest

from fdrd.reasons import Rejection
from fdrd.record import Negative
from fdrd.sources import find_domains, read_domain
from fdrd.sources.layouts import released
from fdrd.sources.reading.source_folder import SourceFolder


def one(root, write, annotations, file="pets_test.json"):
    write(file, annotations)
    (found,) = released.read(SourceFolder(root / "raw"))
    return found


def record(**fields):
    return {
        "file_name": "x_1.jpg",
        "file_path": "YOUR_IMAGE_PATH",
        "positive": "A cat.",
        "negative": [],
        **fields,
    }


def test_folder_and_file_joined_in_the_annotation_are_separated(tmp_path, write, draw):
    write("101_ObjectCategories/Faces/image_0274.jpg", draw(1))
    found = one(
        tmp_path,
        write,
        {"Faces_image_0274.jpg": record(file_name="Faces_image_0274.jpg", class_name="face")},
        "inter_caltech-101_train.json",
    )
    assert found.image.path == "101_ObjectCategories/Faces/image_0274.jpg"
    assert (found.category, found.split) == ("face", "train")
    assert set(found.rules) == {
        "path_placeholder",
        "folder_joined_to_name",
        "category_differs_from_folder",
    }


def test_pets_lack_class_names_extensions_and_local_paths(tmp_path, write, draw):
    write("images/american_bulldog_87.jpg", draw(1))
    raw = {
        "file_name": "american_bulldog_87",
        "file_path": "/root/autodl-tmp/x/american_bulldog_87.jpg",
    }
    found = one(
        tmp_path, write, {"american_bulldog_87": {**raw, "positive": "An american_bulldog."}}
    )
    assert (found.id, found.category) == ("american_bulldog_87", "american bulldog")
    assert found.caption == "An american bulldog."
    assert set(found.rules) == {
        "path_of_another_machine",
        "extension_added",
        "category_from_key",
        "category_underscores",
        "caption_underscores",
    }


def test_fields_added_by_fdrd_caption_are_read(tmp_path, write, draw):
    write("x_1.jpg", draw(1))
    extra = {"meta_category": "pet", "group": "litter 1", "license": "CC0-1.0"}
    found = one(tmp_path, write, {"x_1.jpg": record(**extra)})
    assert (found.meta_category, found.group) == ("pet", "litter 1")
    assert found.source.license == "CC0-1.0"


def test_flowers_have_the_category_in_front_of_the_name(tmp_path, write, draw):
    write("jpg/image_06422.jpg", draw(1))
    fields = {"file_name": "ball moss_image_06422", "class_name": "ball moss"}
    found = one(tmp_path, write, {"ball moss_image_06422": record(**fields)})
    assert found.image.path == "jpg/image_06422.jpg"
    assert "category_joined_to_name" in found.rules


def test_negatives_are_normalized_like_captions(tmp_path, write, draw):
    write("x_1.jpg", draw(1))
    found = one(
        tmp_path, write, {"x_1.jpg": record(class_name="x", negative=["A big_dog.The end."])}
    )
    assert found.negatives == (Negative("A big dog. The end.", "", "category"),)


@pytest.mark.parametrize(
    ("key", "fields", "reason"),
    [
        ("x_1.jpg", {"positive": 7}, "bad_field"),
        ("x_1.jpg", {"negative": "A dog."}, "bad_field"),
        ("x_1.jpg", {"class_name": ["x"]}, "bad_field"),
        ("x.jpg", {}, "category_missing"),
        ("y_1.jpg", {"file_name": "y_1.jpg"}, "image_missing"),
        ("z_1", {"file_name": "z_1"}, "image_ambiguous"),
        ("x_1.jpg", {"file_path": "../x_1.jpg"}, "path_outside"),
        ("x_1.jpg", {"file_name": "/etc/x_1.jpg"}, "path_outside"),
        ("x_1.jpg", {"file_name": "..\\x_1.jpg"}, "path_outside"),
    ],
)
def test_a_record_that_cannot_be_fixed_is_rejected(tmp_path, write, draw, key, fields, reason):
    for path in ("x_1.jpg", "a/z_1.jpg", "b/z_1.jpg"):
        write(path, draw(1))
    found = one(tmp_path, write, {key: record(**fields)})
    assert isinstance(found, Rejection)
    assert (found.file, found.key, found.reason) == ("pets_test.json", key, reason)


@pytest.mark.parametrize("caption", [None, "", "  "])
def test_a_record_without_a_caption_is_rejected(write, draw, read, caption):
    write("x_1.jpg", draw(1))
    write("pets_test.json", {"x_1.jpg": record(positive=caption)})
    (found,) = read("released")
    assert (found.file, found.key, found.reason) == ("pets_test.json", "x_1.jpg", "caption_missing")


def test_a_record_that_is_not_an_object_is_rejected(tmp_path, write):
    assert one(tmp_path, write, {"x_1": "A cat."}).reason == "bad_field"


def test_a_repeated_key_gives_two_records(tmp_path, write, draw):
    write("x_1.jpg", draw(1))
    line = '"x_1.jpg": {"file_name": "x_1.jpg", "positive": "A cat."}'
    write("pets_test.json", "{" + line + ", " + line + "}")
    assert [found.id for found in released.read(SourceFolder(tmp_path / "raw"))] == [
        "x_1.jpg",
        "x_1.jpg",
    ]


@pytest.mark.parametrize(
    "text", ['{"a": {"positive": ', "[" * 100_000 + '"positive"', '["positive"]']
)
def test_invalid_json_is_one_rejection(tmp_path, write, text):
    found = one(tmp_path, write, text)
    assert (found.file, found.reason) == ("pets_test.json", "unreadable_annotations")


def test_ids_and_paths_of_a_subfolder_start_with_its_name(tmp_path, write, draw):
    write("pets/images/x_1.jpg", draw(1))
    write("pets/pets_test.json", {"x_1": record()})
    write("cars/audi/1.jpg", draw(2))
    write("cars/audi/1.txt", "An audi.\n")
    domains = find_domains(tmp_path / "raw")
    assert [(domain.name, domain.reader) for domain in domains] == [
        ("cars", "image_folder"),
        ("pets", "released"),
    ]
    found = [item for domain in domains for item in read_domain(tmp_path / "raw", domain)]
    assert [(item.id, item.image.path, item.source.origin) for item in found] == [
        ("cars/audi/1.jpg", "cars/audi/1.jpg", "cars/audi/1.txt: line 1"),
        ("pets/x_1", "pets/images/x_1.jpg", "pets/pets_test.json: x_1"),
    ]

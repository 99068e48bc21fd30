"""The flaws of the authors' layout: each is fixed by a counted rule or rejected with a reason."""

import pytest

from fdrd.reasons import Rejection
from fdrd.record import Negative
from fdrd.sources import find_domains, read_domain
from fdrd.sources.layouts import released
from fdrd.sources.reading.source_folder import SourceFolder
from tests.real import REAL, needs_real


@pytest.fixture
def one(write, draw):
    """Return a function that reads a single annotation, beside images with these paths."""

    def one(annotations, *images, file="pets_test.json"):
        for path in images:
            write(path, draw(1))
        root = write(file, annotations).parent
        (found,) = released.read(SourceFolder(root))
        return found

    return one


def record(**fields):
    defaults = {"file_name": "x_1.jpg", "file_path": "YOUR_IMAGE_PATH", "positive": "A cat."}
    return {**defaults, "negative": [], **fields}


def test_folder_and_file_joined_in_the_annotation_are_separated(one):
    path = "101_ObjectCategories/Faces/image_0274.jpg"
    fields = record(file_name="Faces_image_0274.jpg", class_name="face")
    file = "inter_caltech-101_train.json"
    found = one({"Faces_image_0274.jpg": fields}, path, file=file)
    assert (found.image.path, found.category, found.split) == (path, "face", "train")
    rules = {"path_placeholder", "folder_joined_to_name", "category_differs_from_folder"}
    assert set(found.rules) == rules


def test_pets_lack_class_names_extensions_and_local_paths(one):
    key = "american_bulldog_87"
    fields = {"file_name": key, "file_path": f"/root/autodl-tmp/x/{key}.jpg"}
    found = one({key: {**fields, "positive": "An american_bulldog."}}, f"images/{key}.jpg")
    assert (found.id, found.category) == (key, "american bulldog")
    assert found.caption == "An american bulldog."
    underscores = {"category_underscores", "caption_underscores"}
    added = {"path_of_another_machine", "extension_added", "category_from_key"}
    assert set(found.rules) == underscores | added


def test_fields_added_by_fdrd_caption_are_read(one):
    extra = {"meta_category": "pet", "group": "litter 1", "license": "CC0-1.0"}
    found = one({"x_1.jpg": record(**extra)}, "x_1.jpg")
    assert (found.meta_category, found.group) == ("pet", "litter 1")
    assert found.source.license == "CC0-1.0"


def test_negatives_are_normalized_like_captions(one):
    negative = ["A big_dog.The end."]
    found = one({"x_1.jpg": record(class_name="x", negative=negative)}, "x_1.jpg")
    assert found.negatives == (Negative("A big dog. The end.", "", "category"),)


@pytest.mark.parametrize(
    ("key", "fields", "reason"),
    [
        ("x_1.jpg", {"positive": 7}, "bad_field"),
        ("x_1.jpg", {"negative": "A dog."}, "bad_field"),
        ("x_1.jpg", {"negative": ["\u202e"]}, "bad_field"),
        ("x_1.jpg", {"class_name": ["x"]}, "bad_field"),
        ("x.jpg", {}, "category_missing"),
        ("y_1.jpg", {"file_name": "y_1.jpg"}, "image_missing"),
        ("z_1", {"file_name": "z_1"}, "image_ambiguous"),
        ("x_1.jpg", {"file_path": "../x_1.jpg"}, "path_outside"),
        ("x_1.jpg", {"file_name": "/etc/x_1.jpg"}, "path_outside"),
        ("x_1.jpg", {"file_name": "..\\x_1.jpg"}, "path_outside"),
        ("x_1.jpg", None, "bad_field"),
    ],
)
def test_a_record_that_cannot_be_fixed_is_rejected(one, key, fields, reason):
    value = "A cat." if fields is None else record(**fields)
    found = one({key: value}, "x_1.jpg", "a/z_1.jpg", "b/z_1.jpg")
    assert isinstance(found, Rejection)
    assert (found.file, found.key, found.reason) == ("pets_test.json", key, reason)


def test_a_repeated_key_gives_two_records(tmp_path, write, draw):
    write("x_1.jpg", draw(1))
    line = '"x_1.jpg": {"file_name": "x_1.jpg", "positive": "A cat."}'
    write("pets_test.json", "{" + line + ", " + line + "}")
    found = released.read(SourceFolder(tmp_path / "raw"))
    assert [each.id for each in found] == ["x_1.jpg", "x_1.jpg"]


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


@needs_real
def test_every_published_pair_of_caltech_has_its_image():
    found = list(released.read(SourceFolder(REAL / "caltech101")))
    assert len(found) == 8242
    assert not [item for item in found if isinstance(item, Rejection)]
    assert len({item.category for item in found}) == 100
    assert sum(item.split == "test" for item in found) == 2465
    assert len({item.image.path for item in found}) == 8242
    by_key = {item.id: item for item in found}
    airplane = by_key["airplanes_image_0357.jpg"]
    assert airplane.image.path == "101_ObjectCategories/airplanes/image_0357.jpg"
    assert airplane.category == "airplane"
    assert not any("_" in item.caption or "photo of banded.The" in item.caption for item in found)

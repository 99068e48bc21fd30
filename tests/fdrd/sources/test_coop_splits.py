"""CoOp's splits have categories and no captions; a build points to `fdrd caption`."""

import pytest

from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from fdrd.reasons import Rejection


@pytest.fixture
def read_uncaptioned(read):
    return lambda: read("coop_splits", require_captions=False)


def test_every_image_has_category_split_and_no_caption(tmp_path, write, draw, read_uncaptioned):
    write("101_ObjectCategories/accordion/image_0001.jpg", draw(1))
    write("101_ObjectCategories/ant/image_0001.jpg", draw(2))
    splits = {
        "train": [["accordion/image_0001.jpg", 0, "accordion"]],
        "val": [],
        "test": [["ant/image_0001.jpg", 1, "red_ant"]],
    }
    write("split_zhou_Caltech101.json", splits)
    first, second = read_uncaptioned()
    assert first.image.path == "101_ObjectCategories/accordion/image_0001.jpg"
    assert (first.category, first.split, first.caption) == ("accordion", "train", "")
    assert (second.category, second.split) == ("red ant", "test")
    with pytest.raises(FdrdError, match=r"2 caption_missing.*`fdrd caption`"):
        build(tmp_path / "raw", tmp_path / "out", workers=1)


def test_aircraft_have_a_text_file_for_each_split(write, draw, read_uncaptioned):
    write("images/1025794.jpg", draw(1))
    write("images/0056978.jpg", draw(2))
    write("images_variant_train.txt", "1025794 707-320\n")
    write("images_variant_test.txt", "0056978 F/A-18\n")
    assert [(item.category, item.split, item.image.path) for item in read_uncaptioned()] == [
        ("707-320", "train", "images/1025794.jpg"),
        ("F/A-18", "test", "images/0056978.jpg"),
    ]


def test_frames_of_a_video_share_a_group(write, draw, read_uncaptioned):
    rows = []
    for clip in ("g08_c01", "g08_c02", "g09_c01"):
        write(f"UCF-101-midframes/Archery/v_Archery_{clip}.jpg", draw(len(rows)))
        rows.append([f"Archery/v_Archery_{clip}.jpg", 2, "Archery"])
    write("split_zhou_UCF101.json", {"train": rows})
    groups = [item.group for item in read_uncaptioned()]
    assert groups == ["v_Archery_g08", "v_Archery_g08", "v_Archery_g09"]


def test_splits_with_captions_are_the_released_layout(write, draw, read):
    write("images/x_1.jpg", draw(1))
    write("split_zhou_X.json", {"train": [["x_1.jpg", 0, "x"]]})
    write("captions_train.json", {"x_1.jpg": {"file_name": "x_1.jpg", "positive": "An x."}})
    assert len(read("released")) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "unreadable_annotations"),
        ("[" * 100_000, "unreadable_annotations"),
        ("[]", "unreadable_annotations"),
        ('{"train": [], "train": []}', "bad_field"),
        ('{"train": 3}', "bad_field"),
        ('{"holdout": []}', "bad_field"),
        ('{"train": [["1.jpg", "x"], 3, {}]}', "bad_field"),
        ('{"train": [["../1.jpg", 0, "x"]]}', "path_outside"),
        ('{"train": [["2.jpg", 0, "x"]]}', "image_missing"),
        ('{"train": [["1.jpg", 0, "x"]]}', "image_ambiguous"),
        ('{"train": [["a/1.jpg", 0, ""]]}', "category_missing"),
    ],
)
def test_invalid_splits_are_rejected(write, draw, read_uncaptioned, text, reason):
    write("a/1.jpg", draw(1))
    write("b/1.jpg", draw(1))
    write("split_zhou_X.json", text)
    found = read_uncaptioned()
    assert {item.reason for item in found if isinstance(item, Rejection)} == {reason}

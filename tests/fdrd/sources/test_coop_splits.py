"""CoOp's splits: categories without captions, which `fdrd caption` writes and a build asks for."""

import pytest

from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from fdrd.reasons import Rejection
from fdrd.sources import find_domains, read_domain


def open_records(root):
    (domain,) = find_domains(root / "raw")
    assert domain.reader == "coop_splits"
    return list(read_domain(root / "raw", domain, captions=False))


def test_every_image_has_category_split_and_no_caption(tmp_path, write, draw):
    write("101_ObjectCategories/accordion/image_0001.jpg", draw(1))
    write("101_ObjectCategories/ant/image_0001.jpg", draw(2))
    splits = {
        "train": [["accordion/image_0001.jpg", 0, "accordion"]],
        "val": [],
        "test": [["ant/image_0001.jpg", 1, "red_ant"]],
    }
    write("split_zhou_Caltech101.json", splits)
    first, second = open_records(tmp_path)
    assert (first.image.path, first.category, first.split, first.caption) == (
        "101_ObjectCategories/accordion/image_0001.jpg",
        "accordion",
        "train",
        "",
    )
    assert (second.category, second.split) == ("red ant", "test")
    with pytest.raises(FdrdError, match=r"2 caption_missing.*`fdrd caption`"):
        build(tmp_path / "raw", tmp_path / "out", workers=1)


def test_aircraft_have_a_list_of_lines_for_each_split(tmp_path, write, draw):
    write("images/1025794.jpg", draw(1))
    write("images/0056978.jpg", draw(2))
    write("images_variant_train.txt", "1025794 707-320\n")
    write("images_variant_test.txt", "0056978 F/A-18\n")
    assert [(item.category, item.split, item.image.path) for item in open_records(tmp_path)] == [
        ("707-320", "train", "images/1025794.jpg"),
        ("F/A-18", "test", "images/0056978.jpg"),
    ]


def test_frames_of_a_video_share_a_group(tmp_path, write, draw):
    rows = []
    for clip in ("g08_c01", "g08_c02", "g09_c01"):
        write(f"UCF-101-midframes/Archery/v_Archery_{clip}.jpg", draw(len(rows)))
        rows.append([f"Archery/v_Archery_{clip}.jpg", 2, "Archery"])
    write("split_zhou_UCF101.json", {"train": rows})
    groups = [item.group for item in open_records(tmp_path)]
    assert groups == ["v_Archery_g08", "v_Archery_g08", "v_Archery_g09"]


def test_captions_beside_the_splits_make_it_the_released_layout(tmp_path, write, draw):
    write("images/x_1.jpg", draw(1))
    write("split_zhou_X.json", {"train": [["x_1.jpg", 0, "x"]]})
    write("captions_train.json", {"x_1.jpg": {"file_name": "x_1.jpg", "positive": "An x."}})
    (domain,) = find_domains(tmp_path / "raw")
    assert domain.reader == "released"


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("{", {"unreadable_annotations"}),
        ("[" * 100_000, {"unreadable_annotations"}),
        ("[]", {"unreadable_annotations"}),
        ('{"train": [], "train": []}', {"unreadable_annotations"}),
        ('{"train": 3}', {"bad_field"}),
        ('{"holdout": []}', {"bad_field"}),
        ('{"train": [["1.jpg", "x"], 3, {}]}', {"bad_field"}),
        ('{"train": [["../1.jpg", 0, "x"]]}', {"path_outside"}),
        ('{"train": [["2.jpg", 0, "x"]]}', {"image_missing"}),
        ('{"train": [["1.jpg", 0, "x"]]}', {"image_ambiguous"}),
        ('{"train": [["a/1.jpg", 0, ""]]}', {"category_missing"}),
    ],
)
def test_what_makes_no_sense_is_a_rejection(tmp_path, write, draw, text, reasons):
    write("a/1.jpg", draw(1))
    write("b/1.jpg", draw(1))
    write("split_zhou_X.json", text)
    found = open_records(tmp_path)
    assert {item.reason for item in found if isinstance(item, Rejection)} == reasons

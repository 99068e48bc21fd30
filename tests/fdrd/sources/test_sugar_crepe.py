"""Files of SugarCrepe and SugarCrepe++ with COCO's images become a dataset with given negatives."""

import json

import pytest
from PIL import Image

import fdrd
from fdrd.reasons import Rejection
from tests.running import run_method


def choice(image, caption, negative, **more):
    return {"filename": f"{image}.png", "caption": caption, "negative_caption": negative, **more}


@pytest.fixture
def source(tmp_path):
    """Return a function that writes files of rows, next to three images."""
    images = tmp_path / "raw" / "val2017"
    images.mkdir(parents=True)
    for index, color in enumerate(("red", "green", "blue")):
        Image.new("RGB", (16, 16 + index), color).save(images / f"{color}.png")

    def write(**files):
        (tmp_path / "raw" / "data").mkdir(exist_ok=True)
        for name, rows in files.items():
            (tmp_path / "raw" / "data" / f"{name}.json").write_text(json.dumps(rows))
        return tmp_path / "raw"

    return write


def test_rows_of_one_caption_in_several_files_are_one_record_with_all_negatives(source, read):
    source(
        swap_att={"0": choice("red", "A red cup.", "A blue cup.")},
        add_obj={
            "0": choice("red", "A red cup.", "A red cup and a plate."),
            "1": choice("red", "The cup.", "No cup."),
        },
    )
    first, second = read("sugar_crepe")
    assert [(n.caption, n.kind, n.attribute_type) for n in first.negatives] == [
        ("A red cup and a plate.", "attribute", "add_obj"),
        ("A blue cup.", "attribute", "swap_att"),
    ]
    assert (first.caption, first.split, first.category) == ("A red cup.", "test", "")
    assert first.source.origin == "data/add_obj.json: 0"
    assert [first.id, second.id] == ["raw/val2017/red.png", "raw/val2017/red.png#2"]


def test_both_captions_of_sugar_crepe_plus_plus_have_the_negative(source, read):
    source(replace_att=[choice("red", "A red cup.", "A blue cup.", caption2="The cup is red.")])
    assert [(item.caption, item.negatives[0].caption) for item in read("sugar_crepe")] == [
        ("A red cup.", "A blue cup."),
        ("The cup is red.", "A blue cup."),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (choice("gone", "A red cup.", "A blue cup."), "image_missing"),
        (choice("../../red", "A red cup.", "A blue cup."), "path_outside"),
        (choice("red", 7, "A blue cup."), "bad_field"),
        (choice("red", "A red cup.", "A blue cup.", caption2=[1]), "bad_field"),
        (choice("red", "A red cup.", None), "bad_field"),
        (choice("red", "A red cup.", ""), "bad_field"),
        (choice("red", "", "A blue cup."), "caption_missing"),
        ("A red cup.", "bad_field"),
    ],
)
def test_a_row_that_cannot_be_read_is_rejected_and_the_others_stay(source, read, row, reason):
    source(swap_att={"0": row, "1": choice("green", "A green cup.", "A red cup.")})
    rejected, kept = sorted(read("sugar_crepe"), key=lambda item: not isinstance(item, Rejection))
    assert (rejected.reason, kept.caption) == (reason, "A green cup.")


def test_bench_measures_each_kind_of_change_beside_the_text_only_baseline(source, tmp_path):
    """Only wrong captions name a plate, so text alone solves `add_obj`."""
    colors = ("red", "green", "blue")
    rows = [
        (color, f"Cup {number} is {color}.", f"Cup {number} is {color} on a plate.")
        for number in range(15)
        for color in colors
    ]
    files = {"add_obj": {str(index): choice(*row) for index, row in enumerate(rows)}}
    built = fdrd.build(source(**files), tmp_path / "data", workers=1)
    assert built.manifest.records.kept == len(rows)
    result = run_method("random", tmp_path / "data", results=tmp_path / "runs")
    share = result.metrics.hard_negatives["attribute: add_obj"]
    assert (share.rows, share.chance, share.text_only) == (len(rows), 0.5, 1.0)

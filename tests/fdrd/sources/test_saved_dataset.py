"""Datasets that `datasets` saved to disk, with images and class labels."""

from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value

from fdrd.checks.validation import validate
from fdrd.images.check import read_image
from fdrd.pipeline.builder import build

FEATURES = Features(
    {"image": Image(), "caption": Value("string"), "label": ClassLabel(names=["wren", "robin"])}
)


def dataset(draw, rows):
    columns = {
        "image": [{"bytes": draw(row), "path": None} for row in rows],
        "caption": [f"Bird {row}." for row in rows],
        "label": [row % 2 for row in rows],
    }
    return Dataset.from_dict(columns, features=FEATURES)


def test_folders_are_splits_and_classes_have_names(tmp_path, draw, read):
    splits = {"train": dataset(draw, range(10)), "test": dataset(draw, range(10, 14))}
    DatasetDict(splits).save_to_disk(tmp_path / "raw", num_shards={"train": 2, "test": 1})
    found = read("saved_dataset")
    assert [(item.split, item.category) for item in found[3:5]] == [
        ("test", "robin"),
        ("train", "wren"),
    ]
    assert read_image(str(tmp_path / "raw"), found[4 + 7].image) == draw(7)
    built = build(tmp_path / "raw", tmp_path / "out", workers=1)
    assert built.manifest.records.kept == 14
    assert list(validate(tmp_path / "out")) == []

"""What `datasets` saved to disk, and what it keeps of images and class labels."""

from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value

from fdrd.checks.validation import validate
from fdrd.images.check import read_image
from fdrd.pipeline.builder import build
from fdrd.sources import find_domains, read_domain

FEATURES = Features(
    {"image": Image(), "caption": Value("string"), "label": ClassLabel(names=["wren", "robin"])}
)


def dataset(draw, rows):
    return Dataset.from_dict(
        {
            "image": [{"bytes": draw(row), "path": None} for row in rows],
            "caption": [f"Bird {row}." for row in rows],
            "label": [row % 2 for row in rows],
        },
        features=FEATURES,
    )


def test_splits_are_folders_and_classes_have_names(tmp_path, draw):
    splits = {"train": dataset(draw, range(10)), "test": dataset(draw, range(10, 14))}
    DatasetDict(splits).save_to_disk(tmp_path / "raw", num_shards={"train": 2, "test": 1})
    (domain,) = find_domains(tmp_path / "raw")
    assert domain.reader == "saved_dataset"
    found = list(read_domain(tmp_path / "raw", domain))
    assert [(item.split, item.category) for item in found[3:5]] == [
        ("test", "robin"),
        ("train", "wren"),
    ]
    assert read_image(str(tmp_path / "raw"), found[4 + 7].image) == draw(7)
    built = build(tmp_path / "raw", tmp_path / "out", workers=1)
    assert built.manifest["records"]["kept"] == 14
    assert list(validate(tmp_path / "out")) == []


def test_a_dataset_without_splits_gets_hashed_ones(tmp_path, draw):
    dataset(draw, range(10)).save_to_disk(tmp_path / "raw")
    (domain,) = find_domains(tmp_path / "raw")
    found = list(read_domain(tmp_path / "raw", domain))
    assert {item.split for item in found} == {""}
    assert len(found) == 10

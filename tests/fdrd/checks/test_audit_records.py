import pytest

from fdrd.checks.audit_records import dataset_records, source_records
from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from fdrd.sources import find_domains, read_domain


def test_a_built_dataset_returns_its_records(birds, tmp_path):
    built = build(birds, tmp_path / "out", workers=1)
    records, rules = dataset_records(tmp_path / "out")
    assert len(records) == built.manifest["records"]["kept"]
    assert rules == built.manifest["rules"]
    read = {item.id: item for item in read_domain(birds, find_domains(birds)[0])}
    for record in records:
        assert (record.caption, record.category) == (
            read[record.id].caption,
            read[record.id].category,
        )
        assert record.negatives


def test_annotations_are_audited_file_by_file_without_their_images(tmp_path, write):
    pair = {"file_name": "tabby_1", "positive": "A tabby_cat.The end.", "class_name": "tabby cat"}
    dog = {"file_name": "pug_2", "positive": "A pug.", "class_name": "pug"}
    negatives = ["An pug. The end.", "A tabby cat. The end."]
    write("pets_test.json", {"tabby_1": {**pair, "negative": negatives}, "pug_2": dog})
    write("pets_train.json", {"tabby_3": {**pair, "file_name": "tabby_3"}})
    records, rules = source_records(tmp_path / "raw")
    assert [record.domain for record in records] == ["pets_test.json"] * 2 + ["pets_train.json"]
    assert [(negative.caption, negative.category) for negative in records[0].negatives] == [
        ("A pug. The end.", "pug"),
        ("A tabby cat. The end.", "tabby cat"),
    ]
    assert rules == {"caption_glued": 2, "caption_underscores": 2, "negative_article": 1}


def test_a_source_without_records_is_an_error(tmp_path, write):
    write("pets_test.json", '{"x": {"positive": 1}}')
    with pytest.raises(FdrdError, match="no annotation is a valid record"):
        source_records(tmp_path / "raw")

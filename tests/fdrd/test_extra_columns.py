"""A column of the source that fdrd does not know passes every reader, the shards, every export and the pages."""

import json
from html import unescape

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts import LAYOUTS, PAIRS
from msgspec import to_builtins
from msgspec.structs import replace

import fdrd
from fdrd.checks.validation import validate
from fdrd.commands.stats import stats as print_stats
from fdrd.exports import FORMATS, format_module
from fdrd.pipeline.documents import convert_dataset
from fdrd.reasons import Rejection
from fdrd.record import ImageRef, Record, Source
from fdrd.sources import READERS, find_domains, read_domain
from fdrd.sources.reading.columns import MAX_COLUMNS, extra_columns, within_limit
from fdrd.sources.reading.source_folder import SourceFolder
from fdrd.storage.manifest import read_manifest
from fdrd.storage.shard_file import schema_flaw
from fdrd.storage.shards import read_records
from fdrd.viewer.indexing import _flaw
from tests.fdrd.viewer.conftest import open_site  # noqa: F401 - a fixture
from tests.folders import caches_in

PHOTOGRAPHERS = {pair.photographer for pair in PAIRS}
WITHOUT_FIELDS = {"cub", "coop_splits", "flickr_tokens", "nested_folders", "sugar_crepe"}
"""Readers of text files that have no fields."""
VALUES = {"photographer": "Ann <b>& Bob</b>", "year": 1999, "height_m": 1.5, "wild": True}
VALUES["mixed"] = "7"


@pytest.fixture(scope="module")
def typed(tmp_path_factory):
    """A dataset with a column of each type; the first image has no extra column, the second a number in `mixed`."""
    folder = tmp_path_factory.mktemp("typed")
    LAYOUTS["imagefolder_metadata"].write(folder / "raw", PAIRS)
    for file in (folder / "raw").rglob("metadata.jsonl"):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for line in lines:
            del line["photographer"]
            number = int(line["file_name"][5:7])
            line |= VALUES if number else {}
            line |= {"mixed": 7} if number == 1 else {}
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with caches_in(folder):
        fdrd.build(folder / "raw", folder / "data", workers=1)
    return folder / "data"


def read_all(folder):
    return list(read_records(folder, read_manifest(folder)))


def extras(folder):
    """Return the extra columns of each image of a dataset."""
    return {record.source.sha256: record.extra for record in read_all(folder)}


def test_only_readers_without_fields_have_no_layout_that_keeps_a_column():
    keeping = {each.reader for each in LAYOUTS.values() if "photographer" in each.has}
    assert READERS.keys() - keeping == WITHOUT_FIELDS


def test_shards_have_typed_columns_that_datasets_reads(typed):
    rows = fdrd.load(typed, "train")
    columns = {name: rows.features[name].dtype for name in VALUES}
    assert list(columns.values()) == ["string", "int64", "float64", "bool", "string"]
    values = zip(*(rows[name] for name in columns), strict=True)
    found = [dict(zip(columns, row, strict=True)) for row in values]
    assert found.count(VALUES) == len(found) - 2
    assert found.count(dict.fromkeys(VALUES)) == 2
    assert validate(typed) == []


def test_parquet_card_and_croissant_have_the_columns(typed):
    converted = convert_dataset(typed, "parquet")
    assert extras(converted) == extras(typed)
    assert validate(converted) == []
    card = (typed / "README.md").read_text()
    croissant = (typed / "croissant.json").read_text()
    assert all(f"name: {name}" in card and f"default/{name}" in croissant for name in VALUES)


@pytest.mark.parametrize("form", FORMATS)
def test_every_export_carries_a_column_or_says_that_it_does_not(typed, tmp_path, form):
    fdrd.export(typed, tmp_path / "out", to=form)
    texts = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert (b"Ann <b>& Bob</b>" in texts) != ("extra columns" in format_module(form).NOT_CARRIED)


def test_stats_has_a_line_for_each_column(typed, capsys):
    (train,) = (split for split in fdrd.stats(typed) if split.split == "train")
    found = {each.name: (each.distinct, each.nulls, each.low, each.high) for each in train.columns}
    assert found["year"] == (1, 2, 1999, 1999)
    assert found["photographer"] == (1, 2, None, None)
    print_stats(typed)
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("photographer", "1,999 to 1,999"))


def test_the_record_page_shows_a_column_as_text(typed, open_site):  # noqa: F811
    site = open_site(typed)
    index = site.context.library.current()
    record = index.record(next(each.id for each in read_all(typed) if each.extra))
    page = site.text("/record", id=record["id"])
    assert "<b>&" not in page
    assert "Ann <b>& Bob</b>" in unescape(page)
    assert all(name in page for name in VALUES)


LEFT_OUT = [("boxes", [1]), ("about", {"a": 1}), ("?", 1), ("\ud800", 1), ("text", "\ud800")]
LEFT_OUT += [("text", "a" * 20_001)]


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("taken by", "Ann", {"taken_by": "Ann"}),
        ("2nd", 1, {"_2nd": 1}),
        ("source", "web", {"source_": "web"}),
        ("caption", "A.", {"caption_": "A."}),
        ("width", 3, {}),
        ("note", "", {}),
        ("big", 2**63, {"big": str(2**63)}),
        ("small", -(2**63), {"small": -(2**63)}),
        ("n" * 64, 1, {"n" * 63: 1}),
        ("text", "a" * 20_000, {"text": "a" * 20_000}),
        *((column, value, None) for column, value in LEFT_OUT),
    ],
)
def test_a_name_becomes_an_identifier_a_value_keeps_its_type_and_others_are_counted(
    column, value, expected
):
    found = extra_columns({column: value, "year": 1})
    assert found == ({**(expected or {}), "year": 1}, expected is None)


def test_a_domain_has_at_most_32_columns_and_counts_the_others():
    record = Record("1", ImageRef("a"), "A.", "", Source("a"))
    names = {}
    for number in range(MAX_COLUMNS):
        assert within_limit(replace(record, extra={f"c{number}": 1}), names).rules == ()
    assert within_limit(replace(record, extra={"c0": 2}), names).extra == {"c0": 2}
    more = within_limit(replace(record, extra={"c0": 2, "new": 3}), names)
    assert more == replace(record, extra={"c0": 2}, rules=("column_left_out",))


def test_a_shard_with_other_extra_columns_than_the_manifest_is_damaged(typed):
    (path,) = (typed / "data").rglob("train-*")
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_stream(file).read_all()
    names = json.loads((typed / "manifest.json").read_text())["categories"]
    assert schema_flaw(table.schema, names) == ""
    hostile = table.append_column("boxes", pa.array([[1]] * len(table)))
    assert "'boxes' of the type list" in schema_flaw(hostile.schema, names)
    hostile = table.append_column("a b", pa.array([1] * len(table)))
    assert "'a b'" in schema_flaw(hostile.schema, names)


def test_columns_of_one_name_and_parts_of_the_image_are_left_out(tmp_path):
    names = ["image", "caption", "tag", "tag", "raw_bytes", "image.note", "year"]
    texts = [["A bird."] * 8, ["x"] * 8, ["y"] * 8, [b"z"] * 8, ["w"] * 8]
    columns = [pa.array(each) for each in ([p.data for p in PAIRS], *texts, range(8))]
    pq.write_table(pa.Table.from_arrays(columns, names), tmp_path / "birds.parquet")
    (domain,) = find_domains(tmp_path)
    records = list(read_domain(tmp_path, domain))
    assert [record.extra for record in records] == [{"year": number} for number in range(8)]
    assert {record.rules for record in records} == {("column_left_out",)}


def test_the_viewer_leaves_out_a_row_with_a_longer_text_than_a_reader_accepts(typed):
    row = {**to_builtins(read_all(typed)[0]), "category": None}
    assert _flaw({**row, "photographer": "a" * 20_000}, []) == ""
    assert _flaw({**row, "photographer": "a" * 20_001}, []) == "a column has over 20,000 characters"


@pytest.mark.parametrize("depth", [400, 900])
def test_deeply_nested_columns_are_left_out_or_refused(tmp_path, depth):
    LAYOUTS["authors_json"].write(tmp_path, PAIRS)
    file = tmp_path / "birds_test.json"
    nested = '{"a": ' * depth + "1" + "}" * depth
    boxes = f'"negative": [], "boxes": {nested}'
    file.write_text(file.read_text().replace('"negative": []', boxes, 1))
    items = list(READERS["released"].read(SourceFolder(tmp_path)))
    assert any(isinstance(item, Rejection) or "column_left_out" in item.rules for item in items)

"""What would take time that grows with its square is rejected, and says why."""

import json
import zipfile

import pytest

from fdrd.errors import FdrdError
from fdrd.reasons import Rejection
from fdrd.record import Record
from fdrd.sources.layouts import table
from fdrd.sources.reading import lines, source_folder
from fdrd.sources.reading.image_search import ImageIndex
from fdrd.sources.reading.names import MAX_CAPTION, MAX_NAME
from fdrd.sources.reading.pairs import MAX_LISTED
from fdrd.sources.reading.source_folder import RejectedError, SourceFolder
from fdrd.text.normalize import MAX_MARKS, MAX_MOVED, move_spans

ZALGO = "a" + "\u0301\u0316" * (MAX_MARKS // 2)
RED = {"type": "color", "value": "red", "start": 0, "end": 3}


def read(write, draw, **fields):
    write("a.png", draw(1))
    write("pairs.jsonl", json.dumps({"image": "a.png", "caption": "A wren.", **fields}))
    root = write("other.txt", "").parent
    return list(table.read(SourceFolder(root)))


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"caption": "A" * (MAX_CAPTION + 1)}, f'"caption" has over {MAX_CAPTION} characters'),
        ({"category": "A" * (MAX_NAME + 1)}, f'"category" has over {MAX_NAME} characters'),
        ({"caption": ZALGO + "\u0301"}, "combining marks in a row"),
        ({"negatives": [ZALGO + "\u0301"]}, "combining marks in a row"),
        ({"negatives": ["A robin."] * (MAX_LISTED + 1)}, f"a list of {MAX_LISTED + 1}"),
        ({"attributes": [RED] * (MAX_LISTED + 1)}, f"a list of {MAX_LISTED + 1}"),
        ({"caption": "red  " + "a " * MAX_MOVED, "attributes": [RED]}, "cannot be followed"),
    ],
)
def test_what_exceeds_a_limit_is_rejected_and_says_so(write, draw, fields, detail):
    (found,) = read(write, draw, **fields)
    assert isinstance(found, Rejection)
    assert (found.reason, detail in found.detail) == ("bad_field", True)


def test_what_is_within_the_limits_is_kept(write, draw):
    (found,) = read(write, draw, caption=ZALGO, negatives=["A robin."] * MAX_LISTED)
    assert isinstance(found, Record)
    assert len(found.negatives) == MAX_LISTED
    (found,) = read(write, draw, caption="A" * MAX_CAPTION, category="B" * MAX_NAME)
    assert (len(found.caption), len(found.category)) == (MAX_CAPTION, MAX_NAME)
    long = "red " + "a " * MAX_MOVED
    assert move_spans((), long, long) == ()


@pytest.mark.parametrize("limits", [(1000, 0), (0, 1000)])
def test_a_zip_archive_may_expand_to_its_limit(write, monkeypatch, limits):
    """The limit is either fixed or a multiple of the size of the archive."""
    file = write("a.zip", b"")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", bytes(999))
        archive.writestr("folder/b.txt", b"b")
    fixed, multiple = limits

    def members(less):
        monkeypatch.setattr(source_folder, "FREE_BYTES", fixed - less)
        monkeypatch.setattr(source_folder, "MAX_RATIO", (multiple - less) / file.stat().st_size)
        return SourceFolder(file.parent).files

    assert members(0) == ["a.zip", "a.txt", "folder/b.txt"]
    with pytest.raises(FdrdError, match=r"a\.zip expands to over .* times its size; unpack it"):
        members(1)


def test_every_caption_of_a_row_has_its_negatives_and_its_own_attributes(write, draw):
    first, second = read(
        write, draw, caption=["red wren", "red  robin"], negatives=["x"], attributes=[RED]
    )
    assert [len(each.negatives) for each in (first, second)] == [1, 1]
    assert second.caption == "red robin"
    (third, fourth) = read(write, draw, caption=["red wren", "blue wren"], attributes=[RED])
    assert isinstance(third, Record)
    assert isinstance(fourth, Rejection)  # of this caption only


def test_one_of_very_many_images_of_a_name_is_ambiguous(write):
    for number in range(3):
        write(f"f{number}/x/a.png", b"")
    root = write("g/b.png", b"").parents[1]
    index = ImageIndex(SourceFolder(root))
    assert index.find("b") == "g/b.png"  # without its extension
    with pytest.raises(RejectedError) as raised:
        index.find("x/a.png")
    detail = "'x/a.png' could be f0/x/a.png, f1/x/a.png, f2/x/a.png"
    assert raised.value.args == ("image_ambiguous", detail)
    for name in ("elsewhere/g/b.png", ".png"):
        with pytest.raises(RejectedError, match="image_missing"):
            index.find(name)


@pytest.mark.parametrize("reader", [lines.read_lines, lines.read_jsonl])
def test_a_line_over_the_limit_is_one_rejection(write, monkeypatch, reader):
    monkeypatch.setattr(lines, "MAX_LINE", 16)
    root = write("list.txt", '{"a": 1}\n' + "x" * 40 + '\n\n{"b": 2}\n').parent
    found = list(reader(SourceFolder(root), "list.txt"))
    assert [each.key for each in found] == ["line 1", "line 2", "line 4"]
    assert "over 16 bytes in a line" in found[1].detail


def test_a_row_with_too_many_keys_is_rejected_before_it_is_decoded(write, monkeypatch):
    monkeypatch.setattr(lines, "MAX_KEYS", 3)
    rows = '{"a": 1, "b": 2, "c": 3}\n{"a": 1, "b": 2, "c": 3, "d" :4}\n{"a:b": 1}\n'
    root = write("list.jsonl", rows).parent
    found = list(lines.read_jsonl(SourceFolder(root), "list.jsonl"))
    assert [isinstance(each, Rejection) for each in found] == [False, True, False]
    assert found[1].detail == "not JSON: it has over 3 keys"

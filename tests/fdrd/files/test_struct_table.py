"""Structs in an Arrow file read back as they were written, in this and in another process, in any order."""

import pickle

import numpy as np
import pytest
from msgspec import Struct

from fdrd.errors import FdrdError
from fdrd.files.struct_table import BATCH, StructWriter, read_table


class Span(Struct, frozen=True):
    word: str
    start: int


class Pair(Struct, frozen=True):
    name: str
    spans: tuple[Span, ...] = ()
    note: str | None = None


class Name(Struct, frozen=True):
    name: str


SPANS = (Span("a", 2**40), Span("", 0))
PAIRS = [
    Pair(f"{number} é\x00\n\U0001f426", SPANS[: number % 3], "x" if number % 2 else None)
    for number in range(2 * BATCH + 7)
]


@pytest.fixture
def table(tmp_path):
    with StructWriter(tmp_path / "pairs", Pair) as writer:
        for pair in PAIRS:
            writer.append(pair)
        assert len(writer) == len(PAIRS)
        yield writer.finish()


def test_structs_are_read_in_order_by_index_and_in_part(table):
    assert list(table) == PAIRS
    assert (len(table), table[BATCH]) == (len(PAIRS), PAIRS[BATCH])
    for part in (
        slice(BATCH - 1, BATCH + 2),
        slice(BATCH, BATCH),
        slice(5, 2 * BATCH + 3),
        slice(0, 9, 4),
    ):
        assert list(table[part]) == PAIRS[part], part
    with pytest.raises(IndexError):
        table[len(PAIRS)]


def test_rows_are_taken_in_any_order_and_copied(table, tmp_path):
    rows = np.array([2 * BATCH, 3, 3, BATCH - 1, 0])
    assert list(table.take(rows)) == [PAIRS[row] for row in rows]
    assert list(table.take(rows[:0])) == []
    names = table.copy(tmp_path / "names", rows, Name)
    assert list(names) == [Name(PAIRS[row].name) for row in rows]


def test_a_part_can_be_read_in_another_process(table):
    part = pickle.loads(pickle.dumps(table.part(BATCH - 2, BATCH + 2)))
    assert list(part) == PAIRS[BATCH - 2 : BATCH + 2]
    assert part[2] == PAIRS[BATCH]
    with pytest.raises(IndexError):
        part[4]


def test_the_file_is_removed_at_the_end(tmp_path):
    with StructWriter(tmp_path / "made" / "pairs", Pair) as writer:
        writer.append(PAIRS[0])
        table = writer.finish()
        assert read_table(table.path).num_rows == 1
    with pytest.raises(FdrdError, match=r"does not see .*pairs"):
        list(table)

"""A list of structs in a file reads back what was appended, in this and in another process."""

import os
import pickle

import numpy as np
import pytest
from msgspec import Struct
from msgspec.msgpack import Decoder

from fdrd.files.struct_file import Selection, StructFile


class Pair(Struct, frozen=True):
    name: str
    size: int = 0


class Name(Struct):
    name: str


PAIRS = [Pair("x" * size, size) for size in range(300)]


@pytest.fixture
def file(tmp_path):
    with StructFile(tmp_path / "pairs", Pair) as made:
        for pair in PAIRS:
            made.append(pair)
        yield made


def test_a_struct_is_read_whole_where_the_system_returns_less(file, monkeypatch):
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, at: pread(file, min(size, 7), at))
    assert file[250] == PAIRS[250]


def test_structs_are_read_in_order_by_index_and_in_part(file):
    assert list(file) == PAIRS
    assert (len(file), file[7], file[2:5]) == (300, PAIRS[7], PAIRS[2:5])
    assert file.read_as(7, Decoder(Name)) == Name("x" * 7)
    with pytest.raises(IndexError):
        file[300]


def test_what_is_appended_after_reading_can_be_read(file):
    assert file[299] == PAIRS[299]
    file.append(Pair("last"))
    assert file[300] == Pair("last")


def test_a_range_can_be_read_in_another_process(file):
    part = pickle.loads(pickle.dumps(file.range(40, 44)))
    assert (list(part), len(part)) == (PAIRS[40:44], 4)
    assert [part[2], *part[1:3]] == [PAIRS[42], *PAIRS[41:43]]
    with pytest.raises(IndexError):
        part[4]
    assert list(file.range(0, 0)) == []


def test_a_selection_of_structs_can_be_sliced(file):
    chosen = Selection(file, np.array([9, 2, 2, 250]))
    assert list(chosen) == [PAIRS[9], PAIRS[2], PAIRS[2], PAIRS[250]]
    assert list(chosen[::2]) == [PAIRS[9], PAIRS[2]]
    assert chosen[3] == PAIRS[250]


def test_the_file_is_removed_at_the_end(tmp_path):
    with StructFile(tmp_path / "made" / "pairs", Pair) as file:
        file.append(PAIRS[0])
        file.flush()
        assert file.path.stat().st_size > 0
    assert not file.path.exists()

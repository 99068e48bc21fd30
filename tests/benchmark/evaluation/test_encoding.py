"""Encoding a split halves batches that do not fit in memory."""

import pytest
import torch

from benchmark.evaluation.encoding import encoded_in_batches
from benchmark.models.backbone import Features
from fdrd.errors import FdrdError

ITEMS = torch.eye(40)


def encoder(room, seen):
    """Encode up to `room` items at a time."""

    def encode(rows):
        some = ITEMS[rows]
        seen.append(len(some))
        if len(some) > room:
            raise torch.OutOfMemoryError("out of memory")
        return Features(some)

    return encode


def test_a_batch_that_does_not_fit_is_halved_and_no_item_is_lost():
    seen, told = [], []
    found = encoded_in_batches("encode", 40, 32, encoder(10, seen), lambda *each: told.append(each))
    assert torch.equal(found.pooled, ITEMS)
    assert seen == [32, 16, 8, 8, 8, 8, 8]
    assert [done for _, done, _ in told] == [8, 16, 24, 32, 40]
    assert all(stage.startswith("encode | ") for stage, _, _ in told)


def test_no_room_for_a_single_item_is_an_error():
    seen = []
    with pytest.raises(FdrdError, match="encode: a single item does not fit in the memory"):
        encoded_in_batches("encode", 40, 3, encoder(0, seen), lambda *_each: None)
    assert seen == [3, 2, 1]

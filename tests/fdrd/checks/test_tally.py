"""Sets of keys are compact and complete, and counts of parts add up exactly."""

import pytest

from fdrd.checks.tally import KeySet, Tally, true_captions, true_key
from fdrd.record import ImageRef, Negative, Record, Source


def test_a_set_of_keys_has_what_was_put_in_and_nothing_else():
    keys = KeySet([7, 2**64 - 1, 7, 0])
    assert [key in keys for key in (0, 7, 2**64 - 1, 1, 8, 2**63)] == [True] * 3 + [False] * 3
    assert 0 not in KeySet([])


def test_captions_are_found_by_the_key_of_their_normalized_text():
    true = true_captions(["A  Pug.", "A cat."])
    assert true_key("a pug.") in true
    assert true_key("A dog.") not in true


def counted(records):
    tally = Tally("birds")
    for record in records:
        tally.count(record, KeySet([]))
    return tally


def with_negatives(number, *captions):
    negatives = tuple(Negative(text, "cat", "category") for text in captions)
    return Record(str(number), ImageRef(""), "A pug.", "pug", Source(""), negatives=negatives)


def test_counts_of_parts_add_up_to_the_counts_of_the_whole():
    """Sums of thirds would differ in the last digit; a card must not depend on how rows were divided."""
    texts = ["A cat.", "A dog.", "An ant.", "A fat cat.", "A cow."]
    records = [with_negatives(number, *texts[: number % 6]) for number in range(60)]
    whole = counted(records)
    assert whole.rows_with_negatives == 50
    assert whole.longest_is_true == 10 / 2 + 10 / 3
    assert whole.negative_words == pytest.approx(10 * (2 + 2 + 2 + 9 / 4 + 11 / 5))
    for size in (1, 7, 23):
        sum_ = Tally("birds")
        for first in range(0, len(records), size):
            sum_.add(counted(records[first : first + size]))
        assert sum_ == whole

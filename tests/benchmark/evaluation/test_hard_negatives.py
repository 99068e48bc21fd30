"""The true caption must be above all its negatives; a tie is a loss."""

import numpy as np
import pytest
import torch

from benchmark.evaluation.hard_negatives import hard_negative_shares, hard_negative_wins
from benchmark.models.backbone import Features


@pytest.fixture
def two_rows(make_row, make_dataset):
    rows = [
        make_row(
            0,
            b"one",
            "true 0.5",
            "circle",
            negatives=[
                ("a 0.4", "circle", "category", None),
                ("b 0.9", "circle", "attribute", "color"),
            ],
        ),
        make_row(
            1, b"two", "true 0.5", "circle", negatives=[("c 0.5", "circle", "category", None)]
        ),
        make_row(2, b"three", "true 0.1", "circle"),
    ]
    return make_dataset(rows, "test")


def wins(dataset, **options):
    """Every caption scores what its last word says, with every image."""

    def encode(captions):
        return Features(torch.tensor([[float(caption.split()[-1])] for caption in captions]))

    images = Features(torch.ones(len(dataset.image_digests), 1))
    return hard_negative_wins(
        encode, lambda i, t: i.pooled @ t.pooled.T, images, dataset, **options
    )


def shares(dataset, text_only=None, **options):
    return hard_negative_shares(wins(dataset, **options), dataset.negatives, text_only)


def test_each_negative_is_won_or_lost_by_position(two_rows):
    assert [each.tolist() for each in wins(two_rows)] == [[True, False], [False], []]


def test_shares_by_kind(two_rows):
    """Row 0: .5 > .4 wins category, .5 < .9 loses attribute. Row 1: .5 = .5 is lost.

    So category 1 of 2, attribute 0 of 1, all 0 of 2; row 2 has no negatives and does not count.
    Guessing: category 1/2, attribute 1/2, all (1/3 + 1/2) / 2.
    """
    found = shares(two_rows)
    assert {name: (s.accuracy, s.rows) for name, s in found.items()} == {
        "all": (0, 2),
        "category": (0.5, 2),
        "attribute": (0, 1),
        "attribute: color": (0, 1),
    }
    assert found["all"].chance == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_the_batch_size_changes_nothing(two_rows):
    assert shares(two_rows, batch=1) == shares(two_rows)


def test_a_constant_scorer_gets_nothing(tiny_dataset):
    dataset = tiny_dataset["test"]
    vector = torch.randn(1, 511, generator=torch.Generator().manual_seed(0))
    won = hard_negative_wins(
        lambda captions: Features(vector.repeat(len(captions), 1)),
        lambda i, t: i.pooled @ t.pooled.T,
        Features(vector.repeat(len(dataset.image_digests), 1)),
        dataset,
        batch=7,
    )
    assert sum(map(len, won)) > 0
    assert not np.concatenate(won).any()


def test_a_dataset_without_negatives_has_no_shares(two_rows):
    assert shares(two_rows.select([2])) == {}


def test_text_hard_rows_are_those_that_the_baseline_does_not_win(two_rows):
    """The method wins the category of row 0 only; the baseline wins row 0, then row 1."""
    for won, accuracy in (([True, False], 0), ([False, True], 1)):
        (category,) = [
            share
            for name, share in shares(two_rows, text_only={"category": np.array(won)}).items()
            if name == "category"
        ]
        assert (category.text_only, category.text_hard_rows) == (0.5, 1)
        assert category.text_hard == accuracy
    none = shares(two_rows, text_only={"category": np.array([True, True])})["category"]
    assert (none.text_only, none.text_hard, none.text_hard_rows) == (1, None, 0)

"""The true caption must be above all its negatives; a tie is a loss."""

import numpy as np
import pytest
import torch

from benchmark.evaluation.hard_negatives import hard_negative_shares, hard_negative_wins
from benchmark.models.backbone import Features


@pytest.fixture
def two_rows(make_row, make_dataset):
    category, color = ("circle", "category", None), ("circle", "attribute", "color")
    negatives = [[("a 0.4", *category), ("b 0.9", *color)], [("c 0.5", *category)], []]
    captions = ["true 0.5", "true 0.5", "true 0.1"]
    rows = [
        make_row(number, b"%d" % number, caption, "circle", negatives=wrong)
        for number, (caption, wrong) in enumerate(zip(captions, negatives, strict=True))
    ]
    return make_dataset(rows, "test")


def dot(images, texts):
    return images.pooled @ texts.pooled.T


def wins(dataset, **options):
    """Every caption scores what its last word says, with every image."""

    def encode(captions):
        return Features(torch.tensor([[float(caption.split()[-1])] for caption in captions]))

    images = Features(torch.ones(len(dataset.image_digests), 1))
    return hard_negative_wins(encode, dot, images, dataset, **options)


def shares(dataset, text_only=None, **options):
    return hard_negative_shares(wins(dataset, **options), dataset.negatives, text_only)


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

    def same(items):
        return Features(vector.repeat(len(items), 1))

    won = np.concatenate(
        hard_negative_wins(same, dot, same(dataset.image_digests), dataset, batch=7)
    )
    assert len(won) > 0
    assert not won.any()


def test_a_dataset_without_negatives_has_no_shares(two_rows):
    assert shares(two_rows.select([2])) == {}


@pytest.mark.parametrize(
    ("won", "found"),
    [([True, False], (0.5, 0, 1)), ([False, True], (0.5, 1, 1)), ([True, True], (1, None, 0))],
)
def test_text_hard_rows_are_those_that_the_baseline_does_not_win(two_rows, won, found):
    """The method wins the category of row 0 only."""
    share = shares(two_rows, text_only={"category": np.array(won)})["category"]
    assert (share.text_only, share.text_hard, share.text_hard_rows) == found

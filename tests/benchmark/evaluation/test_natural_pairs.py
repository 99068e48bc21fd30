"""Natural pairs: wins, metrics, and what scorers that ignore the image or the caption reach."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark.evaluation.hard_negatives import natural_pair_wins, pair_wins
from benchmark.models.backbone import Features
from benchmark.rank_metrics import PAIR_METRICS

SCORES = st.integers(-3, 3)


def metrics(scores):
    """Return the metrics of pairs with these (P, 2, 2) scores."""
    pairs = np.arange(2 * len(scores)).reshape(-1, 2)
    return pair_wins(pairs, np.array(scores)).metrics().values


@given(st.lists(st.tuples(SCORES, SCORES), min_size=1))
def test_a_scorer_that_ignores_the_image_wins_nothing(of_captions):
    found = metrics([[captions, captions] for captions in of_captions])
    assert found == {"text": 0, "image": 0, "group": 0}


@given(st.lists(st.tuples(SCORES, SCORES), min_size=1))
def test_a_scorer_that_ignores_the_caption_wins_nothing(of_images):
    found = metrics([[[one, one], [other, other]] for one, other in of_images])
    assert found == {"text": 0, "image": 0, "group": 0}


def test_all_orders_of_four_scores_give_the_stated_chances():
    found = metrics([np.reshape(order, (2, 2)) for order in permutations(range(4))])
    assert found == pytest.approx({name: each.chance for name, each in PAIR_METRICS.items()})
    assert found == pytest.approx({"text": 0.25, "image": 0.25, "group": 1 / 6})


@pytest.mark.parametrize(
    ("scores", "expected", "by_row"),
    [
        ([[2, 1], [1, 2]], (1, 1, 1), "11"),
        ([[2, 1], [2, 3]], (1, 0, 0), "11"),  # the first caption has equal scores: a tie is a loss
        ([[2, 2], [1, 3]], (0, 1, 0), "01"),
        ([[3, 2], [0, 1]], (1, 0, 0), "11"),
        ([[3, 0], [2, 1]], (0, 1, 0), "10"),
        ([[1, 2], [2, 1]], (0, 0, 0), "00"),
    ],
)
def test_a_pair(scores, expected, by_row):
    assert tuple(metrics([scores]).values()) == expected
    assert pair_wins(np.array([[0, 1]]), np.array([scores])).caption_of_row == by_row


def one_hot(dataset):
    """Return features with which each image scores 1 with its own captions, else 0."""
    images = Features(torch.eye(len(dataset.image_digests)))
    texts = torch.zeros(len(dataset.captions), len(images))
    texts[dataset.pairs[:, 1], dataset.pairs[:, 0]] = 1
    return images, Features(texts)


def dot(images, texts):
    return images.pooled @ texts.pooled.T


def test_wins_are_those_of_the_features(tiny_dataset):
    dataset = tiny_dataset["test"]
    assert {kind: len(pairs) for kind, pairs in dataset.natural_pairs.items()} == {
        "category": 8,
        "attribute": 12,
    }
    images, texts = one_hot(dataset)
    perfect = natural_pair_wins(dot, images, texts, dataset)
    assert {kind: (wins.text, wins.image) for kind, wins in perfect.items()} == {
        "category": ("1" * 8, "1" * 8),
        "attribute": ("1" * 12, "1" * 12),
    }
    assert perfect["attribute"].rows.startswith("0 6 1 7 ")
    equal = Features(torch.ones(len(dataset.captions), len(images)))
    assert "1" not in natural_pair_wins(dot, images, equal, dataset)["category"].image


def test_equal_vectors_tie_however_a_product_rounds(tiny_dataset):
    dataset = tiny_dataset["test"]
    images, texts = one_hot(dataset)
    same = Features(texts.pooled.sum(0).repeat(len(texts), 1))

    def rounding(images, texts):
        return dot(images, texts) + torch.arange(
            len(texts)
        )  # as if columns were rounded differently

    found = natural_pair_wins(rounding, images, same, dataset)
    assert "1" not in found["category"].text + found["attribute"].text


def test_pairs_need_both_records(tiny_dataset):
    part = tiny_dataset["test"].select(range(8))
    assert part.natural_pairs["attribute"].tolist() == [[0, 6], [1, 7]]
    assert part.fingerprint != tiny_dataset["test"].fingerprint
    none = tiny_dataset["test"].select([0])
    assert natural_pair_wins(dot, *one_hot(none), none) == {}

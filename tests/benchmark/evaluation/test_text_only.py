"""The text-only baseline is judged like a method, by kind, on captions that it was not trained on."""

import random

import pytest

from benchmark.evaluation.hard_negatives import text_only_baseline


def baseline(*splits):
    """Return the accuracy of the baseline."""
    return {name: won.mean() for name, won in text_only_baseline(*splits).items()}


@pytest.fixture
def make(make_row, make_dataset):
    """Return a split of captions with their (caption, kind, attribute type) negatives."""

    def make(split, pairs):
        rows = []
        for number, (caption, negatives) in enumerate(pairs):
            wrong = [(text, "circle", kind, type_) for text, kind, type_ in negatives]
            image = f"{split} {number}".encode()
            rows.append(make_row(number, image, caption, "circle", negatives=wrong))
        return make_dataset(rows, split)

    return make


def balanced_colors(split, size=80):
    """Return pairs in which "cat" is never true, and red and blue are equally frequent."""
    generator = random.Random(split)
    pairs = []
    for number in range(size):
        color, other = generator.sample(("red", "blue"), 2)
        caption = f"{split} {number} a {color} dog"
        category = (caption.replace("dog", "cat"), "category", None)
        pairs.append((caption, [category, (caption.replace(color, other), "attribute", "color")]))
    return pairs


def test_the_baseline_finds_what_is_never_true_and_nothing_else(make):
    found = baseline(make("test", balanced_colors("test")), make("train", balanced_colors("train")))
    assert set(found) == {"all", "category", "attribute", "attribute: color"}
    assert found["category"] == 1
    assert found["attribute"] == found["attribute: color"] == found["all"]
    assert abs(found["attribute"] - 0.5) < 0.2


def test_a_tie_is_a_loss(make):
    """The training split has none of these words, so all candidates score 0."""
    unknown = [("x y", [("x z", "category", None)])] * 3
    assert baseline(make("test", unknown), make("train", balanced_colors("train"))) == {
        "all": 0,
        "category": 0,
    }


def test_captions_of_the_measured_split_are_not_trained_on(make):
    """Only one training caption is left, and it has none of the measured words."""
    measured = make("test", balanced_colors("same"))
    repeated = [(caption.upper(), wrong) for caption, wrong in balanced_colors("same")]
    other = ("x y", [("x z", "category", None)])
    assert baseline(measured, make("train", [*repeated, other]))["category"] == 0


@pytest.mark.parametrize("train", [None, [("a dog", [])]])
def test_without_training_negatives_each_fifth_is_scored_by_a_baseline_of_the_others(make, train):
    training = make("train", train) if train else None
    found = baseline(make("test", balanced_colors("test")), training)
    assert found["category"] == 1  # "cat" is never true
    assert abs(found["attribute"] - 0.5) < 0.2
    assert baseline(make("test", balanced_colors("test", size=3)), training) == {}


def test_a_split_without_negatives_has_no_baseline(make):
    assert baseline(make("test", [("a dog", [])]), make("train", balanced_colors("train"))) == {}

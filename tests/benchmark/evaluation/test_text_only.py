"""The reader of captions alone: as a method is judged, by kind, on captions that it has not read."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from benchmark.evaluation.text_only import text_only_baseline
from fdrd.dataset import RetrievalDataset

Pair = tuple[str, Sequence[tuple[str, str, str | None]]]


@pytest.fixture
def make(
    make_row: Callable[..., Any], make_dataset: Callable[..., RetrievalDataset]
) -> Callable[[str, Sequence[Pair]], RetrievalDataset]:
    """A split of captions, each with its (caption, kind, attribute type) negatives."""

    def make(split: str, pairs: Sequence[Pair]) -> RetrievalDataset:
        rows = []
        for number, (caption, negatives) in enumerate(pairs):
            fields = [
                {"caption": text, "category": "circle", "kind": kind, "attribute_type": type_}
                for text, kind, type_ in negatives
            ]
            image = f"{split} {number}".encode()
            rows.append(make_row(number, image, caption, "circle", negatives=fields))
        return make_dataset(rows, split)

    return make


def told_apart(split: str, size: int = 80) -> list[Pair]:
    """ "cat" is never right; red is as often as blue, whatever else the caption says."""
    generator = random.Random(split)
    pairs: list[Pair] = []
    for number in range(size):
        colour, other = generator.sample(("red", "blue"), 2)
        caption = f"{split} {number} a {colour} dog"
        pairs.append(
            (
                caption,
                [
                    (caption.replace("dog", "cat"), "category", None),
                    (caption.replace(colour, other), "attribute", "colour"),
                ],
            )
        )
    return pairs


def test_it_finds_what_is_never_right_and_nothing_else(make: Callable[..., Any]) -> None:
    found = text_only_baseline(make("test", told_apart("test")), make("train", told_apart("train")))
    assert set(found) == {"all", "category", "attribute", "attribute: colour"}
    assert found["category"] == 1
    assert found["attribute"] == found["attribute: colour"] == found["all"]
    assert abs(found["attribute"] - 0.5) < 0.2


def test_a_tie_is_a_loss(make: Callable[..., Any]) -> None:
    """Training says nothing of these words, so all candidates score 0."""
    unheard: list[Pair] = [("x y", [("x z", "category", None)])] * 3
    assert text_only_baseline(make("test", unheard), make("train", told_apart("train"))) == {
        "all": 0,
        "category": 0,
    }


def test_a_caption_that_is_measured_is_not_learned_from(make: Callable[..., Any]) -> None:
    """Of these, all but one are; and what is left never heard of the measured words."""
    measured = make("test", told_apart("same"))
    shouted: list[Pair] = [(caption.upper(), wrong) for caption, wrong in told_apart("same")]
    other: Pair = ("x y", [("x z", "category", None)])
    assert text_only_baseline(measured, make("train", shouted)) == {}
    assert text_only_baseline(measured, make("train", [*shouted, other]))["category"] == 0


@pytest.mark.parametrize("train", [None, [("a dog", [])]])
def test_without_training_negatives_there_is_no_reader(
    make: Callable[..., Any], train: list[Pair] | None
) -> None:
    measured = make("test", told_apart("test"))
    assert text_only_baseline(measured, make("train", train) if train else None) == {}


def test_a_split_without_negatives_has_no_reader(make: Callable[..., Any]) -> None:
    assert (
        text_only_baseline(make("test", [("a dog", [])]), make("train", told_apart("train"))) == {}
    )


def test_many_training_rows_are_thinned(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every third of seven."""
    seen: list[int] = []

    def scores(learned: Sequence[Any], rows: Sequence[Any]) -> list[Any]:
        seen.append(len(learned))
        return [np.array([1.0, 0.0, 2.0])] * len(rows)

    monkeypatch.setattr("benchmark.evaluation.text_only._MOST_ROWS", 3)
    monkeypatch.setattr("benchmark.evaluation.text_only._scores", scores)
    found = text_only_baseline(
        make("test", told_apart("test", 2)), make("train", told_apart("train", 7))
    )
    assert seen == [3]
    assert found == {"all": 0, "category": 1, "attribute": 0, "attribute: colour": 0}

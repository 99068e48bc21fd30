"""NegCLIP: an image must not choose a hard negative, and a hard negative chooses nothing."""

from collections import Counter

import numpy as np
import pytest
import torch

from baselines.negclip import one_each
from benchmark import TrainConfig, TrainingNegatives, get_method
from benchmark.training.loop import Batch, batches

COLORS = {"red": "red", "green": "green", "blue": "blue", "white": "black"}


def first(dataset, epoch=0):
    return next(batches(dataset, len(dataset), 0, epoch))


def test_training_draws_the_negatives_of_its_seed_and_epochs(tiny_clip, described, monkeypatch):
    method = get_method("negclip")(tiny_clip, train=TrainConfig(epochs=2), seed=3)
    plain, asked = method.loss, []

    def loss(batch, negatives):
        asked.append((batch.epoch, list(negatives)))
        value = plain(batch, negatives)
        return value

    monkeypatch.setattr(method, "loss", loss)
    method.fit(described, described)
    expected = [
        (epoch, one_each(described, 3)(next(batches(described, 12, 3, epoch)))) for epoch in (0, 1)
    ]
    assert asked == expected
    assert Counter(asked[0][1]) != Counter(asked[1][1])


def kinds(dataset, swapped, epoch):
    """`category` or `attribute` of the negative of each row, in order of the rows."""
    draw = one_each(dataset, 0, swapped)
    known = TrainingNegatives(dataset, 0)
    found = []
    for row in range(len(dataset)):
        (caption,) = draw(Batch(epoch, np.asarray([row]), None, []))
        offered = known.draw(row, epoch, 16, 8)
        found.append({negative.caption: str(negative.kind) for negative in offered}[caption])
    return found


@pytest.mark.parametrize(
    ("swapped", "epoch", "expected"),
    [
        ("both", 0, ["category", "attribute"] * 6),  # in turns by row and epoch
        ("both", 1, ["attribute", "category"] * 6),
        ("category", 0, ["category"] * 12),
        ("attribute", 0, ["attribute"] * 12),
    ],
)
def test_a_negative_is_of_the_wanted_kind(described, swapped, epoch, expected):
    assert kinds(described, swapped, epoch) == expected


def test_a_caption_without_swaps_gets_no_negative(make_row, make_drawing, make_dataset, tiny_clip):
    """The second of two captions names neither a category nor an attribute."""
    captions = ["a photo of a circle", "a photo of a thing", "a photo of a square"]
    rows = [
        make_row(number, make_drawing(color, "circle", "left"), caption, shape)
        for number, (caption, color, shape) in enumerate(
            zip(captions, COLORS, ("circle", "circle", "square"), strict=False)
        )
    ]
    dataset = make_dataset(rows, "train")
    negatives = one_each(dataset, 0)(first(dataset))
    assert len(negatives) == 2
    with torch.no_grad():
        assert get_method("negclip")(tiny_clip).loss(first(dataset), negatives).isfinite()

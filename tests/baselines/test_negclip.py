"""NegCLIP: an image must not choose a hard negative, and a hard negative chooses nothing."""

from collections import Counter

import numpy as np
import pytest
import torch
from msgspec.structs import asdict

from baselines.negclip import one_each
from benchmark import TrainConfig, TrainingNegatives, get_method, info_nce
from benchmark.training.loop import Batch, batches
from fdrd.text.attributes import find_attributes
from tests.baselines.plain_clip import (
    check_fine_tuning_equal,
    double_clip,
    fine_tuned_logits,
    symmetric,
    with_negatives,
)

SHAPES = ("circle", "square", "triangle")
COLORS = {"red": "red", "green": "green", "blue": "blue", "white": "black"}


@pytest.fixture
def described(make_row, make_drawing, make_dataset):
    """Twelve rows: each offers swaps of the category and of an attribute."""
    rows = []
    for shape in SHAPES:
        for color, drawn in COLORS.items():
            caption = f"a {color} {shape} on the left"
            row = make_row(len(rows), make_drawing(drawn, shape, "left"), caption, shape)
            row["attributes"] = [asdict(each) for each in find_attributes(caption, shape)]
            rows.append(row)
    return make_dataset(rows, "train")


def first(dataset, epoch=0):
    return next(batches(dataset, len(dataset), 0, epoch))


def test_the_loss_by_hand():
    """Two pairs and one hard negative, logits [[2, 0, 1], [0, 1, 1]].

    Images choose among three: -log softmax is log(1 + e^-2 + e^-1) and log(2 + e^-1).
    Captions choose among two images: columns (2, 0) and (0, 1): log(1 + e^-2) and log(1 + e^-1).
    """
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    to_text = (np.log(1 + np.exp(-2) + np.exp(-1)) + np.log(2 + np.exp(-1))) / 2
    to_image = (np.log(1 + np.exp(-2)) + np.log(1 + np.exp(-1))) / 2
    assert float(info_nce(logits)) == pytest.approx((to_text + to_image) / 2)
    assert float(info_nce(logits, "image_to_text")) == pytest.approx(to_text)
    assert float(info_nce(logits, "text_to_image")) == pytest.approx(to_image)


def test_its_loss_is_over_the_captions_and_a_negative_for_each(tiny_clip, described):
    batch = first(described)
    negatives = one_each(described, seed=0)(batch)
    with torch.no_grad():
        loss = get_method("negclip")(tiny_clip).loss(batch, negatives)
        images = tiny_clip.encode_image(batch.images).pooled
        texts = tiny_clip.encode_text([*batch.captions, *negatives]).pooled
    logits = tiny_clip.logit_scale * images @ texts.T
    assert logits.shape == (12, 24)
    assert loss == pytest.approx(info_nce(logits))
    assert loss > info_nce(logits[:, :12])
    with torch.no_grad():
        assert get_method("full")(tiny_clip).loss(batch) == pytest.approx(info_nce(logits[:, :12]))


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


def test_category_and_attribute_take_turns_by_row_and_epoch(described):
    assert kinds(described, "both", 0) == ["category", "attribute"] * 6
    assert kinds(described, "both", 1) == ["attribute", "category"] * 6


@pytest.mark.parametrize("swapped", ["category", "attribute"])
def test_negatives_can_be_of_one_kind(described, swapped):
    assert kinds(described, swapped, 0) == [swapped] * 12


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


def reference(clip, _learner, batch, negatives):
    logits, _, (images, _, others) = fine_tuned_logits(clip, batch, negatives)
    return logits, symmetric(with_negatives(clip, logits, images, others))


@pytest.mark.slow
def test_it_equals_the_reference(make_clip, tiny_dataset):
    method = get_method("negclip")(double_clip(make_clip))
    check_fine_tuning_equal(method, reference, tiny_dataset)

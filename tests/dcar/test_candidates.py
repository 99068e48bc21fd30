"""Which captions of the training split stand beside those of a batch."""

import numpy as np
import pytest
import torch

from benchmark import TrainConfig, get_method
from benchmark.training.loop import batches
from dcar.candidates import CandidateCaptions


@pytest.fixture
def train(make_row, make_dataset, make_drawing):
    """Nine pairs; 0 and 1 show one image, 2 and 3 have one caption."""
    colors = ["red", "red", "green", "blue", "black", "red", "green", "blue", "black"]
    shapes = ["circle"] * 5 + ["square"] * 4
    captions = ["one", "two", "three", "three", "five", "six", "seven", "eight", "nine"]
    rows = [
        make_row(number, make_drawing(color, shape, "left"), caption, shape)
        for number, (color, shape, caption) in enumerate(zip(colors, shapes, captions, strict=True))
    ]
    return make_dataset(rows, "train")


def batch_of(train, rows, epoch=0):
    return next(
        each
        for epoch_seed in range(10_000)
        for each in batches(train, len(rows), epoch_seed, epoch)
        if each.rows.tolist() == rows
    )


def drawn(train, rows, seed=0, epoch=0, **options):
    return CandidateCaptions(train, seed, **options).draw(batch_of(train, rows, epoch))


def test_candidates_from_outside_the_batch(train):
    found = drawn(train, [0, 2], n_further=100)
    own, outside = found.captions[:2], found.captions[2:]
    assert own == ["one", "three"]
    assert outside == ["two", "three", "five", "six", "seven", "eight", "nine"]
    assert found.category.tolist() == [0] * 5 + [1] * 4  # circles, squares


def test_a_correct_caption_is_no_candidate(train):
    """Row 1 shows the image of row 0; row 3 has the caption of row 2."""
    of_image_0, of_image_2 = drawn(train, [0, 2], n_further=100).allowed.tolist()
    assert of_image_0 == [True, True, False, True, True, True, True, True, True]
    assert of_image_2 == [True, True, True, False, True, True, True, True, True]
    within = drawn(train, [2, 1, 3, 0]).allowed.tolist()
    assert within == [
        [True, True, False, True],
        [True, True, True, False],
        [False, True, True, True],
        [True, False, True, True],
    ]


def test_own_candidates_are_those_of_one_image(make_row, make_dataset, make_drawing):
    shapes = ["circle", "square", "triangle"]
    rows = [
        make_row(number, make_drawing("red", shape, "left"), f"a {shape}", shape)
        for number, shape in enumerate(shapes)
    ]
    found = drawn(make_dataset(rows, "train"), [0, 2], kind="own", n_negatives=2, n_further=100)
    assert [sorted(found.captions[place : place + 2]) for place in (0, 2, 4)] == [
        ["a circle", "a triangle"],
        ["a square", "a triangle"],
        ["a circle", "a square"],
    ]
    assert found.allowed.tolist() == [
        [True, False, True, True, False, False],
        [False, True, False, False, True, True],
    ]


def test_candidates_depend_only_on_seed_and_batch(train):
    first = drawn(train, [0, 2], n_further=3).captions
    assert len(first) == 5
    assert drawn(train, [0, 2], n_further=3).captions == first
    others = [
        drawn(train, [0, 2], seed, epoch, n_further=3).captions
        for seed, epoch in ((0, 1), (1, 0), (2, 0))
    ]
    assert any(other != first for other in others)


def test_the_category_loss_compares_an_image_with_all_training_captions(tiny_clip, train):
    """Without negatives, in one direction: a softmax over the captions that are wrong for the image."""
    config = TrainConfig(epochs=1, batch_size=4, optimiser="adamw", learning_rate=0.01)
    method = get_method("dcar")(
        tiny_clip,
        n_ctx=2,
        depth=1,
        n_negatives=0,
        category_mode="log_add",
        category_symmetric=False,
        alpha=3.0,
        train=config,
    )
    method.fit(train, train)
    batch = next(batches(train, 4, seed=1, epoch=0))
    losses = []
    with torch.no_grad():
        images = method.encode_image(batch.images).pooled
        for image, row in zip(images, batch.rows.tolist(), strict=True):
            own_image, own_caption = train.pairs[row]
            logits, target = [], None
            for other, (shown, said) in enumerate(train.pairs.tolist()):
                right = shown == own_image or said == own_caption
                if right and other != row:
                    continue
                text = tiny_clip.encode_text([train.captions[said]], reserve=2).pooled[0]
                same = train.row_category[other] == train.row_category[row]
                weight = torch.tensor(4.0 if same else 1.0).log()
                target = len(logits) if other == row else target
                logits.append(tiny_clip.logit_scale * image @ method.learner.adapter(text) + weight)
            losses.append(torch.logsumexp(torch.stack(logits), 0) - logits[target])
        found = method._category_loss(batch, images)
    assert np.isclose(found.item(), torch.stack(losses).mean().item(), rtol=1e-4)

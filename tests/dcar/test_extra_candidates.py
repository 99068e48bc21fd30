"""Which captions of the training split stand beside those of a batch."""

import numpy as np
import pytest
import torch

from benchmark import TrainConfig, get_method
from benchmark.training.loop import batches
from dcar.extra_candidates import ExtraCandidates


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


def test_extra_captions_come_from_outside_the_batch(train):
    found = ExtraCandidates(train, seed=0, number=100).draw(batch_of(train, [0, 2]))
    assert found.rows.tolist() == [1, 3, 4, 5, 6, 7, 8]
    assert found.captions == ["two", "three", "five", "six", "seven", "eight", "nine"]


def test_a_correct_caption_is_not_a_candidate(train):
    found = ExtraCandidates(train, seed=0, number=100).draw(batch_of(train, [0, 2]))
    of_image_0, of_image_2 = found.wrong.tolist()
    assert of_image_0 == [False, True, True, True, True, True, True]
    assert of_image_2 == [True, False, True, True, True, True, True]


def test_extra_captions_depend_only_on_seed_and_batch(train):
    first, later = batch_of(train, [0, 2]), batch_of(train, [0, 2], epoch=1)
    drawn = ExtraCandidates(train, seed=0, number=3)
    again = drawn.draw(first)
    assert len(again.captions) == 3
    assert drawn.draw(later) is not again
    assert drawn.draw(first).rows.tolist() == again.rows.tolist()
    others = [
        ExtraCandidates(train, seed, 3).draw(batch).rows.tolist()
        for seed, batch in ((0, later), (1, first), (2, first))
    ]
    assert any(other != again.rows.tolist() for other in others)


def test_zero_extra_captions(train):
    found = ExtraCandidates(train, seed=0, number=0).draw(batch_of(train, [0, 2]))
    assert (found.captions, found.wrong.shape) == ([], (2, 0))


def test_the_category_loss_compares_an_image_with_all_training_captions(tiny_clip, train):
    """Without negatives, in one direction: a softmax over the captions that are wrong for the image."""
    config = TrainConfig(epochs=1, batch_size=4, optimiser="adamw", learning_rate=0.01)
    method = get_method("dcar")(
        tiny_clip,
        n_ctx=2,
        depth=1,
        n_negatives=0,
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
                if right and other != row and other not in batch.rows:
                    continue
                text = tiny_clip.encode_text([train.captions[said]], reserve=2).pooled[0]
                same = train.row_category[other] == train.row_category[row]
                weight = torch.tensor(4.0 if same else 1.0).log()
                target = len(logits) if other == row else target
                logits.append(tiny_clip.logit_scale * image @ method.learner.adapter(text) + weight)
            losses.append(torch.logsumexp(torch.stack(logits), 0) - logits[target])
        found = method._category_loss(batch, images)
    assert np.isclose(found.item(), torch.stack(losses).mean().item(), rtol=1e-4)

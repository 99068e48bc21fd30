"""CE-CLIP and FSC-CLIP: what an image or a caption must prefer to hard negatives, and by how much."""

import math

import pytest
import torch

from baselines.ce_clip import next_margin, placed_negatives
from baselines.fsc_clip import focal_loss, local_score
from benchmark import get_method
from benchmark.training.loop import batches
from fdrd.errors import FdrdError


def test_the_margin_is_the_mean_difference_of_the_previous_batch():
    """Positives 4 and 6; the first place has negatives 1 and 3, the second 2 alone, the third none."""
    negative = torch.tensor([[1.0, 2.0, 9.0], [3.0, 9.0, 9.0]])
    real = torch.tensor([[True, True, False], [True, False, False]])
    found = next_margin(torch.tensor([4.0, 6.0]), negative, real, most=4.0)
    assert found.tolist() == [5 - 2, 5 - 2, 4]


def test_a_step_sets_the_margin_of_the_next(tiny_clip, tiny_dataset):
    """It starts at zero, and lies in the state, so that a resumed training has it. Untrained towers leave none."""
    method = get_method("ce_clip")(tiny_clip)
    batch = next(batches(tiny_dataset["train"], 6, 0, 0))
    negatives = method.negatives(tiny_dataset["train"])(batch)
    margin = method.learner.state_dict()["margin"]
    assert margin.tolist() == [0] * 4
    margin.fill_(8)
    with torch.no_grad():
        first, second = (method.loss(batch, negatives) for _ in range(2))
    assert margin.max() < 8
    assert second < first


def test_places_keep_their_kind_and_may_be_empty(tiny_dataset):
    """Captions without annotated attributes offer no attribute swap, and two other shapes to swap in."""
    draw = placed_negatives(tiny_dataset["train"], 0, n_negatives=4, n_attribute=1)
    batch = next(batches(tiny_dataset["train"], 3, 0, 0))
    for caption, row in zip(
        batch.captions, zip(*[iter(draw(batch))] * 4, strict=True), strict=True
    ):
        assert [bool(each) for each in row] == [True, True, False, False]
        assert caption not in row
    with pytest.raises(FdrdError, match="n_negatives=2, n_attribute=3"):
        placed_negatives(tiny_dataset["train"], 0, 2, 3)


def test_the_focal_loss_by_hand():
    """Of p = 3/4 against 1/4 with gamma 1 and smoothing 0.2: targets 0.9 and 0.1; the second row has no negative."""
    logits = torch.tensor([[math.log(3), 0.0, 50.0], [0.0, 1.0, 2.0]])
    real = torch.tensor([[True, False], [False, False]])
    expected = -(0.9 * 0.25 * math.log(0.75) + 0.1 * 0.75 * math.log(0.25))
    assert float(focal_loss(logits, real, 1.0, 0.2)) == pytest.approx(expected)
    assert float(focal_loss(logits, real[[1, 1]], 1.0, 0.2)) == 0


def test_a_token_is_compared_with_the_patches_that_resemble_it():
    """Patches e0 and e1; the token e0 attends to the first alone: 2 * 1. Between both at equal shares: 2 / sqrt 2.

    The third token is padding.
    """
    patches = torch.eye(3)[None, :2]
    middle = (torch.eye(3)[0] + torch.eye(3)[2]) / math.sqrt(2)
    tokens = torch.stack([torch.eye(3)[0], middle, torch.eye(3)[1]])[None]
    score = local_score(tokens, torch.tensor([[True, True, False]]), patches, scale=2.0)
    expected = math.log(math.exp(2) + math.exp(2 / math.sqrt(2)))
    assert score.tolist() == pytest.approx([expected])

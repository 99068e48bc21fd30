"""CE-CLIP and FSC-CLIP: what an image or a caption must prefer to hard negatives, and by how much."""

import pytest
import torch

from baselines.ce_clip import next_margin, placed_negatives
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

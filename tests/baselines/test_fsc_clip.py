"""FSC-CLIP: focal and local losses."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from baselines.fsc_clip import focal_loss
from tests.baselines.plain_clip import (
    check_fine_tuning_equal,
    fine_tuned_logits,
    symmetric,
)


def test_the_focal_loss_by_hand():
    """Of p = 3/4 against 1/4 with gamma 1 and smoothing 0.2: targets 0.9 and 0.1; the second row has no negative."""
    logits = torch.tensor([[math.log(3), 0.0, 50.0], [0.0, 1.0, 2.0]])
    real = torch.tensor([[True, False], [False, False]])
    expected = -(0.9 * 0.25 * math.log(0.75) + 0.1 * 0.75 * math.log(0.25))
    assert float(focal_loss(logits, real, 1.0, 0.2)) == pytest.approx(expected)
    assert float(focal_loss(logits, real[[1, 1]], 1.0, 0.2)) == 0


def reference(clip, _learner, batch, negatives):
    patches = [
        normalize(clip.image_states(p)[1:] @ clip.projection("image"), dim=-1)
        for p in clip.pixels.of(batch.images)
    ]

    def local(number, caption):
        total = 0
        for token in normalize(clip.text_states(caption)[1:-1], dim=-1):
            near = (patches[number] @ token).detach()
            weight = (near - near.min()) / (near.max() - near.min())
            seen = normalize(weight / weight.sum() @ patches[number], dim=-1)
            total = total + (clip.scale * seen @ token).exp()
        return total.log()

    def focal(scores):
        p = torch.stack(scores).softmax(0)
        target = torch.full_like(p, 0.02 / len(p))
        target[0] += 0.98
        return -(target * (1 - p) ** 2 * p.log()).sum()

    logits, own, _ = fine_tuned_logits(clip, batch, negatives)
    loss = symmetric(logits)
    for number, row in enumerate(negatives):
        whole = focal([logits[number, number], *own[number]])
        parts = focal([local(number, c) for c in (batch.captions[number], *filter(None, row))])
        loss = loss + (0.5 * whole + 0.2 * parts) / len(logits)
    return logits, loss


def test_it_equals_the_reference(make_clip, tiny_dataset):
    check_fine_tuning_equal("fsc_clip", reference, make_clip, tiny_dataset)

"""FSC-CLIP: focal and local losses."""

import math

import pytest
import torch

from baselines.fsc_clip import focal_loss


def test_the_focal_loss_by_hand():
    """Of p = 3/4 against 1/4 with gamma 1 and smoothing 0.2: targets 0.9 and 0.1; the second row has no negative."""
    logits = torch.tensor([[math.log(3), 0.0, 50.0], [0.0, 1.0, 2.0]])
    real = torch.tensor([[True, False], [False, False]])
    expected = -(0.9 * 0.25 * math.log(0.75) + 0.1 * 0.75 * math.log(0.25))
    assert float(focal_loss(logits, real, 1.0, 0.2)) == pytest.approx(expected)
    assert float(focal_loss(logits, real[[1, 1]], 1.0, 0.2)) == 0

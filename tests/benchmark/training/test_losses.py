"""Losses leave out pairs that repeat, and read the scale that the configuration asks for."""

import math

import numpy as np
import pytest
import torch

from benchmark import ContextVectors, PromptMethod, TrainConfig
from benchmark.training.loop import _groups, _optimizer, batches
from benchmark.training.losses import LogitScale, contrastive_loss, info_nce, sigmoid_loss
from fdrd.errors import FdrdError

LOGITS = torch.tensor([[2.0, 1.0, 0.0], [1.0, 3.0, 0.5], [0.0, 0.5, 1.0]])
REPEATS = torch.tensor([[False, True, False], [True, False, False], [False, False, False]])


def test_info_nce_leaves_out_repeats():
    """Rows and columns 0 and 1 choose between themselves and pair 2; pair 2 chooses among all."""
    first = math.log(1 + math.exp(0 - 2.0))
    second = math.log(1 + math.exp(0.5 - 3.0))
    third = math.log(1 + math.exp(0 - 1.0) + math.exp(0.5 - 1.0))
    for direction in ("symmetric", "image_to_text", "text_to_image"):
        loss = info_nce(LOGITS, direction, REPEATS)
        assert float(loss) == pytest.approx((first + second + third) / 3)
    assert torch.equal(info_nce(LOGITS), info_nce(LOGITS, repeats=torch.zeros(3, 3).bool()))


def test_sigmoid_loss_leaves_out_repeats_and_keeps_hard_negatives():
    logits = torch.cat([LOGITS, torch.ones(3, 1)], dim=1)
    signs = 2 * torch.eye(3, 4) - 1
    terms = torch.nn.functional.softplus(-signs * logits)
    wanted = (terms.sum() - terms[0, 1] - terms[1, 0]) / 3
    assert float(sigmoid_loss(logits, REPEATS)) == pytest.approx(float(wanted))
    assert torch.equal(contrastive_loss(logits, "sigmoid", None, -1.0), sigmoid_loss(logits - 1))


def test_a_batch_knows_its_repeats(tiny_dataset):
    """Of 24 rows the last repeats the image of the first."""
    rows = tiny_dataset["train"]
    assert all(batch.repeats is None for batch in batches(rows, 10, 0, 0))
    doubled = rows.select([*range(24), 0])
    (batch,) = batches(doubled, 25, 0, 0)
    twice = np.flatnonzero(doubled.pairs[batch.rows, 0] == doubled.pairs[0, 0])
    assert batch.repeats.nonzero().tolist() == [twice.tolist(), twice[::-1].tolist()]
    (batch,) = batches(doubled, 25, 0, 0, mask_equal=False)
    assert batch.repeats is None


def method(clip, loss="symmetric", **config):
    return PromptMethod(clip, ContextVectors(clip, 2, "", 1, 0), TrainConfig(**config), loss=loss)


@pytest.mark.parametrize(("mask", "choices"), [(False, 12), (True, 9)])
def test_masked_pairs_change_a_training(tiny_clip, quick_dataset, mask, choices):
    """A uniform choice among all pairs, or those of other rows."""
    fourfold = quick_dataset["train"].select([*range(3)] * 4)
    learning = method(tiny_clip, epochs=1, batch_size=12, mask_equal=mask, scale="0.001")
    log = learning.fit(fourfold, quick_dataset["validation"])
    assert log.epochs[0].loss == pytest.approx(math.log(choices), abs=0.01)


class Scaled:
    logit_scale, logit_bias, device = 20.0, -3.0, torch.device("cpu")


def test_a_number_replaces_the_scale_and_keeps_the_bias():
    assert LogitScale(Scaled(), "8").values() == (8.0, None)
    assert LogitScale(Scaled(), "backbone").values() == (None, None)


def test_weights_decay_and_a_learned_scale_does_not():
    groups = _groups(torch.nn.Linear(2, 2), LogitScale(Scaled(), "learned"), {})
    optimizer = _optimizer(groups, TrainConfig(optimizer="adamw"))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0]


def test_a_learned_scale_starts_at_the_backbones_gets_gradients_and_stays_below_100():
    backbone = Scaled()
    scale = LogitScale(backbone, "learned")
    factor, bias = scale.values()
    assert (factor.item(), bias.item()) == (pytest.approx(20), -3)
    (2 * factor + bias).backward()
    log_scale, bias = scale.learned["log_scale"], scale.learned["bias"]
    assert (float(log_scale.grad), float(bias.grad)) == (pytest.approx(40), 1)
    with torch.no_grad():
        log_scale.fill_(7)
    scale.clamp()
    assert log_scale.exp().item() == pytest.approx(100)


@pytest.mark.parametrize("given", ["0", "-1", "twelve", "inf", "nan"])
def test_a_wrong_scale_is_refused(given):
    with pytest.raises(FdrdError, match=f"scale={given}: give backbone, learned or a number"):
        TrainConfig().changed({"scale": given})


def test_bfloat16_towers_leave_similarities_in_float32(tiny_clip, quick_dataset):
    """Only the features differ from exact ones."""

    def trained(precision):
        seen = []

        def similarity(images, texts):
            seen.append((images.pooled, images.pooled @ texts.pooled.T))
            return seen[-1][1]

        options = {"epochs": 1, "batch_size": 24, "keep_untrained": False}
        learning = method(tiny_clip, precision=precision, **options)
        learning.similarity = similarity
        learning.fit(quick_dataset["train"], quick_dataset["validation"])
        return seen[0]

    features, scores = trained("bfloat16")
    assert features.dtype == scores.dtype == torch.float32
    assert scores.grad_fn is not None
    exact, precise = trained("float32")
    assert 1e-6 < (features - exact).abs().max() < 0.01
    assert (scores - precise).abs().max() < 0.05

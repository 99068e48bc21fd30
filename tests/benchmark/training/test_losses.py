"""Losses leave out pairs that repeat, and read the scale that the configuration asks for."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmark import Adapter, ContextVectors, PromptMethod, TrainConfig
from benchmark.registry import TrainContext
from benchmark.training.loop import _groups, _optimizer, batches
from benchmark.training.losses import LogitScale, contrastive_loss, info_nce, sigmoid_loss
from benchmark.training.resumable import resumable
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


def test_masked_pairs_change_a_training(tiny_clip, tiny_dataset):
    fourfold = tiny_dataset["train"].select([*range(3)] * 4)

    def first_loss(mask):
        config = TrainConfig(epochs=1, batch_size=12, mask_equal=mask, scale="0.001")
        method = PromptMethod(tiny_clip, ContextVectors(tiny_clip, 2, "", 1, 0), config)
        return method.fit(fourfold, tiny_dataset["validation"]).epochs[0].loss

    assert first_loss(False) == pytest.approx(math.log(12), abs=0.01)  # a uniform choice
    assert first_loss(True) == pytest.approx(math.log(9), abs=0.01)


class Scaled:
    logit_scale, logit_bias, device = 20.0, -3.0, torch.device("cpu")


@pytest.mark.parametrize(("scale", "expected"), [("8", 8.0), ("backbone", 20.0)])
def test_a_number_replaces_the_scale_in_the_loss(scale, expected, tiny_dataset):
    batch = next(batches(tiny_dataset["train"], 2, seed=0, epoch=0))
    factor, bias = LogitScale(Scaled(), scale).values()
    batch = replace(batch, scale=factor, bias=bias)
    assert (batch.scale_of(Scaled()), batch.bias_of(Scaled())) == (expected, -3.0)


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


@pytest.mark.parametrize("scale", ["backbone", "1", "learned"])
def test_the_scale_decides_the_loss_of_a_method(tiny_clip, tiny_dataset, scale):
    """At scale 1 cosines hardly differ, so a choice among 24 costs about log 24."""
    own = tiny_clip.logit_scale
    config = TrainConfig(epochs=2, batch_size=24, scale=scale, optimizer="adamw")
    method = PromptMethod(tiny_clip, ContextVectors(tiny_clip, 2, "", 1, 0), config)
    log = method.fit(tiny_dataset["train"], tiny_dataset["validation"])
    near = abs(log.epochs[0].loss - math.log(24)) < 0.05
    assert near == (scale == "1")
    assert tiny_clip.logit_scale == own
    assert not any("scale" in name for name in method.learner.state_dict())


@pytest.mark.parametrize("given", ["0", "-1", "twelve", "inf", "nan"])
def test_a_wrong_scale_is_refused(given):
    with pytest.raises(FdrdError, match=f"scale={given}: give backbone, learned or a number"):
        TrainConfig().changed({"scale": given})


def test_parts_of_a_learner_may_have_a_share_of_the_rate():
    learner = torch.nn.ModuleDict(
        {"prompts": torch.nn.Linear(2, 2), "adapter": Adapter(4, "residual", 1, 1.0, 0)}
    )
    groups = _groups(learner, LogitScale(Scaled(), "learned"), {"adapter": 0.1})
    sizes = [[each.numel() for each in group["params"]] for group in groups]
    assert sizes == [[4, 2], [16, 16], [1, 1]]
    assert [group["factor"] for group in groups] == [1, 0.1, 1]
    optimizer = _optimizer(groups, TrainConfig(optimizer="adamw"))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.01, 0]


def test_bfloat16_towers_leave_similarities_in_float32(tiny_clip, tiny_dataset):
    """Only the features differ from exact ones."""
    seen = []

    def similarity(images, texts):
        seen.append((images.pooled, images.pooled @ texts.pooled.T))
        return seen[-1][1]

    def trained(precision):
        config = TrainConfig(epochs=1, batch_size=24, precision=precision, keep_untrained=False)
        method = PromptMethod(tiny_clip, ContextVectors(tiny_clip, 2, "", 1, 0), config)
        method.similarity = similarity
        method.fit(tiny_dataset["train"], tiny_dataset["validation"])
        return seen[0], seen.clear()

    (features, scores), _ = trained("bfloat16")
    assert features.dtype == scores.dtype == torch.float32
    assert scores.grad_fn is not None
    (exact, precise), _ = trained("float32")
    assert 1e-6 < (features - exact).abs().max() < 0.01
    assert (scores - precise).abs().max() < 0.05


def test_a_killed_training_with_a_learned_scale_resumes_exactly(
    tiny_clip, tiny_dataset, tmp_path, monkeypatch
):
    monkeypatch.setattr("benchmark.training.loop.EVERY", 0)
    monkeypatch.setattr("benchmark.training.resumable.SHARE", float("inf"))
    config = TrainConfig(
        steps=6, batch_size=8, scale="learned", optimizer="adamw", learning_rate=0.05
    )

    def trained(place, dies_at=None):
        def tell(stage, done, _total):
            if stage.startswith("train") and done == dies_at:
                raise RuntimeError("killed")

        learner = ContextVectors(tiny_clip, 2, "", 1, 0)
        method = PromptMethod(tiny_clip, learner, config, loss="sigmoid")
        with resumable(tmp_path / place) as saved:
            context = TrainContext(tell, saved=saved)
            return method.fit(tiny_dataset["train"], tiny_dataset["validation"], context), learner

    log, learner = trained("whole")
    with pytest.raises(RuntimeError, match="killed"):
        trained("killed", dies_at=4)
    again, resumed = trained("killed")
    assert [each.loss for each in again.epochs] == [each.loss for each in log.epochs]
    assert torch.equal(resumed.text[0], learner.text[0])

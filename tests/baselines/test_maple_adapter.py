"""MaPLe with an adapter behind each tower."""

import torch
from torch.nn.functional import normalize

from tests.baselines.plain_clip import both_prompted, check_equal, coupled, symmetric


def reference(clip, learner, batch):
    images, texts = both_prompted(clip, batch, *coupled(learner.prompts))

    def adapted(x, adapter):
        inner, last = adapter.inner[0].weight, adapter.inner[2].weight
        return normalize(x + torch.relu(x @ inner.T) @ last.T, dim=-1)

    logits = clip.scale * adapted(images, learner.image) @ adapted(texts, learner.text).T
    return logits, symmetric(logits)


def test_it_equals_the_reference(make_clip, tiny_dataset):
    check_equal("maple_adapter", reference, make_clip, tiny_dataset)

"""Full fine-tuning learns all of a copy, and nothing of it is remembered from before a step."""

import pytest
import torch

from benchmark import FrozenFeatures, TrainConfig, get_method
from tests.encoding import features

TRAIN = TrainConfig(epochs=1, batch_size=8, learning_rate=0.02)


def test_everything_except_the_logit_scale_is_trained(tiny_clip):
    learner = get_method("full")(tiny_clip).learner
    learned = {name for name, each in learner.named_parameters() if each.requires_grad}
    assert learned == {name for name, _ in tiny_clip.model.named_parameters()} - {"logit_scale"}


def test_features_after_training_are_those_of_the_new_weights(make_clip, tiny_dataset, tmp_path):
    """Although all features of the old weights are cached, and are not overwritten."""
    cached, dataset = make_clip(FrozenFeatures(tmp_path)), tiny_dataset["validation"]
    zero_shot = get_method("zero_shot")(cached)
    before = features(zero_shot, dataset)
    method = get_method("full")(cached, train=TRAIN)
    method.fit(tiny_dataset["train"], dataset)
    after = features(method, dataset)
    own = make_clip()
    own.model.load_state_dict(method.learner.state_dict(), strict=False)
    for old, new, recomputed, kept in zip(
        before,
        after,
        features(get_method("zero_shot")(own), dataset),
        features(zero_shot, dataset),
        strict=True,
    ):
        assert torch.equal(new, recomputed)
        assert not torch.equal(new, old)
        assert torch.equal(kept, old)


@pytest.mark.parametrize(("rate", "scores"), [(0.02, 2), (1e-12, 1)])
def test_validation_uses_the_weights_of_each_epoch(rate, scores, make_clip, tiny_dataset):
    """Features that outlived a step would give every epoch the same score."""
    train = TrainConfig(epochs=2, batch_size=12, learning_rate=rate, schedule="constant")
    method = get_method("full")(make_clip(), train=train)
    log = method.fit(tiny_dataset["train"], tiny_dataset["validation"])
    assert len({epoch.validation_mrr for epoch in log.epochs}) == scores

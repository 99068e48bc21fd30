"""Figure 2 as drawn."""

import pytest
import torch

from benchmark import Prompts, TrainConfig, get_method, info_nce
from benchmark.training.loop import batches
from dcar.token_weights import caption_weights

TRAIN = TrainConfig(epochs=2, batch_size=8, optimizer="adamw", learning_rate=0.01)


@pytest.fixture
def splits(described):
    return {"train": described, "validation": described, "test": described}


@pytest.fixture
def fitted(tiny_clip, splits):
    method = get_method("dcar_figure")(tiny_clip, n_ctx=2, alpha=3.0, train=TRAIN)
    method.fit(splits["train"], splits["validation"])
    return method


def test_it_has_prompts_in_the_first_layer_and_scores_prompted_features(fitted, tiny_clip, splits):
    prompts, test = fitted.learner(), splits["test"]
    assert [len(prompts.text), len(prompts.vision)] == [1, 1]
    with torch.no_grad():
        found = fitted.encode_text(test.captions).pooled
        expected = tiny_clip.encode_text(test.captions, Prompts(text=prompts.text)).pooled
    assert torch.equal(found, expected)


def test_the_loss_pair_by_pair(fitted, tiny_clip, splits):
    """InfoNCE of weighted captions, and a softmax over own candidates with the logarithm of their weights."""
    train, scale, losses, kinds = splits["train"], tiny_clip.logit_scale, [], set()
    batch = next(batches(train, 6, seed=0, epoch=1))
    prompts = fitted.learner()
    with torch.no_grad():
        images = fitted.encode_image(batch.images).pooled
        weights = caption_weights(tiny_clip, prompts, images, batch.captions, 0.5)
        assert (weights - 1).abs().max() > 1e-3
        weighted = Prompts(text=prompts.text, token_weights=weights)
        texts = tiny_clip.encode_text(batch.captions, weighted).pooled
        contrast = info_nce(scale * images @ texts.T, repeats=batch.repeats)
        for image, row in zip(images, batch.rows.tolist(), strict=True):
            own = train.categories[train.row_category[row]]
            candidates = [(train.captions[train.pairs[row, 1]], own)]
            for negative in fitted.candidates.negatives.draw(row, 1, 4, 2):
                candidates.append((negative.caption, negative.category))
                kinds.add(negative.kind)
            logits = []
            for caption, category in candidates:
                plain = tiny_clip.encode_text([caption], reserve=2).pooled[0]
                weight = torch.tensor(4.0 if category == own else 1.0)
                logits.append(scale * image @ fitted.learner.adapter(plain) + weight.log())
            losses.append(torch.logsumexp(torch.stack(logits), 0) - logits[0])
        found = fitted.loss(batch)
    assert kinds == {"category", "attribute"}
    expected = contrast + torch.stack(losses).mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)

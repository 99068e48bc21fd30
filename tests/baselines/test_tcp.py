"""TCP computes later context vectors from the frozen feature of the caption."""

import torch

from tests.baselines.plain_clip import ONE_WAY, check_equal, deep_text, symmetric


def reference(clip, learner, batch):
    hidden, out = learner.network[0], learner.network[2]
    texts = []
    for caption in batch.captions:
        h = clip.texts([caption])[0] @ hidden.weight.T + hidden.bias
        h = (h * torch.sigmoid(1.702 * h)) @ out.weight.T + out.bias
        edit = deep_text([learner.context.text[0], h.view(4, -1)])
        texts.append(clip.texts([caption], context=learner.context.text[0], before=edit)[0])
    texts = torch.stack(texts)
    far = (1 - (texts * clip.texts(batch.captions)).sum(1)).mean()
    logits = clip.scale * clip.images(batch.images) @ texts.T
    return logits, symmetric(logits, "image_to_text") + 8 * clip.scale / 100 * far


def test_it_equals_the_reference(make_clip, tiny_dataset):
    check_equal("tcp", reference, make_clip, tiny_dataset, **ONE_WAY)

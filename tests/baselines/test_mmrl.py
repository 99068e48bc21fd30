"""MMRL scores by two features of an image."""

import pytest
import torch
from torch.nn.functional import normalize

from benchmark import get_method
from tests.baselines.plain_clip import ONE_WAY, check_equal, symmetric


@pytest.mark.parametrize(("first_layer", "layers"), [(-1, 2), (3, 1), (1, 3)])
def test_tokens_enter_from_the_first_layer_on(tiny_clip, first_layer, layers):
    prompts = get_method("mmrl")(tiny_clip, first_layer=first_layer).learner()
    for entries in (prompts.text, prompts.vision):
        assert [len(each) for each in entries] == [0] * (3 - layers) + [5] * layers


def reference(clip, learner, batch):
    """Tokens follow BOS and the class token, in the second and third layer."""

    def joining(maps):
        def before(layer, x):
            if layer == 0:
                return x
            tokens = learner.tokens @ maps[layer - 1].weight.T + maps[layer - 1].bias
            return torch.cat([x[:1], tokens, x[1 if layer == 1 else 6 :]])

        return before

    states = [
        clip.image_states(p, before=joining(learner.to_vision))
        for p in clip.pixels.of(batch.images)
    ]
    images = torch.stack([s[0] for s in states]) @ clip.projection("image")
    images = normalize(images, dim=1).float()
    second = torch.stack([s[1:6].mean(0) for s in states]).float() @ learner.readout
    second = normalize(second, dim=1)
    texts = clip.texts(batch.captions, before=joining(learner.to_text))
    far = (1 - (images * clip.images(batch.images)).sum(1)).mean()
    far = far + (1 - (texts * clip.texts(batch.captions)).sum(1)).mean()
    one, other = (clip.scale * each @ texts.T for each in (images, second))
    loss = 0.7 * symmetric(one, "image_to_text") + 0.3 * symmetric(other, "image_to_text")
    return 0.7 * one + 0.3 * other, loss + clip.scale / 100 * far


def test_it_equals_the_reference(make_clip, tiny_dataset):
    check_equal("mmrl", reference, make_clip, tiny_dataset, **ONE_WAY)

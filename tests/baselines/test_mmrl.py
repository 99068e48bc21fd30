"""MMRL scores by two features of an image; TCP computes prompts from the caption alone."""

import pytest
import torch
from torch.nn.functional import normalize

from benchmark import Images, get_method
from fdrd.errors import FdrdError
from tests.baselines.plain_clip import ONE_WAY, check_equal, symmetric


def test_the_score_is_a_weighted_mean_of_both_features(tiny_clip, tiny_dataset):
    images, captions = Images.of(tiny_dataset["test"])[:3], tiny_dataset["test"].captions[:2]
    with torch.no_grad():
        by_weight = {
            weight: method.similarity(method.encode_image(images), method.encode_text(captions))
            for weight in (0.0, 0.25, 1.0)
            for method in [get_method("mmrl")(tiny_clip, weight=weight)]
        }
    assert (by_weight[0.0] - by_weight[1.0]).abs().max() > 0.01
    assert by_weight[0.25] == pytest.approx(0.75 * by_weight[0.0] + 0.25 * by_weight[1.0], abs=1e-6)


@pytest.mark.parametrize(("first_layer", "layers"), [(-1, 2), (3, 1), (1, 3)])
def test_tokens_enter_from_the_first_layer_on(tiny_clip, first_layer, layers):
    prompts = get_method("mmrl")(tiny_clip, first_layer=first_layer).learner()
    for entries in (prompts.text, prompts.vision):
        assert [len(each) for each in entries] == [0] * (3 - layers) + [5] * layers


def test_the_computed_context_depends_on_the_caption(tiny_clip):
    learner = get_method("tcp")(tiny_clip).learner
    prompts = learner(tiny_clip.encode_text(["a red circle", "a dog"]).pooled)
    assert prompts.text[1].shape == (2, 4, 32)
    assert not torch.equal(*prompts.text[1])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mmrl", {"weight": 1.5}, "mmrl: weight=1.5.*between 0 and 1"),
        ("mmrl", {"first_layer": 4}, "mmrl: first_layer=4: choose 1 to 3"),
        ("mmrl", {"first_layer": 0}, "mmrl: first_layer=0: choose 1 to 3"),
        ("tcp", {"layer": 1}, "tcp: layer=1: choose 2 to 3"),
        ("tcp", {"consistency": -1.0}, "tcp: consistency=-1: must be at least 0"),
    ],
)
def test_impossible_options_are_refused(tiny_clip, name, options, message):
    with pytest.raises(FdrdError, match=message):
        get_method(name)(tiny_clip, **options)


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


@pytest.mark.slow
def test_it_equals_the_reference(make_clip, tiny_dataset):
    check_equal("mmrl", reference, make_clip, tiny_dataset, **ONE_WAY)

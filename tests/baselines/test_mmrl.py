"""MMRL scores by two features of an image; TCP computes prompts from the caption alone."""

import pytest
import torch

from benchmark import Images, get_method
from fdrd.errors import FdrdError


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

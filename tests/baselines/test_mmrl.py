"""MMRL scores by two features of an image."""

import pytest

from benchmark import get_method


@pytest.mark.parametrize(("first_layer", "layers"), [(-1, 2), (3, 1), (1, 3)])
def test_tokens_enter_from_the_first_layer_on(tiny_clip, first_layer, layers):
    prompts = get_method("mmrl")(tiny_clip, first_layer=first_layer).learner()
    for entries in (prompts.text, prompts.vision):
        assert [len(each) for each in entries] == [0] * (3 - layers) + [5] * layers

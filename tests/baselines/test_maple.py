"""MaPLe's visual tokens are a function of its context vectors."""

from types import SimpleNamespace

import pytest
import torch

from benchmark import Images, get_method

VIT_B_16 = SimpleNamespace(
    text_width=512,
    vision_width=768,
    text_layers=12,
    vision_layers=12,
    context=77,
    device=torch.device("cpu"),
    word_embeddings=lambda words: torch.zeros(len(words.split()), 512),
)
"""The sizes that a learner looks at."""


def test_the_number_of_parameters_is_the_published_one():
    """Nine layers of 2 x 512 context vectors and a map from 512 to 768 with its bias: 3.55 M."""
    maple = get_method("maple")(VIT_B_16, n_ctx=2, depth=9)
    learned = sum(each.numel() for each in maple.learner.parameters() if each.requires_grad)
    assert learned == 9 * (2 * 512 + 512 * 768 + 768) == 3_555_072


@pytest.mark.parametrize(("layers", "prompted"), [((12, 12), 9), ((12, 5), 5), ((4, 24), 4)])
def test_the_default_depth_is_nine_or_all_layers(layers, prompted):
    sizes = vars(VIT_B_16) | {"text_layers": layers[0], "vision_layers": layers[1]}
    maple = get_method("maple")(SimpleNamespace(**sizes))
    assert len(maple.learner().text) == len(maple.learner().vision) == prompted


def test_independent_visual_tokens_do_not_follow_the_context(tiny_clip, tiny_dataset):
    """Coupled ones do: they equal the reference."""
    method = get_method("maple")(tiny_clip, coupling="independent")
    images = Images.of(tiny_dataset["test"])
    with torch.no_grad():
        before = method.encode_image(images).pooled
        for context in method.learner.context.text:
            context += 1.0
        assert torch.equal(method.encode_image(images).pooled, before)

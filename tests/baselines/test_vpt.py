"""VPT puts tokens into the image tower and leaves the text tower alone."""

import pytest
import torch

from benchmark import Images, get_method


@pytest.mark.parametrize(("depth", "layers"), [(1, 1), (2, 2), (-1, 3)])
def test_it_learns_visual_tokens_alone(tiny_clip, depth, layers):
    """Shallow at depth 1, fresh tokens in every layer of the tower by default."""
    vpt = get_method("vpt")(tiny_clip, n_vis=5, depth=depth)
    shapes = [tuple(p.shape) for p in vpt.learner.parameters()]
    assert shapes == [(5, tiny_clip.vision_width)] * layers


def test_captions_have_their_frozen_features(tiny_clip, tiny_dataset):
    vpt, test = get_method("vpt")(tiny_clip), tiny_dataset["test"]
    with torch.no_grad():
        texts = vpt.encode_text(test.captions).pooled
        images = vpt.encode_image(Images.of(test)).pooled
    assert torch.equal(texts, tiny_clip.encode_text(test.captions).pooled)
    assert (images - tiny_clip.encode_image(Images.of(test)).pooled).abs().max() > 1e-3

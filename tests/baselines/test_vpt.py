"""VPT puts tokens into the image tower and leaves the text tower alone."""

import pytest
import torch

from benchmark import Images, get_method
from fdrd.errors import FdrdError


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


def test_deep_and_shallow_variants_differ(tiny_clip, tiny_dataset):
    """Both start from the same first tokens, so deeper ones alone make the difference."""
    images = Images.of(tiny_dataset["test"])
    with torch.no_grad():
        shallow, deep = (
            get_method("vpt")(tiny_clip, depth=depth).encode_image(images).pooled
            for depth in (1, 3)
        )
    assert (shallow - deep).abs().max() > 1e-4


def test_a_depth_out_of_range_is_refused(tiny_clip):
    with pytest.raises(FdrdError, match=r"vpt: depth=0 leaves nothing to train.*zero_shot"):
        get_method("vpt")(tiny_clip, depth=0)
    with pytest.raises(FdrdError, match="depth=4: the tower has 3 layers"):
        get_method("vpt")(tiny_clip, depth=4)

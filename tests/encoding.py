"""What a method makes of a dataset."""

from contextlib import contextmanager

import torch

from benchmark import Images


@torch.no_grad()
def features(method, dataset):
    """Return the pooled features of all images and captions."""
    images = method.encode_image(Images.of(dataset)).pooled
    return images, method.encode_text(dataset.captions).pooled


@contextmanager
def counted(backbone):
    """Count the items that go through each tower."""
    seen = {"images": 0, "captions": 0}

    def count(_module, _args, inputs):
        seen["images"] += len(inputs.get("pixel_values", ()))
        seen["captions"] += len(inputs.get("input_ids", ()))

    handles = [
        tower.register_forward_pre_hook(count, with_kwargs=True)
        for tower in (backbone.model.vision_model, backbone.model.text_model)
    ]
    yield seen
    for handle in handles:
        handle.remove()

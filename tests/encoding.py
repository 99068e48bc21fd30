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

    def count(name, key):
        def hook(_module, _args, kwargs):
            seen[name] += len(kwargs[key])

        return hook

    towers = (
        (backbone.model.vision_model, "images", "pixel_values"),
        (backbone.model.text_model, "captions", "input_ids"),
    )
    handles = [
        tower.register_forward_pre_hook(count(name, key), with_kwargs=True)
        for tower, name, key in towers
    ]
    yield seen
    for handle in handles:
        handle.remove()

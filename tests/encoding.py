"""What a method makes of a dataset."""

import torch

from benchmark import Images


@torch.no_grad()
def features(method, dataset):
    """Return the pooled features of all images and captions."""
    images = method.encode_image(Images.of(dataset)).pooled
    return images, method.encode_text(dataset.captions).pooled

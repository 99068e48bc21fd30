"""CoPrompt is MaPLe with adapters, held near the frozen backbone."""

import pytest
import torch

from benchmark import get_method
from benchmark.training.loop import batches
from fdrd.errors import FdrdError


def test_the_loss_includes_the_distance_of_both_sides(tiny_clip, tiny_dataset):
    """A long caption is truncated for the frozen tower as for the prompted one, two tokens earlier."""
    batch = next(batches(tiny_dataset["train"], 4, 0, 0))
    batch.captions[0] = "a cat and a dog on the left " * 5
    with torch.no_grad():
        free, held = (
            get_method("coprompt")(tiny_clip, consistency=weight) for weight in (0.0, 2.0)
        )
        images, texts = free.encode_image(batch.images), free.encode_text(batch.captions)
        far = 2 - (images.pooled * tiny_clip.encode_image(batch.images).pooled).sum() / 4
        plain = tiny_clip.encode_text(batch.captions, reserve=2).pooled
        far = far - (texts.pooled * plain).sum() / 4
        paid = held.loss(batch) - free.loss(batch)
    assert far > 0.01
    assert float(paid) == pytest.approx(2 * float(far), abs=1e-5)


def test_a_negative_weight_is_refused(tiny_clip):
    with pytest.raises(FdrdError, match="coprompt: consistency=-1: must be at least 0"):
        get_method("coprompt")(tiny_clip, consistency=-1.0)

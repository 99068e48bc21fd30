"""CoPrompt is MaPLe with adapters, held near the frozen backbone."""

from dataclasses import replace

import pytest
import torch

from benchmark import get_method
from benchmark.training.loop import batches
from fdrd.errors import FdrdError
from tests.baselines.plain_clip import (
    ONE_WAY,
    both_prompted,
    bottleneck,
    check_equal,
    coupled,
    symmetric,
)


def test_the_loss_includes_the_distance_of_both_sides(tiny_clip, tiny_dataset):
    """A long caption is truncated for the frozen tower as for the prompted one, two tokens earlier."""
    batch = replace(next(batches(tiny_dataset["train"], 4, 0, 0)), scale=100.0)
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


def reference(clip, learner, batch):
    images, texts = both_prompted(clip, batch, *coupled(learner.prompts))
    images, texts = bottleneck(images, learner.image, 0.1), bottleneck(texts, learner.text, 0.2)
    logits = clip.scale * images @ texts.T
    far = (1 - (images * clip.images(batch.images)).sum(1)).mean()
    far = far + (1 - (texts * clip.texts(batch.captions)).sum(1)).mean()
    return logits, symmetric(logits, "image_to_text") + 8 * clip.scale / 100 * far


@pytest.mark.slow
def test_it_equals_the_reference(make_clip, tiny_dataset):
    check_equal("coprompt", reference, make_clip, tiny_dataset, **ONE_WAY)

"""CoOp learns context vectors and nothing else."""

import pytest
import torch

from benchmark import get_method
from tests.baselines.plain_clip import ONE_WAY, check_equal, symmetric


def test_started_from_words_it_is_zero_shot_with_these_words(tiny_clip, tiny_dataset):
    captions = tiny_dataset["test"].captions
    coop = get_method("coop")(tiny_clip, n_ctx=3, ctx_init="a photo of")
    spelled = tiny_clip.encode_text([f"a photo of {caption}" for caption in captions]).pooled
    with torch.no_grad():
        assert coop.encode_text(captions).pooled == pytest.approx(spelled, abs=1e-6)


def reference(clip, learner, batch):
    images = clip.images(batch.images)
    logits = clip.scale * images @ clip.texts(batch.captions, context=learner.text[0]).T
    return logits, symmetric(logits, "image_to_text")


def test_it_equals_the_reference(make_clip, tiny_dataset):
    check_equal("coop", reference, make_clip, tiny_dataset, **{"n_ctx": 4} | ONE_WAY)

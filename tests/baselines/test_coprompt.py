"""CoPrompt is MaPLe with adapters, held near the frozen backbone."""

from tests.baselines.plain_clip import (
    ONE_WAY,
    both_prompted,
    bottleneck,
    check_equal,
    coupled,
    symmetric,
)


def reference(clip, learner, batch):
    images, texts = both_prompted(clip, batch, *coupled(learner.prompts))
    images, texts = bottleneck(images, learner.image, 0.1), bottleneck(texts, learner.text, 0.2)
    logits = clip.scale * images @ texts.T
    far = (1 - (images * clip.images(batch.images)).sum(1)).mean()
    far = far + (1 - (texts * clip.texts(batch.captions)).sum(1)).mean()
    return logits, symmetric(logits, "image_to_text") + 8 * clip.scale / 100 * far


def test_it_equals_the_reference(make_clip, tiny_dataset):
    check_equal("coprompt", reference, make_clip, tiny_dataset, **ONE_WAY)

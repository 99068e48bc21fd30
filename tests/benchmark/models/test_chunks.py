"""A batch that is encoded in chunks has the loss and the gradient of the whole batch."""

import pytest
import torch

from benchmark import Images, Prompts
from benchmark.models.backbone import Features, concatenate
from benchmark.models.processes import in_chunks, step_numerics
from benchmark.settings import TrainConfig
from benchmark.training.learners import CoupledPrompts, PromptMethod
from benchmark.training.losses import info_nce


def gradients(clip, dataset, size, per_row, tokens):
    """Of a contrastive loss over 11 pairs, with respect to prompts and word weights."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return (0.1 * torch.randn(*shape, generator=generator)).requires_grad_()

    rows = (11,) if per_row else ()
    text = [drawn(*rows, 3, clip.text_width) for _ in range(2)]
    vision = [drawn(*rows, 2, clip.vision_width) for _ in range(2)]
    captions = dataset.captions[:11]
    plain = clip.encode_text(captions, tokens=True, reserve=3).valid
    weights = torch.ones(plain.shape).requires_grad_()
    prompts = Prompts(text, vision, weights)
    with step_numerics(chunk_size=size):
        images = clip.encode_image(Images.of(dataset)[:11], prompts, tokens=tokens)
        texts = clip.encode_text(captions, prompts, tokens=tokens)
        loss = info_nce(5 * images.pooled @ texts.pooled.T)
        if tokens:
            loss = loss + (images.tokens.mean(1) @ texts.tokens[texts.valid].T).square().mean()
        loss.backward()
    found = [each.grad for each in (*text, *vision, weights)]
    assert all(each is not None for each in found)
    return [each for each in found if each is not None]


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("per_row", [False, True])
@pytest.mark.parametrize("size", [1, 4, 10])
def test_the_gradient_is_that_of_the_whole_batch(tiny_clip, tiny_dataset, size, per_row, tokens):
    whole = gradients(tiny_clip, tiny_dataset["train"], 0, per_row, tokens)
    parts = gradients(tiny_clip, tiny_dataset["train"], size, per_row, tokens)
    for one, other in zip(whole, parts, strict=True):
        assert one.flatten(1).abs().amax(1).min() > 1e-4  # each row's own prompts are used
        assert (one - other).abs().max() < 1e-6


def test_chunks_have_the_given_size_and_are_encoded_twice():
    calls = []
    weight = torch.ones(3, requires_grad=True)

    def encode(rows):
        calls.append(rows.stop - rows.start)
        return Features((torch.arange(7.0)[rows, None] * weight) ** 2)

    with step_numerics(chunk_size=3):
        features = in_chunks(7, encode, concatenate)
        assert calls == [3, 3, 1]
        features.pooled.sum().backward()
    assert sorted(calls) == [1, 1, 3, 3, 3, 3]
    calls.clear()
    with step_numerics(chunk_size=3), torch.no_grad():
        in_chunks(
            7, encode, concatenate
        )  # without gradients nothing is held, so nothing is to be saved
    in_chunks(7, encode, concatenate)
    assert calls == [7, 7]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_in_chunks_gives_the_same_parameters(tiny_clip, tiny_dataset, precision):
    seen = []

    def record(_layer, args):
        if torch.is_grad_enabled():
            seen.append(len(args[0]))

    def learned(size):
        config = TrainConfig(
            epochs=1,
            batch_size=12,
            learning_rate=0.1,
            chunk_size=size,
            precision=precision,
            keep_untrained=False,
        )
        learner = CoupledPrompts(tiny_clip, 2, "", 2, "linear", seed=0)
        method = PromptMethod(tiny_clip, learner, config)
        method.fit(tiny_dataset["train"], tiny_dataset["validation"])
        return list(learner.parameters())

    close = 1e-6 if precision == "float32" else 1e-2
    fresh = CoupledPrompts(tiny_clip, 2, "", 2, "linear", seed=0)
    handle = tiny_clip.model.visual_projection.register_forward_pre_hook(record)
    try:
        whole, parts = learned(0), learned(5)
    finally:
        handle.remove()
    assert seen == [12, 12, *[5, 5, 2, 2, 5, 5] * 2]
    for start, one, other in zip(fresh.parameters(), whole, parts, strict=True):
        assert not torch.equal(start, one)
        assert (one - other).abs().max() < close

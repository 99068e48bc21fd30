"""An unmodified CLIP that holds prompts only during a call."""

import threading

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import processors

from benchmark.models.backbone import Features, Prompts, concatenate
from benchmark.models.clip import CLIPBackbone
from benchmark.models.image_batches import Images
from fdrd.errors import FdrdError

CAPTIONS = ["a red circle on the left", "a photo of a cat", "the big black square and a small dog"]


def drawn_prompts(layers, n, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [0.5 * torch.randn(n, width, generator=generator) for _ in range(layers)]


def no_hooks(backbone):
    return not any(m._forward_hooks or m._forward_pre_hooks for m in backbone.model.modules())


def close(one, other, tolerance=1e-06):
    return bool((one - other).abs().max() <= tolerance)


def test_weights_beside_what_cannot_be_copied_are_never_shared(make_clip):
    """If shared, they would also be trained in the given backbone."""
    backbone = make_clip()
    backbone.model.session = [threading.Lock(), backbone.model.visual_projection]
    with pytest.raises(FdrdError, match=r"'tiny' cannot be copied.*leaves the backbone frozen"):
        backbone.trainable_copy()


def test_no_hook_is_left_after_an_exception(tiny_clip, monkeypatch):
    layers = tiny_clip.model.text_model.encoder.layers

    def fail(*_args, **_kwargs):
        raise RuntimeError("in the middle")

    prompts = Prompts(
        text=drawn_prompts(3, 2, tiny_clip.text_width),
        token_weights=torch.ones(3, tiny_clip._tokenize(CAPTIONS, 22)[0].shape[1]),
    )
    with monkeypatch.context() as patch:
        patch.setattr(layers[1], "forward", fail)
        with pytest.raises(RuntimeError, match="in the middle"):
            tiny_clip.encode_text(CAPTIONS, prompts)
    assert no_hooks(tiny_clip)
    tiny_clip.encode_text(CAPTIONS, prompts)
    assert no_hooks(tiny_clip)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"text": drawn_prompts(4, 2, 32)}, "4 layers of prompts for a tower of 3 layers"),
        ({"text": drawn_prompts(1, 2, 48)}, r"must all be \(n, 32\)"),
        ({"text": drawn_prompts(1, 22, 32)}, r"no room for a caption.*24 tokens.*lower n_ctx"),
        ({"token_weights": torch.ones(3, 3)}, "weights of 3 tokens"),
        ({"token_weights": torch.ones(3, 40)}, "weights of 40 tokens"),
    ],
    ids=["layers", "width", "room", "few weights", "many weights"],
)
def test_prompts_that_do_not_fit_are_refused(tiny_clip, prompts, message):
    error = FdrdError if "room" in message else ValueError
    with pytest.raises(error, match=message):
        tiny_clip.encode_text(CAPTIONS, Prompts(**prompts))
    assert no_hooks(tiny_clip)


def test_captions_encoded_by_length_keep_their_order(tiny_clip):
    """More captions than are encoded at a time, of mixed lengths, with their own weights and contexts."""
    captions = ["red " * (1 + 7 * number % 13) + "circle" for number in range(40)]
    valid = tiny_clip.encode_text(captions, tokens=True, reserve=2).valid
    chance = torch.Generator().manual_seed(0)
    weights = 0.5 + torch.rand(valid.shape, generator=chance)
    context = torch.randn(40, 2, tiny_clip.text_width, generator=chance)
    together = tiny_clip.encode_text(
        captions, Prompts(text=[context], token_weights=weights)
    ).pooled
    for row, caption in enumerate(captions):
        own = int(valid[row].sum()) + 2
        alone = Prompts(text=[context[row]], token_weights=weights[row : row + 1, :own])
        assert close(tiny_clip.encode_text([caption], alone).pooled[0], together[row])


def test_token_weights_scale_the_embedding_of_their_token_alone(tiny_clip):
    """Weight 0 on token 2 makes its embedding 0 and leaves the others unchanged."""
    seen = []
    embed = tiny_clip.model.text_model.embeddings
    handle = embed.register_forward_hook(
        lambda module, _args, out: seen.append(
            out - module.position_embedding.weight[: out.shape[1]]
        )
    )
    text = drawn_prompts(1, 3, tiny_clip.text_width)
    features = tiny_clip.encode_text(CAPTIONS[:1], Prompts(text=text), tokens=True)
    weights = torch.ones(features.valid.shape)
    weights[0, 2] = 0
    try:
        tiny_clip.encode_text(CAPTIONS[:1], Prompts(text=text, token_weights=weights))
    finally:
        handle.remove()
    plain, weighted = seen[0][0], seen[1][0]
    changed = (plain - weighted).abs().sum(dim=1) > 1e-6
    assert changed.nonzero().flatten().tolist() == [2 + 3]
    assert close(weighted[5], torch.zeros(tiny_clip.text_width))


@pytest.mark.parametrize("n_ctx", [0, 4])
def test_long_captions_lose_words_but_never_eos(tiny_clip, n_ctx):
    """The context has 24 places: BOS, EOS, n_ctx slots, and the rest for words, reserved or not."""
    long = ["red " * 60]
    prompts = Prompts(text=drawn_prompts(1, n_ctx, tiny_clip.text_width) if n_ctx else ())
    ids, _ = tiny_clip.tokenize(long, 24 - n_ctx)
    assert ids[0, -1] == tiny_clip.model.config.text_config.eos_token_id
    for features in (
        tiny_clip.encode_text(long, prompts, tokens=True),
        tiny_clip.encode_text(long, tokens=True, reserve=n_ctx),
    ):
        assert features.valid.tolist() == [[False, *[True] * (22 - n_ctx), False]]


@pytest.mark.parametrize(
    ("index", "rows"),
    [
        (slice(1, None), [1, 2]),
        (torch.tensor([2, 0]), [2, 0]),
        (torch.tensor([True, False, True]), [0, 2]),
        (np.array([1, 1]), [1, 1]),
    ],
    ids=["slice", "tensor", "mask", "array"],
)
def test_rows_and_batches_of_features_keep_their_captions(index, rows):
    features = Features(torch.eye(3), valid=torch.eye(3).bool(), captions=("a", "b", "c"))
    picked = features[index]
    assert torch.equal(picked.pooled, torch.eye(3)[rows])
    assert torch.equal(picked.valid, torch.eye(3)[rows].bool())
    assert picked.captions == tuple("abc"[row] for row in rows)
    assert features.to("cpu").captions == features.captions
    assert concatenate([picked, features[:1]]).captions == (*picked.captions, "a")
    assert concatenate([Features(torch.eye(3))]).captions is None


def test_images_outside_a_dataset_are_encoded(tiny_clip, tiny_dataset):
    images = Images.of(tiny_dataset["test"])[:3]
    photos = tiny_dataset["test"].images(range(3))
    assert torch.equal(tiny_clip.encode_image(photos).pooled, tiny_clip.encode_image(images).pooled)
    grey = Image.new("L", (50, 30))
    assert tiny_clip.encode_image([grey]).pooled.shape == (1, tiny_clip.dim)


def fingerprint(model, tokenizer, image_processor):
    return CLIPBackbone(model, tokenizer, image_processor, name="x").fingerprint


def test_the_fingerprint_covers_weights_preprocessing_and_tokenizer(clip_parts):
    model, tokenizer, image_processor = clip_parts()
    before = fingerprint(*clip_parts())
    assert fingerprint(model, tokenizer, image_processor) == before
    assert fingerprint(*clip_parts(seed=1)) != before
    subclass = type("OtherProcessor", (type(image_processor),), {})
    assert fingerprint(model, tokenizer, subclass(**image_processor.to_dict())) != before
    image_processor.image_mean = (0.1, 0.2, 0.3)
    assert fingerprint(model, tokenizer, image_processor) != before
    tokenizer.add_tokens(["zebra"])
    assert fingerprint(model, tokenizer, clip_parts()[2]) != before


def test_a_tokenizer_that_does_not_end_in_eos_is_refused(clip_parts):
    model, tokenizer, image_processor = clip_parts()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        "[BOS] $A", special_tokens=[("[BOS]", 97)]
    )
    with pytest.raises(FdrdError, match="needs BOS, the words and EOS"):
        fingerprint(model, tokenizer, image_processor)

"""What options of methods start from, and which are refused."""

from dataclasses import replace

import pytest
import torch

from benchmark import get_method
from benchmark.training.loop import batches
from fdrd.errors import FdrdError
from tests.encoding import features

BOTH = {"side": "both"}


def made(name, backbone, **options):
    if name == "lora":
        pytest.importorskip("peft")
    return get_method(name)(backbone, **options)


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("full", {}, 0),
        ("lora", {}, 0),
        ("prolip", BOTH, 0),
        ("clip_adapter", {"form": "linear", **BOTH}, 1e-6),
        ("clip_adapter", {"form": "residual", **BOTH}, 1e-6),
        ("clip_adapter", {"form": "residual", "layers": "joint,0", **BOTH}, 1e-6),
    ],
)
def test_training_starts_from_zero_shot(name, options, tolerance, tiny_clip, tiny_dataset):
    dataset = tiny_dataset["test"]
    plain = features(get_method("zero_shot")(tiny_clip), dataset)
    for before, after in zip(
        plain, features(made(name, tiny_clip, **options), dataset), strict=True
    ):
        assert (before - after).abs().max() <= tolerance


@pytest.mark.parametrize("name", ["coop", "cocoop", "maple"])
@pytest.mark.parametrize("words", ["a photo of a", "xylophone"])
def test_context_starts_from_the_first_tokens_of_any_words(name, words, tiny_clip):
    """The tokenizer spells 'xylophone' in nine pieces, of which two vectors take two."""
    learner = get_method(name)(tiny_clip, n_ctx=2, ctx_init=words).learner
    spelled = tiny_clip.word_embeddings(words)
    assert len(spelled) > 2
    assert torch.equal(getattr(learner, "context", learner).text[0].detach(), spelled[:2])


@pytest.mark.parametrize(
    ("name", "n_ctx"), [("coprompt", 2), ("promptsrc", 4), ("tcp", 4), ("cocoop", 4)]
)
def test_frozen_towers_read_as_many_words_as_prompted_ones(name, n_ctx, tiny_clip, tiny_dataset):
    """A caption that is too long for the prompted tower counts as far as that reads it."""
    batch = replace(next(batches(tiny_dataset["train"], 4, 0, 0)), scale=100.0)
    words = ("a cat and a dog on the left " * 5).split()
    method = get_method(name)(tiny_clip)
    with torch.no_grad():
        losses = []
        for count in (len(words), 22 - n_ctx, 21 - n_ctx):
            captions = [" ".join(words[:count]), *batch.captions[1:]]
            losses.append(float(method.loss(replace(batch, captions=captions))))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] != pytest.approx(losses[2], rel=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("clip_adapter", {"ratio": 1.5}, "ratio=1.5: must be above 0 and at most 1"),
        ("clip_adapter", {"reduction": 0}, "reduction=0: must be at least 0.01"),
        ("cocoop", {"rerank": -0.1}, "must be above 0 and at most 1"),
        ("cocoop", {"rerank": 0.0}, "must be above 0 and at most 1"),
        ("cocoop", {"rerank": 1.5}, "must be above 0 and at most 1"),
        ("coprompt", {"consistency": -1.0}, "coprompt: consistency=-1: must be at least 0"),
        ("dcar", {"depth": 0, "adapter": False}, "depth=0 leaves only the adapter to train"),
        ("dcar", {"depth": 0, "gamma": 0.0, "lambda_cate": 0.0}, "give adapter=yes, and gamma or"),
        ("dcar", {"depth": 9}, "tower has 3 layers"),
        ("dcar", {"epsilon": -1.0}, "epsilon=-1: must be at least 0"),
        (
            "dcar",
            {"second_adapter": True, "depth": 1},
            "takes the place of the prompts; give depth=0",
        ),
        ("dcar", {"second_adapter": True, "depth": 0, "gamma": 0.0}, "give depth=0, and gamma"),
        ("dcar", {"n_attribute": 5}, "n_attribute=5: a caption has 4 negatives"),
        ("dcar", {"layers": "auto", "adapter": False}, "layers are read by the adapter; give"),
        ("dcar", {"layers": "auto", "gamma": 0.0, "lambda_cate": 0.0}, "read by the adapter; give"),
        ("dcar_plus", {"layers": "joint,9"}, "layers: 9 is none of"),
        ("dcar_plus", {"n_attribute": 5}, "n_attribute=5: a caption has 4 negatives"),
        ("dcar_plus", {"rank": 0}, "rank=0: must be at least 1"),
        ("lora", {"alpha": 0}, "alpha=0: must be at least 1"),
        ("lora", {"rank": 0}, "rank=0: must be between 1 and 1024"),
        ("maple", {"depth": 0}, "maple: depth=0 leaves nothing to train.*zero_shot"),
        ("maple", {"depth": 9}, "depth=9: the tower has 3 layers; choose 0 to 3"),
        ("maple_adapter", {"depth": 0}, "maple_adapter: depth=0 leaves nothing to train"),
        ("mmrl", {"first_layer": 0}, "mmrl: first_layer=0: choose 1 to 3"),
        ("mmrl", {"first_layer": 4}, "mmrl: first_layer=4: choose 1 to 3"),
        ("mmrl", {"weight": 1.5}, "mmrl: weight=1.5.*between 0 and 1"),
        ("nnn", {"alpha": -0.5}, "alpha=-0.5: choose from 0 to 2"),
        ("nnn", {"alpha": 2.5}, "alpha=2.5: choose from 0 to 2"),
        ("nnn", {"k": -1}, "k=-1: must be at least 1, or 0"),
        ("prolip", {"penalty": -1.0}, "prolip: penalty=-1: must be at least 0"),
        ("promptsrc", {"image_weight": -1.0}, "promptsrc: image_weight=-1: must be at least 0"),
        ("tcp", {"consistency": -1.0}, "tcp: consistency=-1: must be at least 0"),
        ("tcp", {"layer": 1}, "tcp: layer=1: choose 2 to 3"),
        ("vpt", {"depth": 0}, "vpt: depth=0 leaves nothing to train.*zero_shot"),
        ("vpt", {"depth": 4}, "depth=4: the tower has 3 layers"),
    ],
)
def test_impossible_options_are_refused(tiny_clip, name, options, message):
    with pytest.raises(FdrdError, match=message):
        made(name, tiny_clip, **options)

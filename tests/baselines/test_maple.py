"""MaPLe's visual tokens are a function of its context vectors."""

from types import SimpleNamespace

import pytest
import torch

from benchmark import Images, get_method
from fdrd.errors import FdrdError
from tests.baselines.plain_clip import ONE_WAY, both_prompted, check_equal, coupled, symmetric
from tests.encoding import features

VIT_B_16 = SimpleNamespace(
    text_width=512,
    vision_width=768,
    text_layers=12,
    vision_layers=12,
    context=77,
    device=torch.device("cpu"),
    word_embeddings=lambda words: torch.zeros(len(words.split()), 512),
)
"""The sizes that a learner looks at."""


def test_the_number_of_parameters_is_the_published_one():
    """Nine layers of 2 x 512 context vectors and a map from 512 to 768 with its bias: 3.55 M."""
    maple = get_method("maple")(VIT_B_16, n_ctx=2, depth=9)
    learned = sum(each.numel() for each in maple.learner.parameters() if each.requires_grad)
    assert learned == 9 * (2 * 512 + 512 * 768 + 768) == 3_555_072


@pytest.mark.parametrize(("layers", "prompted"), [((12, 12), 9), ((12, 5), 5), ((4, 24), 4)])
def test_the_default_depth_is_nine_or_all_layers(layers, prompted):
    sizes = vars(VIT_B_16) | {"text_layers": layers[0], "vision_layers": layers[1]}
    maple = get_method("maple")(SimpleNamespace(**sizes))
    assert len(maple.learner().text) == len(maple.learner().vision) == prompted


def test_a_depth_that_does_not_fit_is_refused(tiny_clip):
    with pytest.raises(FdrdError, match="depth=9: the tower has 3 layers; choose 0 to 3"):
        get_method("maple")(tiny_clip, depth=9)
    with pytest.raises(FdrdError, match=r"maple: depth=0 leaves nothing to train.*zero_shot"):
        get_method("maple")(tiny_clip, depth=0)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_image_features_depend_on_context_vectors(tiny_clip, tiny_dataset, layer):
    maple = get_method("maple")(tiny_clip)
    independent = get_method("maple")(tiny_clip, coupling="independent")
    images = Images.of(tiny_dataset["test"])
    for method, changes in ((maple, True), (independent, False)):
        with torch.no_grad():
            before = method.encode_image(images).pooled
            method.learner.context.text[layer][0] += 1.0
            after = method.encode_image(images).pooled
        assert ((after - before).abs().max() > 1e-4) == changes


def test_a_visual_token_is_the_linear_map_of_its_context_vector(tiny_clip):
    """The map of layer 1 set to 'every coordinate is twice the first, plus one'."""
    maple = get_method("maple")(tiny_clip, n_ctx=2)
    with torch.no_grad():
        maple.learner.couplings[1].weight.zero_()[:, 0] = 2.0
        maple.learner.couplings[1].bias.fill_(1.0)
        maple.learner.context.text[1][:, 0] = torch.tensor([3.0, -1.0])
    tokens = maple.learner().vision[1].detach()
    assert torch.equal(tokens, torch.tensor([[7.0], [-1.0]]).expand(2, tiny_clip.vision_width))


def test_it_starts_from_the_first_tokens_of_any_words(tiny_clip):
    """The tokenizer spells 'xylophone' in nine pieces, of which two vectors take two."""
    for words in ("a photo of a", "xylophone"):
        maple = get_method("maple")(tiny_clip, n_ctx=2, ctx_init=words)
        spelled = tiny_clip.word_embeddings(words)
        assert len(spelled) > 2
        assert torch.equal(maple.learner().text[0].detach(), spelled[:2])
    drawn = get_method("maple")(tiny_clip, n_ctx=2, ctx_init="")
    assert 0 < drawn.learner().text[0].abs().max().item() < 0.2


def test_with_adapters_it_starts_from_maple(tiny_clip, tiny_dataset):
    """Residual adapters are the identity at first, so the prompts alone decide the features."""
    maple, both = (get_method(name)(tiny_clip) for name in ("maple", "maple_adapter"))
    for one, other in zip(
        features(maple, tiny_dataset["test"]), features(both, tiny_dataset["test"]), strict=True
    ):
        assert one == pytest.approx(other, abs=1e-6)
    with pytest.raises(FdrdError, match="maple_adapter: depth=0 leaves nothing to train"):
        get_method("maple_adapter")(tiny_clip, depth=0)


def reference(clip, learner, batch):
    images, texts = both_prompted(clip, batch, *coupled(learner))
    logits = clip.scale * images @ texts.T
    return logits, symmetric(logits, "image_to_text")


@pytest.mark.slow
def test_it_equals_the_reference(make_clip, tiny_dataset):
    check_equal("maple", reference, make_clip, tiny_dataset, **ONE_WAY)

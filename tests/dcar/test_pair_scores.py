"""Token weights at scoring time: by hand, in blocks, and without a leak."""

import pytest
import torch
from dcar.pair_scores import pair_scores
from torch.nn.functional import normalize

from benchmark import Features, TrainConfig, get_method
from dcar.token_weights import token_weights


def drawn(*shape):
    return normalize(
        torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))), dim=-1
    )


def test_by_hand():
    """The image has 0.6 and 0.8 with the tokens, the blank image 0.8 and 0.6, and 0.3 with the third."""
    tokens = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
    image, blank = torch.tensor([[0.6, 0.8, 0.0]]), torch.tensor([0.8, 0.5, 0.3])
    # Changes .2 .3 .3; weights are changes over their mean; the third token has similarity 0.
    expected = (0.2 * 0.6 + 0.3 * 0.8) / 0.8
    every = torch.tensor([[True, True, True]])
    assert pair_scores(image, blank, tokens, every).item() == pytest.approx(expected, abs=1e-6)
    uniform = pair_scores(image, blank, tokens, every, beta=0.0)
    assert uniform.item() == pytest.approx((0.6 + 0.8) / 3, abs=1e-6)
    # Without the first token the weights are equal; without any the score is 0.
    two, none = torch.tensor([[False, True, True]]), torch.tensor([[False] * 3])
    assert pair_scores(image, blank, tokens, two).item() == pytest.approx(0.4, abs=1e-6)
    assert pair_scores(image, blank, tokens, none).item() == 0


@pytest.mark.parametrize("block", [1, 40, 10**6])
def test_blocks_change_nothing(block):
    images, blank, tokens = drawn(7, 16), drawn(16), drawn(5, 9, 16)
    valid = torch.arange(9) < torch.tensor([[9], [3], [1], [5], [0]])
    found = pair_scores(images, blank, tokens, valid, block=block)
    for i, image in enumerate(images):
        for c, own in enumerate(valid):
            change = (tokens[c] @ blank - tokens[c] @ image)[None]
            weights = token_weights(change, own[None], beta=1.0)[0]
            expected = (weights * (tokens[c] @ image))[own].sum() / max(int(own.sum()), 1)
            assert found[i, c].item() == pytest.approx(expected.item(), abs=1e-5)


def test_the_score_of_a_pair_depends_on_no_other_image(tiny_clip, tiny_dataset):
    """The leak test: all other images of the gallery are exchanged, bit for bit."""
    train = TrainConfig(epochs=1, batch_size=8, optimiser="adamw", learning_rate=0.01)
    method = get_method("dcar")(tiny_clip, n_ctx=2, depth=2, pair_weight=1.0, train=train)
    method.fit(tiny_dataset["train"], tiny_dataset["validation"])
    dataset = tiny_dataset["test"]
    with torch.no_grad():
        images = method.encode_image(dataset.images(range(24)))
        texts = method.encode_text(dataset.captions)
        before = method.similarity(images, texts)
        for kept in (0, 11, 23):
            others = drawn(24, images.pooled.shape[1])
            others[kept] = images.pooled[kept]
            after = method.similarity(Features(others), texts)
            assert torch.equal(after[kept], before[kept])
            assert not torch.equal(after, before)
        weighted = before - method.similarity(
            images, Features(texts.pooled, texts.tokens, texts.valid & False)
        )
    assert weighted.abs().max() > 1e-3

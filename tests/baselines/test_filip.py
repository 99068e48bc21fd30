"""FILIP scores token by token."""

import math

import pytest
import torch
from torch.nn.functional import normalize
from torch.overrides import TorchFunctionMode

from baselines.filip import late_interaction
from benchmark import Images, get_method
from benchmark.evaluation.ranking import distinct
from benchmark.models.backbone import concatenate


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(*shape, generator=generator), dim=-1)


@pytest.mark.parametrize("block", [1, 12, 40, 100, 10**6])
def test_blocks_change_nothing(block):
    patches, words = drawn(5, 3, 8), drawn(7, 4, 8, seed=1)
    valid = torch.arange(4) < torch.tensor([1, 2, 3, 4, 4, 2, 1])[:, None]
    expected = torch.empty(5, 7)
    for i in range(5):
        for c in range(7):
            each = patches[i] @ words[c][valid[c]].T
            expected[i, c] = (each.max(0).values.mean() + each.max(1).values.mean()) / 2
    found = late_interaction(patches, words, valid, block=block)
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-6)


class Largest(TorchFunctionMode):
    """Watches how many numbers any tensor that is made inside has."""

    size = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.size = max(self.size, result.numel())
        return result


def test_memory_does_not_grow_with_the_gallery():
    """40 x 50 pairs of 12 x 10 tokens are 240,000 similarities, of which 1,000 exist at a time.

    So nothing is larger than the result; one image with all captions would be 6,000.
    """
    patches, words = drawn(40, 12, 4), drawn(50, 10, 4, seed=1)
    with Largest() as largest:
        scores = late_interaction(patches, words, torch.ones(50, 10, dtype=torch.bool), block=1000)
    assert largest.size == scores.numel() == 2000


def test_a_gradient_reaches_the_best_tokens_only():
    """One patch (1, 0); the word (.6, .8) is its best, (0, 1) is not, and is best for nothing else."""
    patches = torch.tensor([[[1.0, 0.0]]], requires_grad=True)
    words = torch.tensor([[[0.6, 0.8], [0.0, 1.0]]], requires_grad=True)
    late_interaction(patches, words, torch.tensor([[True, True]])).sum().backward()
    assert patches.grad.flatten().tolist() == pytest.approx([(0.6 + 0.3) / 2, (0.8 + 0.9) / 2])
    # From the patch 1/2, from its own half 1/4; the other word has the gradient of its half alone.
    assert words.grad[0, :, 0].tolist() == pytest.approx([3 / 4, 1 / 4])


def test_before_training_it_is_late_interaction_of_the_frozen_tokens(tiny_clip, tiny_dataset):
    """The pooled features and the patches; the pooled features and the caption's own tokens."""
    filip, test = get_method("filip")(tiny_clip), tiny_dataset["test"]
    images, captions = Images.of(test)[:3], ["a red circle", "a big blue square on the left"]
    with torch.no_grad():
        found = filip.similarity(filip.encode_image(images), filip.encode_text(captions))
    seen = tiny_clip.encode_image(images, tokens=True)
    read = tiny_clip.encode_text(captions, tokens=True)
    for i in range(3):
        patches = torch.cat([seen.pooled[i, None], seen.tokens[i]])
        for c, words in enumerate((3, 7)):
            tokens = torch.cat([read.pooled[c, None], read.tokens[c, 1 : 1 + words]])
            each = patches @ tokens.T
            assert each.shape == (5, 1 + words)
            expected = (each.max(0).values.mean() + each.max(1).values.mean()) / 2
            assert float(found[i, c]) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("turned", ["image", "text"])
def test_all_tokens_of_a_side_go_through_its_map(tiny_clip, tiny_dataset, turned):
    """With -2 on the diagonal x becomes x - 2 x, its opposite."""
    filip = get_method("filip")(tiny_clip)
    images, captions = Images.of(tiny_dataset["test"])[:2], ["a red circle", "a cat"]

    def encoded():
        with torch.no_grad():
            seen, read = filip.encode_image(images), filip.encode_text(captions)
        return {"image": seen.tokens, "text": read.tokens}

    before = encoded()
    with torch.no_grad():
        filip.learner[turned].inner.weight.copy_(-2 * torch.eye(16))
    for side, tokens in encoded().items():
        sign = -1 if side == turned else 1
        assert tokens.numpy() == pytest.approx(sign * before[side].numpy(), abs=1e-6)


def test_token_features_do_not_depend_on_padding(tiny_clip):
    """Padding is zero, so that equals are found to be equal and are scored once."""
    filip = get_method("filip")(tiny_clip)
    with torch.no_grad():
        alone = filip.encode_text(["a cat"])
        beside = filip.encode_text(["a big black square and a small dog", "a dog"])
        both = concatenate([alone, beside, alone])
        vectors, which = distinct(both)
        scores = filip.similarity(both, both)
    assert (len(vectors), which.tolist()) == (3, [0, 1, 2, 0])
    assert not both.tokens[~both.valid].any()
    assert math.isclose(float(scores[0, 1]), float(scores[3, 1]))
